"""Which architectures of two sets of trials are the same, and their means side by side. It ranks nothing."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import pandas as pd

from scaling_lab.report.analysis.frontier import Frontier
from scaling_lab.report.tables import is_missing, records

_OF_EACH = ("ap_mean", "ap_low", "ap_high", "n", "seconds")
COLUMNS = (
    "architecture", "label", "series", "gmacs", "params_m", *(f"cheap_{name}" for name in _OF_EACH),
    *(f"dear_{name}" for name in _OF_EACH),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Architectures trained under both protocols.

    `table` has a row for each, in the order of their digests, which has nothing to do with AP: architecture, label, series,
    gmacs and params_m of the dear one, and ap_mean, ap_low, ap_high, n and seconds of both (cheap_ap_mean, dear_ap_mean, …).
    """

    table: pd.DataFrame
    by_point: bool
    only_cheap: int
    only_dear: int

    def how(self) -> str:
        """Say how architectures were paired."""
        if self.by_point:
            return "by their point of the search space"
        return "by the digest of their specs"


def pair(cheap: Frontier, dear: Frontier) -> Pairs:
    """Pair architectures by the digest of their spec, or by their point of the space where that pairs more."""
    same = {digest: digest for digest in dear.architectures["architecture"]}
    by_digest = {digest: same[digest] for digest in cheap.architectures["architecture"] if digest in same}
    varying = _varying(cheap) | _varying(dear)
    cheap_points, dear_points = _points(cheap, varying), _points(dear, varying)
    by_point = {cheap_points[point]: dear_points[point] for point in cheap_points if point in dear_points}
    partners = by_point if len(by_point) > len(by_digest) else by_digest
    return Pairs(
        table=_side_by_side(cheap, dear, partners),
        by_point=partners is by_point,
        only_cheap=len(cheap.architectures) - len(partners),
        only_dear=len(dear.architectures) - len(partners),
    )


def _varying(frontier: Frontier) -> set[str]:
    """Name the parameters that have several values: one that is the same for all tells no architectures apart."""
    names = [str(name) for name in frontier.trials if str(name).startswith("param_")]
    return {name for name in names if frontier.trials[name].astype(str).nunique() > 1}


def _points(frontier: Frontier, names: set[str]) -> dict[Hashable, str]:
    """Give the architecture at each point; a point of several tells none."""
    known = [name for name in sorted(names) if name in frontier.trials]
    found: dict[Hashable, str | None] = {}
    for row in records(frontier.trials.drop_duplicates("architecture")[["architecture", *known]]):
        point = tuple((name, _plain(row[name])) for name in known if not is_missing(row[name]))
        found[point] = None if point in found else str(row["architecture"])
    return {point: digest for point, digest in found.items() if digest is not None}


def _plain(value: object) -> Hashable:
    return value if isinstance(value, (str, bool, int, float)) else repr(value)


def _side_by_side(cheap: Frontier, dear: Frontier, partners: dict[str, str]) -> pd.DataFrame:
    """Give the table of Pairs."""
    ours = cheap.architectures[cheap.architectures["architecture"].isin(set(partners))]
    ours = ours.assign(architecture=[partners[digest] for digest in ours["architecture"]])
    ours = ours[["architecture", *_OF_EACH]].rename(columns={name: f"cheap_{name}" for name in _OF_EACH})
    theirs = dear.architectures.rename(columns={name: f"dear_{name}" for name in _OF_EACH})
    if not partners:
        return pd.DataFrame(columns=list(COLUMNS))
    return theirs.merge(ours, on="architecture")[list(COLUMNS)].sort_values("architecture").reset_index(drop=True)
