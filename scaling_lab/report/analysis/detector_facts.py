"""Published detectors as typed facts: AP, costs and latencies with their sources. Nothing here was measured by this package.

Three tables are shipped in report/published: detectors, latencies and sources. published_columns.csv says what each column
is. Numbers are as printed; only `gmacs` and `ms` are converted.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

Size = tuple[int, int]  # height, width
APS = tuple(
    f"ap{kind}_{split}" for split in ("val", "test") for kind in ("", "50", "75", "_small", "_medium", "_large")
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where numbers were read: a repository's file at a commit, or a paper's table; its licence and its counting of FLOPs."""

    source: str
    title: str
    repository: str
    path: str
    commit: str
    licence: str
    flops_count: str
    flops_basis: str

    @property
    def place(self) -> str:
        """The place to look it up, such as "google/automl@6a54c87, efficientdet/README.md"."""
        return f"{self.repository}{'@' if self.commit else ''}{self.commit[:7]}, {self.path}"


@dataclass(frozen=True, kw_only=True)
class Latency:
    """One published latency with its conditions; an empty condition was not printed."""

    detector: str
    device: str
    runtime: str
    precision: str
    batch: int | None
    covers: str
    value: float
    unit: str
    source: Source

    @property
    def ms(self) -> float:
        """Milliseconds for one image."""
        return 1000.0 / self.value if self.unit == "fps" else self.value * (1000.0 if self.unit == "s" else 1.0)


@dataclass(frozen=True, kw_only=True)
class PublishedDetector:
    """One row: a detector as one source describes it. None and "" stand for what the source does not give."""

    detector: str
    model: str
    family: str
    source: Source
    image_size: Size | None
    ap_val: float | None
    ap50_val: float | None
    ap75_val: float | None
    ap_small_val: float | None
    ap_medium_val: float | None
    ap_large_val: float | None
    ap_test: float | None
    ap50_test: float | None
    ap75_test: float | None
    ap_small_test: float | None
    ap_medium_test: float | None
    ap_large_test: float | None
    params_m: float | None
    gflops_printed: float | None
    gflops_size: Size | None
    counted_as: str
    counted_params_m: float | None
    counted_gmacs: float | None
    suppression: str
    extra_data: str
    test_time_augmentation: str
    note: str
    latencies: tuple[Latency, ...] = ()

    @property
    def ap(self) -> float:
        """AP on val, which is what runs evaluate, or else on test-dev."""
        found = self.ap_test if self.ap_val is None else self.ap_val
        assert found is not None, self.detector
        return found

    @property
    def split(self) -> str:
        """The split of `ap`: "val" or "test-dev"."""
        return "test-dev" if self.ap_val is None else "val"

    @property
    def printed_gmacs(self) -> float | None:
        """Multiply-adds / 1e9 at the size of `gflops_printed`; None if not printed, or if the convention is not resolved."""
        if self.gflops_printed is None or not self.source.flops_count:
            return None
        return self.gflops_printed / (2.0 if self.source.flops_count == "twice" else 1.0)

    @property
    def gmacs(self) -> float | None:
        """Multiply-adds / 1e9: as printed, else as counted. Scaled to `image_size` if both sizes are square."""
        known = self.counted_gmacs if self.printed_gmacs is None else self.printed_gmacs
        if known is None or self.gflops_size is None or self.image_size is None:
            return known
        if len(set(self.gflops_size)) > 1 or len(set(self.image_size)) > 1:
            return known
        return known * (self.image_size[0] / self.gflops_size[0]) ** 2

    def fastest(self, device: str) -> Latency | None:
        """Return the lowest latency of one image on a device; other batch sizes do not count."""
        there = [each for each in self.latencies if each.device == device and each.batch in (1, None)]
        return min(there, key=lambda each: each.ms, default=None)


@lru_cache(maxsize=1)
def sources() -> dict[str, Source]:
    """Return all sources by key."""
    return {row["source"]: Source(**row) for row in raw_rows("published_sources")}


@lru_cache(maxsize=1)
def published_detectors() -> tuple[PublishedDetector, ...]:
    """Return all rows with their latencies, in the table's order."""
    latencies: dict[str, list[Latency]] = {}
    for row in raw_rows("published_latencies"):
        values = {name: _parsed(name, text) for name, text in row.items()}
        latencies.setdefault(row["detector"], []).append(Latency(**values))  # type: ignore[arg-type]
    return tuple(
        PublishedDetector(
            **{name: _parsed(name, text) for name, text in row.items()},  # type: ignore[arg-type]
            latencies=tuple(latencies.get(row["detector"], ())),
        )
        for row in raw_rows("published_detectors")
    )


def raw_rows(name: str) -> list[dict[str, str]]:
    """Return a shipped table's rows as printed: text by column."""
    path = resources.files("scaling_lab.report") / "published" / f"{name}.csv"
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def _size(text: str) -> Size | None:
    height, _, width = text.partition("x")
    return (int(height), int(width or height)) if text else None


_NUMBERS = (*APS, "params_m", "gflops_printed", "counted_params_m", "counted_gmacs", "value")
_PARSERS: dict[str, Callable[[str], object]] = {
    **dict.fromkeys(_NUMBERS, lambda text: float(text) if text else None),
    **dict.fromkeys(("image_size", "gflops_size"), _size),
    "batch": lambda text: int(text) if text else None,
    "source": lambda text: sources()[text],
}


def _parsed(name: str, text: str) -> object:
    return _PARSERS.get(name, str)(text)
