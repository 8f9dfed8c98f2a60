"""Distributions of AP in groups of architectures at matched cost: all groups together and pair by pair.

The tests are in stats/matched_groups.py.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scaling_lab.report.analysis import verdicts
from scaling_lab.stats import hypotheses, matched_groups

if TYPE_CHECKING:
    from scaling_lab.report.analysis.frontier import Frontier


@dataclass(frozen=True, kw_only=True)
class Distributions:
    """Groups at matched cost, all together for a figure and pair by pair; a pair shares more costs than all groups do.

    `edf` has a row for each architecture matched in all groups, the group with the best mean first: group, series, label,
    architecture, ap, gmacs, bin, weight, and share, the group's cumulative weight up to this AP.
    `counts` has (matched, all) by group.
    `pairs` has a row for each pair: first (the better mean), second, n_first, n_second, bins, low_gmacs, high_gmacs, distance,
    p, p_holm, difference, low, high, verdict; nan if the two share too few costs.
    """

    edf: pd.DataFrame
    pairs: pd.DataFrame
    counts: Mapping[str, tuple[int, int]]


def population_table(frontier: Frontier) -> pd.DataFrame:
    """Return a row for each architecture: the search trial of its lowest seed, with AP, GMACs and the space's parameters."""
    trials = frontier.trials
    params = [name for name in trials.columns if str(name).startswith("param_")]
    columns = ["architecture", "label", "trial", "seed", "protocol", "epochs", "ap", "gmacs", *params]
    if trials.empty:
        return pd.DataFrame(columns=columns)
    firsts = trials.sort_values(["seed", "trial"], kind="stable").drop_duplicates("architecture")
    usable = firsts["ap"].notna() & (firsts["gmacs"] > 0)
    found: pd.DataFrame = firsts.loc[usable, columns].sort_values("trial").reset_index(drop=True)
    return found


def distributions(table: pd.DataFrame) -> Distributions:
    """Compare groups (table: group, ap, gmacs, label, architecture, trial) at matched cost."""
    table = _matched(table)
    left = table[table["bin"] >= 0]
    means = (left["ap"] * left["weight"]).groupby(left["group"]).sum()
    order = sorted(means.index, key=lambda name: (-means[name], name))
    left = left.assign(series=left["group"].map({name: place for place, name in enumerate(order)}))
    left = left.sort_values(["series", "ap", "trial"], kind="stable").reset_index(drop=True)
    left["share"] = left.groupby("group")["weight"].cumsum()
    columns = ["group", "series", "label", "architecture", "ap", "gmacs", "bin", "weight", "share"]
    everyone, those_left = table["group"].value_counts(), left["group"].value_counts()
    counts = {name: (int(those_left[name]), int(everyone[name])) for name in order}
    rest = sorted(set(everyone.index) - set(order))
    return Distributions(edf=left[columns], pairs=_pairs(table, [*order, *rest]), counts=counts)


def _matched(table: pd.DataFrame) -> pd.DataFrame:
    """Add each architecture's bin of cost (-1 for none) and weight."""
    groups = table["group"].tolist()
    bins_N = matched_groups.matched_bins(np.log(table["gmacs"].to_numpy(dtype=float)), groups)
    return table.assign(bin=bins_N, weight=matched_groups.weights(groups, bins_N))


def _pairs(table: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    pairs = pd.DataFrame([_pair(table, first, second) for first, second in itertools.combinations(order, 2)])
    pairs["p_holm"] = hypotheses.holm(pairs["p"].tolist())
    pairs["verdict"] = ["not compared" if np.isnan(p) else verdicts.verdict(p) for p in pairs["p_holm"]]
    return pairs


def _pair(table: pd.DataFrame, first: str, second: str) -> dict[str, Any]:
    both = _matched(table[table["group"].isin((first, second))])
    both = both[both["bin"] >= 0]
    if both.empty:
        numbers = (
            "low_gmacs",
            "high_gmacs",
            "distance",
            "p_distance",
            "difference",
            "low",
            "high",
            "p_difference",
            "p",
        )
        nothing = dict.fromkeys(numbers, np.nan)
        return {"first": first, "second": second, "n_first": 0, "n_second": 0, "bins": 0, **nothing}
    is_first = (both["group"] == first).to_numpy(dtype=bool)
    aps, logs = both["ap"].to_numpy(dtype=float), np.log(both["gmacs"].to_numpy(dtype=float))
    found = matched_groups.compare(aps, logs, is_first, both["bin"].to_numpy(dtype=int))
    if found.difference < 0:
        first, second, is_first = second, first, ~is_first
        found = dataclasses.replace(found, difference=-found.difference, low=-found.high, high=-found.low)
    row = {"first": first, "second": second, "n_first": int(is_first.sum()), "n_second": int((~is_first).sum())}
    row |= {"bins": int(both["bin"].max()) + 1, "low_gmacs": both["gmacs"].min(), "high_gmacs": both["gmacs"].max()}
    return {**row, **vars(found), "p": found.p}
