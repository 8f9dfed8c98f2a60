"""published: lists published detectors, with AP, costs, latency and source."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from scaling_lab.checks import near
from scaling_lab.cli.console import text_table
from scaling_lab.cli.parsing import add_verb
from scaling_lab.errors import UserError
from scaling_lab.text import plural

if TYPE_CHECKING:
    from scaling_lab.report.analysis.detector_facts import PublishedDetector

Row = dict[str, Any]
MOST_LETTERS = 38  # of a model's name in the table


def add_verbs(verbs: Any) -> None:
    """Add the verb to the parser."""
    published = add_verb(
        verbs,
        "published",
        _published,
        "list published detectors: COCO AP, parameters, multiply-adds, latency on a device, own counts and the source",
        "published efficientdet",
        "published --gmacs 10 --sort ap",
        "published --device T4 --ms 3 --sort ms",
        "published --built --csv",
        "published --show sources",
    )
    published.add_argument(
        "words", nargs="*", metavar="WORD", help="only rows whose model, family or source contains one of these words"
    )
    published.add_argument("--family", action="append", help="only this family, by its whole name; may be repeated")
    published.add_argument("--ap", type=float, metavar="LEAST", help="only at least this AP (val, else test-dev)")
    published.add_argument("--gmacs", type=float, metavar="MOST", help="only at most this many billion multiply-adds")
    published.add_argument("--params", type=float, metavar="MOST", help="only at most this many million parameters")
    published.add_argument("--device", help="only rows with a latency on this device, which is shown, such as V100")
    published.add_argument("--ms", type=float, metavar="MOST", help="only at most this latency on --device")
    published.add_argument("--built", action="store_true", help="only detectors that scaling_lab builds")
    published.add_argument("--sort", choices=list(_SORTS), help="the order of the rows (by source)")
    published.add_argument(
        "--show",
        choices=list(_SHOWN),
        default="detectors",
        help="what to list of these rows; columns: what each column of the tables is (detectors)",
    )
    published.add_argument("--csv", action="store_true", help="print CSV with all columns")


def _published(options: argparse.Namespace) -> None:
    if options.csv and options.json:
        raise UserError("--csv and --json are two forms of the same rows; allowed is one of them")
    rows = _SHOWN[options.show](_chosen(options), options)
    if options.json:
        print(json.dumps(rows, indent=1))
    elif options.csv:
        print(_as_csv(rows), end="")
    elif options.show == "detectors":
        print(_table(rows, options))
    else:
        print(
            text_table([list(rows[0]), *(["" if cell is None else f"{cell}" for cell in row.values()] for row in rows)])
        )


# --- which rows --------------------------------------------------------------------------------------------------------


def _chosen(options: argparse.Namespace) -> list[PublishedDetector]:
    """Return the rows that fit all options, sorted. Raises UserError for unknown names and if none fits."""
    from scaling_lab.report.analysis.detector_facts import published_detectors

    rows = list(published_detectors())
    _check(options, rows)
    found = [row for row in rows if _fits(row, options)]
    if not found:
        raise UserError(
            "no published detector fits these options; `scaling-lab published --show families` lists all families"
        )
    if options.sort:
        key = _SORTS[options.sort]
        found.sort(key=lambda row: key(row, options))
    return found


def _check(options: argparse.Namespace, rows: Iterable[PublishedDetector]) -> None:
    """Raise UserError for an unknown family or device, and for latencies without a device; correct the device's case."""
    families = sorted({row.family for row in rows})
    for name in options.family or ():
        if name not in families:
            raise UserError(f"--family {name!r} is unknown{near(name, families)}; allowed are {', '.join(families)}")
    devices = sorted({each.device for row in rows for each in row.latencies})
    if options.device is not None:
        options.device = next((each for each in devices if each.lower() == options.device.lower()), options.device)
        if options.device not in devices:
            raise UserError(
                f"--device {options.device!r} is unknown{near(options.device, devices)}; allowed are {', '.join(devices)}"
            )
    if options.device is None and (options.ms is not None or options.sort == "ms"):
        raise UserError(f"latencies are compared on one device; give --device, one of {', '.join(devices)}")


def _fits(row: PublishedDetector, options: argparse.Namespace) -> bool:
    text = " ".join((row.model, row.family, row.source.source)).lower()
    limits = (
        (options.gmacs, row.gmacs),
        (options.params, row.params_m),
        (options.ms, _ms(row, options)),
    )
    return (
        (not options.words or any(word.lower() in text for word in options.words))
        and (not options.family or row.family in options.family)
        and (options.ap is None or row.ap >= options.ap)
        and all(most is None or (value is not None and value <= most) for most, value in limits)
        and (options.device is None or _ms(row, options) is not None)
        and (not options.built or bool(row.counted_as))
    )


def _ms(row: PublishedDetector, options: argparse.Namespace) -> float | None:
    fastest = row.fastest(options.device) if options.device else None
    return None if fastest is None else fastest.ms


def _last(value: float | None) -> float:
    return float("inf") if value is None else value


_SORTS: dict[str, Callable[[PublishedDetector, argparse.Namespace], Any]] = {
    "ap": lambda row, _: -row.ap,
    "gmacs": lambda row, _: _last(row.gmacs),
    "params": lambda row, _: _last(row.params_m),
    "ms": lambda row, options: _last(_ms(row, options)),
    "model": lambda row, _: row.model.lower(),
}


# --- what of them ------------------------------------------------------------------------------------------------------


def _detectors(rows: list[PublishedDetector], options: argparse.Namespace) -> list[Row]:
    """Return every column, converted values, and where the source is; `ms` with --device."""
    return [
        {
            **{name: value for name, value in dataclasses.asdict(row).items() if name not in ("source", "latencies")},
            **{name: _size(getattr(row, name)) for name in ("image_size", "gflops_size")},
            "gmacs": row.gmacs,
            **({"ms": _ms(row, options)} if options.device else {}),
            **dataclasses.asdict(row.source),
        }
        for row in rows
    ]


def _latencies(rows: list[PublishedDetector], options: argparse.Namespace) -> list[Row]:
    return [
        {**dataclasses.asdict(each), "ms": each.ms, "source": each.source.source}
        for row in rows
        for each in row.latencies
        if options.device in (None, each.device)
    ]


def _sources(rows: list[PublishedDetector], options: argparse.Namespace) -> list[Row]:
    used = {source.source: source for row in rows for source in (row.source, *(each.source for each in row.latencies))}
    return [dataclasses.asdict(source) for source in used.values()]


def _families(rows: list[PublishedDetector], options: argparse.Namespace) -> list[Row]:
    return [{"family": family, "rows": count} for family, count in sorted(Counter(row.family for row in rows).items())]


def _devices(rows: list[PublishedDetector], options: argparse.Namespace) -> list[Row]:
    counts = Counter(device for row in rows for device in {each.device for each in row.latencies})
    return [{"device": device, "rows": count} for device, count in sorted(counts.items())]


def _columns(rows: list[PublishedDetector], options: argparse.Namespace) -> list[Row]:
    from scaling_lab.report.analysis.detector_facts import raw_rows

    return [dict(row) for row in raw_rows("published_columns")]


_SHOWN: dict[str, Callable[[list[PublishedDetector], argparse.Namespace], list[Row]]] = {
    "detectors": _detectors,
    "latencies": _latencies,
    "sources": _sources,
    "families": _families,
    "devices": _devices,
    "columns": _columns,
}


# --- in which form -----------------------------------------------------------------------------------------------------


def _as_csv(rows: list[Row]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _table(rows: list[Row], options: argparse.Namespace) -> str:
    heads = ["model", "image", "AP val", "AP test-dev", "params M", "counted", "GMACs", "counted"]
    lines = [[*heads, *([f"ms, {options.device}"] if options.device else []), "source"]]
    for row in rows:
        printed = row["gmacs"] if row["gflops_printed"] is not None else None
        numbers = [
            row["ap_val"],
            row["ap_test"],
            row["params_m"],
            row["counted_params_m"],
            printed,
            row["counted_gmacs"],
        ]
        cells = [_number(value) for value in (*numbers, *([row["ms"]] if options.device else []))]
        lines.append([_shortened(row["model"]), row["image_size"] or "-", *cells, row["source"]])
    return (
        f"{text_table(lines)}\n{plural(len(rows), 'published detector')}. GMACs: multiply-adds / 1e9; counted: scaling_lab's "
        "own count of the number before it.\n"
        "--show sources says where each number is from, --show columns what the columns of --csv are."
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _size(size: tuple[int, int] | None) -> str:
    return "x".join(map(str, dict.fromkeys(size or ())))


def _shortened(text: str) -> str:
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…"
