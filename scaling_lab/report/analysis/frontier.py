"""Comparable trials, each architecture's mean AP with its interval, and the Pareto front, as tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scaling_lab.metrics import ACCURACIES, COSTS
from scaling_lab.report.analysis.architecture_names import short_names
from scaling_lab.report.tables import records
from scaling_lab.stats import estimates, fronts, posterior, posterior_fronts

if TYPE_CHECKING:
    from scaling_lab.runs.reader import Runs

SMALL_N = 3  # up to this many seeds, intervals use the pooled SD
MOST_SERIES = 8  # the number of colours in figures/style.py
MOST_BAND_COSTS = 400  # a figure has 1,600 pixels across


@dataclass(frozen=True, kw_only=True)
class Frontier:
    """The comparable trials of a run and their architectures.

    `trials` has a row for each complete trial of one protocol and number of epochs. Its columns include the architecture's
    label, series, mean, interval and on_front. `architectures` has a row for each architecture, best first.
    `excluded` holds the complete trials of other protocols or epochs. `sd` is the seed SD pooled over architectures,
    `degrees` its degrees of freedom. `finalists` holds the comparable trials with fresh seeds, which are in no other table:
    the search's results selected these architectures, so a mean of both would be biased.
    """

    trials: pd.DataFrame
    architectures: pd.DataFrame
    excluded: pd.DataFrame
    finalists: pd.DataFrame
    labels: Mapping[str, str]
    sd: float
    degrees: int

    def __repr__(self) -> str:
        """Summarise the contents in one line."""
        table = self.architectures
        spread = "" if math.isnan(self.sd) else f", seed SD {self.sd:.2f} AP"
        return (
            f"Frontier: {len(self.trials)} comparable trials of {len(table)} architectures, {int(table['on_front'].sum())} on "
            f"the front{spread}"
        )

    @cached_property
    def fresh(self) -> Frontier:
        """The frontier of the trials with fresh seeds only."""
        return summarise(self.finalists, self.labels, excluded=self.excluded)

    @cached_property
    def aps(self) -> dict[str, list[float]]:
        """The APs of each architecture's trials in their order, by digest."""
        found: dict[str, list[float]] = {}
        for digest, ap in zip(self.trials["architecture"], self.trials["ap"], strict=True):
            found.setdefault(str(digest), []).append(float(ap))
        return found

    @cached_property
    def far_below(self) -> tuple[float, pd.Series[bool]]:
        """The distance below its architecture's median at which a trial is an outlier, and a mask of the outliers in `trials`."""
        groups = [group["ap"] for _, group in self.trials.groupby("architecture", sort=False)]
        limit, marks = estimates.far_below([group.tolist() for group in groups])
        found = {
            place: far
            for group, fars in zip(groups, marks, strict=True)
            for place, far in zip(group.index, fars, strict=True)
        }
        return limit, pd.Series([found[place] for place in self.trials.index], index=self.trials.index, dtype=bool)

    @cached_property
    def without_far_below(self) -> Frontier:
        """The frontier without outliers, to show their influence; it does not replace the whole."""
        kept = self.trials[~self.far_below[1]].reset_index(drop=True)
        return summarise(kept, self.labels, excluded=self.excluded, finalists=self.finalists)

    @cached_property
    def means_BA(self) -> np.ndarray[Any, Any]:
        """Posterior samples (B, A) of the mean APs of `architectures`; nan if no architecture has two seeds."""
        return self.drawn_means(pooled=(self.sd, self.degrees))

    def drawn_means(
        self, *, pooled: tuple[float, int], by_cost: bool = True, draws: int | None = None, seed: int = posterior.SEED
    ) -> np.ndarray[Any, Any]:
        """Return posterior samples like `means_BA` for another pooled (SD, degrees of freedom).

        Different runs need different `seed`s, so that their samples are independent. Means are shrunk towards a curve of AP
        over log cost, or without `by_cost` towards their common mean.
        """
        groups = [self.aps[str(digest)] for digest in self.architectures["architecture"]]
        costs = [float(cost) for cost in self.architectures["gmacs"]] if by_cost else None
        return posterior.drawn_means(groups, pooled=pooled, costs=costs, draws=draws, seed=seed)

    def means_of(self, architectures: Sequence[str]) -> np.ndarray[Any, Any]:
        """Return posterior samples of the mean APs of some architectures, by their digests, to compare them.

        They ignore cost: shrinking towards a curve of AP over cost would favour some values of a grid.
        """
        places = {str(digest): place for place, digest in enumerate(self.architectures["architecture"])}
        return self._means_apart_BA[:, [places[str(digest)] for digest in architectures]]

    @cached_property
    def _means_apart_BA(self) -> np.ndarray[Any, Any]:
        return self.drawn_means(pooled=(self.sd, self.degrees), by_cost=False)

    def front_probability(self) -> pd.Series[float]:
        """Return the posterior probability of each of `architectures` to be on the front of AP against GMACs."""
        return self._front_probability.copy()

    @cached_property
    def _front_probability(self) -> pd.Series[float]:
        table = self.architectures
        if table.empty or self.degrees < 1:
            return pd.Series(math.nan, index=table.index, dtype=float)
        return pd.Series(posterior_fronts.front_probability(table["gmacs"].tolist(), self.means_BA), index=table.index)

    def front_band(self, cost: str = "gmacs") -> pd.DataFrame:
        """Return the posterior of the highest AP up to a cost: cost, low, median, high (5, 50, 95 %).

        Rows are at the architectures' costs, at most MOST_BAND_COSTS of them, evenly spaced on a log axis.
        """
        table = self.architectures
        if table.empty or self.degrees < 1 or table[cost].isna().any():
            return pd.DataFrame(columns=["cost", "low", "median", "high"])
        costs = _thinned(sorted(set(table[cost])))
        low, median, high = posterior_fronts.front_band(table[cost].tolist(), self.means_BA, costs)
        return pd.DataFrame({"cost": costs, "low": low, "median": median, "high": high})

    def hypervolume(self, cost: str = "gmacs") -> tuple[posterior_fronts.Range, tuple[float, float]]:
        """Return the hypervolume (see posterior_fronts.hypervolumes) and its reference point: twice the highest cost, 0 AP."""
        table = self.architectures
        if table.empty or self.degrees < 1 or table[cost].isna().any():
            return posterior_fronts.Range.of(np.array([])), (math.nan, 0.0)
        reference = (2.0 * float(table[cost].max()), 0.0)
        return posterior_fronts.Range.of(
            posterior_fronts.hypervolumes(table[cost].tolist(), self.means_BA, reference=reference)
        ), reference

    @property
    def series(self) -> dict[str, int]:
        """The series of each architecture, -1 for the rest."""
        return {row["architecture"]: int(row["series"]) for row in records(self.architectures)}


def compute_frontier(runs: Runs, labels: Mapping[str, str] | None = None) -> Frontier:
    """Compute the frontier of a run's trials; `labels` are by digest and may cover other runs' architectures."""
    labels = short_names(runs.specs()) if labels is None else labels
    trials = runs.table()
    trials = trials.assign(label=[labels.get(digest, str(digest)) for digest in trials["architecture"]])
    compared, excluded = comparable(trials)
    is_searched = compared["role"] == "search"
    searched, fresh = (compared[mask].reset_index(drop=True) for mask in (is_searched, ~is_searched))
    return summarise(searched, labels, excluded=excluded, finalists=fresh)


def summarise(
    compared: pd.DataFrame,
    labels: Mapping[str, str] | None = None,
    *,
    excluded: pd.DataFrame | None = None,
    finalists: pd.DataFrame | None = None,
) -> Frontier:
    """Compute the frontier of comparable trials; an empty table gives an empty frontier.

    The table has a row for each trial: architecture (any unique name), label, seed, ap, gmacs, and further columns that
    figures draw. It may be a subset of another Frontier's trials; summaries are then recomputed.
    """
    compared = compared.drop(columns=[name for name in _SUMMARIES if name in compared])
    if labels is None:
        labels = dict(zip(compared["architecture"].astype(str), compared["label"].astype(str), strict=True))
    sd, degrees = estimates.pooled_sd([list(group) for _, group in compared.groupby("architecture")["ap"]])
    architectures = by_architecture(compared, sd=sd, degrees=degrees)
    joined = compared.merge(architectures[["architecture", *_SUMMARIES]], on="architecture", how="left", sort=False)
    return Frontier(
        trials=joined,
        architectures=architectures,
        excluded=compared.iloc[:0] if excluded is None else excluded,
        finalists=compared.iloc[:0] if finalists is None else finalists,
        labels=labels,
        sd=sd,
        degrees=degrees,
    )


def with_front(trials: pd.DataFrame, cost: str) -> pd.DataFrame:
    """Mark the front of AP against any cost (on_front) among rows of trials or architectures, by ap_mean."""
    points = trials.drop_duplicates("architecture")
    marks = dict(
        zip(points["architecture"], fronts.pareto_front(list(points[cost]), list(points["ap_mean"])), strict=True)
    )
    return trials.assign(on_front=[marks[digest] for digest in trials["architecture"]])


def comparable(trials: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split the complete trials into those of the most frequent protocol and epochs, and the rest.

    Stopped and failed trials are in neither. A tie goes to more epochs, then to the later trial.
    """
    complete = trials[(trials["state"] == "complete") & trials["ap"].notna()]
    if complete.empty:
        return complete, complete
    groups = complete.groupby(["protocol", "epochs"])["trial"].agg(["size", "max"]).reset_index()
    chosen = groups.sort_values(["size", "epochs", "max"]).iloc[-1]
    same = (complete["protocol"] == chosen["protocol"]) & (complete["epochs"] == chosen["epochs"])
    return complete[same].reset_index(drop=True), complete[~same].reset_index(drop=True)


def by_architecture(trials: pd.DataFrame, *, sd: float, degrees: int) -> pd.DataFrame:
    """Summarise comparable trials: one row for each architecture, the highest mean AP first."""
    if trials.empty:
        return pd.DataFrame(columns=_COLUMNS)
    groups = trials.groupby("architecture", sort=False)
    carried = [name for name in (*_CARRIED, *_PARTS) if name in trials]
    means = [name for name in (*ACCURACIES[1:], "seconds") if name in trials]
    table = trials.drop_duplicates("architecture").set_index("architecture")[carried]
    table = table.join(pd.DataFrame(_estimates(groups, sd=sd, degrees=degrees)).set_index("architecture"))
    numbers = trials[means].apply(pd.to_numeric).assign(architecture=trials["architecture"])
    table = table.join(numbers.groupby("architecture", sort=False).mean()).reset_index()
    table = table.sort_values(["ap_mean", "label"], ascending=[False, True], kind="stable")
    table["on_front"] = fronts.pareto_front(table["gmacs"].tolist(), table["ap_mean"].tolist())
    table["series"] = _series(table)
    return table.reset_index(drop=True)


_SUMMARIES = ("ap_mean", "ap_low", "ap_high", "n", "on_front", "series")
_CARRIED = ("label", "description", "topology", *COSTS)
_PARTS = tuple(f"{what}_{part}" for what in ("params_m", "gmacs") for part in ("backbone", "feature_network", "heads"))
_COLUMNS = (
    "architecture",
    *_CARRIED,
    "n",
    "seeds",
    "ap_mean",
    "ap_sd",
    "ap_low",
    "ap_high",
    "seconds",
    "on_front",
    "series",
)


def _estimates(groups: Any, *, sd: float, degrees: int) -> list[dict[str, object]]:
    """Estimate each architecture's mean AP, with the pooled SD for SMALL_N seeds or fewer."""
    seeds = groups["seed"].agg(list)
    rows: list[dict[str, object]] = []
    for digest, values in groups["ap"].agg(list).items():
        pooled = (sd, degrees) if len(values) <= SMALL_N and degrees > 0 else None
        accuracy = estimates.estimate([float(value) for value in values], pooled=pooled)
        row = {"architecture": digest, "n": accuracy.n, "seeds": ", ".join(str(seed) for seed in sorted(seeds[digest]))}
        rows.append(
            row | {"ap_mean": accuracy.mean, "ap_sd": accuracy.sd, "ap_low": accuracy.low, "ap_high": accuracy.high}
        )
    return rows


def _thinned(costs: list[float]) -> list[float]:
    """Return at most MOST_BAND_COSTS of rising costs: the first in each of equal steps of log cost, and the last."""
    if len(costs) <= MOST_BAND_COSTS:
        return costs
    logs = np.log(costs)
    steps = np.floor((logs - logs[0]) / (logs[-1] - logs[0]) * (MOST_BAND_COSTS - 1)).astype(int)
    firsts = np.unique(steps, return_index=True)[1]
    return [costs[place] for place in sorted({*firsts.tolist(), len(costs) - 1})]


def _series(table: pd.DataFrame) -> list[int]:
    """Return each architecture's series; if colours are too few, the front has them first, then the best."""
    if len(table) <= MOST_SERIES:
        order = table.sort_values("label").index
    else:
        order = table.sort_values(["on_front", "ap_mean"], ascending=False, kind="stable").index[:MOST_SERIES]
    numbers = {index: number for number, index in enumerate(order)}
    return [numbers.get(index, -1) for index in table.index]
