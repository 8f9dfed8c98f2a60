"""Pairs the architectures of two protocols, with their means side by side."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import pandas as pd

from scaling_lab.report.analysis.frontier import Frontier
from scaling_lab.report.tables import is_missing, records

_OF_EACH = ("ap_mean", "ap_low", "ap_high", "n", "seconds")
COLUMNS = (
    "architecture", "label", "series", "gmacs", "params_m", *(f"proxy_{name}" for name in _OF_EACH),
    *(f"full_{name}" for name in _OF_EACH),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Architectures trained under both protocols.

    `table` has a row for each, sorted by digest so that order is independent of AP. architecture, label, series, gmacs and
    params_m are the full protocol's; ap_mean, ap_low, ap_high, n and seconds are there of both (proxy_ap_mean, full_ap_mean, …).
    """

    table: pd.DataFrame
    by_point: bool
    only_proxy: int
    only_full: int

    def how(self) -> str:
        """Say how architectures were paired."""
        if self.by_point:
            return "by their point of the search space"
        return "by the digest of their specs"


def pair(proxy: Frontier, full: Frontier) -> Pairs:
    """Pair architectures by the digest of their spec, or by their point of the space where that pairs more."""
    same = {digest: digest for digest in full.architectures["architecture"]}
    by_digest = {digest: same[digest] for digest in proxy.architectures["architecture"] if digest in same}
    varying = _varying(proxy) | _varying(full)
    proxy_points, full_points = _points(proxy, varying), _points(full, varying)
    by_point = {proxy_points[point]: full_points[point] for point in proxy_points if point in full_points}
    partners = by_point if len(by_point) > len(by_digest) else by_digest
    return Pairs(
        table=_side_by_side(proxy, full, partners),
        by_point=partners is by_point,
        only_proxy=len(proxy.architectures) - len(partners),
        only_full=len(full.architectures) - len(partners),
    )


def _varying(frontier: Frontier) -> set[str]:
    """Return the parameters with several values; a constant one does not identify architectures."""
    names = [str(name) for name in frontier.trials if str(name).startswith("param_")]
    return {name for name in names if frontier.trials[name].astype(str).nunique() > 1}


def _points(frontier: Frontier, names: set[str]) -> dict[Hashable, str]:
    """Return the architecture at each point, without points that have several."""
    known = [name for name in sorted(names) if name in frontier.trials]
    found: dict[Hashable, str | None] = {}
    for row in records(frontier.trials.drop_duplicates("architecture")[["architecture", *known]]):
        point = tuple((name, _plain(row[name])) for name in known if not is_missing(row[name]))
        found[point] = None if point in found else str(row["architecture"])
    return {point: digest for point, digest in found.items() if digest is not None}


def _plain(value: object) -> Hashable:
    return value if isinstance(value, (str, bool, int, float)) else repr(value)


def _side_by_side(proxy: Frontier, full: Frontier, partners: dict[str, str]) -> pd.DataFrame:
    """Return the table of Pairs."""
    ours = proxy.architectures[proxy.architectures["architecture"].isin(set(partners))]
    ours = ours.assign(architecture=[partners[digest] for digest in ours["architecture"]])
    ours = ours[["architecture", *_OF_EACH]].rename(columns={name: f"proxy_{name}" for name in _OF_EACH})
    theirs = full.architectures.rename(columns={name: f"full_{name}" for name in _OF_EACH})
    if not partners:
        return pd.DataFrame(columns=list(COLUMNS))
    return theirs.merge(ours, on="architecture")[list(COLUMNS)].sort_values("architecture").reset_index(drop=True)
