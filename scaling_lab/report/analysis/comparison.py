"""Tables that compare runs of one protocol: fronts, hypervolumes, and architectures that several runs trained.

from scaling_lab.report.analysis.comparison import compare
compare(Runs("runs/x"), Runs("runs/x-random")).volumes
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from scaling_lab.report.analysis import verdicts
from scaling_lab.report.analysis.architecture_names import short_names
from scaling_lab.report.analysis.comparability import Refused, distinct_names, split, terms
from scaling_lab.report.analysis.frontier import Frontier, compute_frontier
from scaling_lab.report.analysis.repeats import repeats
from scaling_lab.report.tables import records
from scaling_lab.report.ticks import log_ticks
from scaling_lab.runs.reader import Runs
from scaling_lab.stats import estimates, fronts, hypotheses, posterior, posterior_fronts

MOST_BANDS = 6  # bands of cost
MOST_GRID = 200  # costs at which a band is drawn

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """One of the compared runs: its name, its colour's number and its frontier."""

    name: str
    series: int
    runs: Runs
    frontier: Frontier

    @cached_property
    def trials(self) -> pd.DataFrame:
        """All trials of the run, in any state."""
        return self.runs.table()

    @property
    def is_repeated(self) -> bool:
        """Whether an architecture has two seeds; without them nothing is tested."""
        return self.frontier.degrees > 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """The compared runs in the given order, the refused ones, and labels for the architectures of all runs."""

    sides: tuple[Side, ...]
    refused: tuple[Refused, ...]
    labels: Mapping[str, str]

    @cached_property
    def trials(self) -> pd.DataFrame:
        """The searches' comparable trials with the run's name, without copies from an earlier run."""
        return self._all_trials[~self._all_trials["is_copy"]].drop(columns="is_copy")

    @cached_property
    def copies(self) -> int:
        """The number of trials copied from an earlier run, identified by their start and end times."""
        return int(self._all_trials["is_copy"].sum())

    @cached_property
    def _all_trials(self) -> pd.DataFrame:
        found = [side.frontier.trials.assign(run=side.name) for side in self.sides if len(side.frontier.trials)]
        if not found:
            columns = ["run", "trial", "architecture", "seed", "ap", "started", "ended", "is_copy"]
            return pd.DataFrame(columns=columns).astype({"is_copy": bool})
        trials = pd.concat(found, ignore_index=True)
        timed = trials["started"].notna() & trials["ended"].notna()
        return trials.assign(is_copy=timed & trials.duplicated(["architecture", "seed", "ap", "started", "ended"]))

    @cached_property
    def repeats(self) -> pd.DataFrame:
        """Architectures that several runs trained: see repeats.repeats."""
        return repeats(self.trials, self.labels)

    @cached_property
    def pooled(self) -> tuple[float, int]:
        """The seed SD pooled over all runs' architectures and its degrees of freedom; a copied training run counts once."""
        once = self.trials.drop_duplicates(["architecture", "seed", "ap"])
        groups = [[float(value) for value in group] for _, group in once.groupby(["run", "architecture"])["ap"]]
        return estimates.pooled_sd(groups)

    @cached_property
    def draws(self) -> dict[str, Array]:
        """Posterior samples (B, A) of each run's mean APs; nan for a run without repeated seeds."""
        most = max((len(side.frontier.architectures) for side in self.sides), default=0)
        draws = max(100, min(posterior.DRAWS, posterior.MOST_NUMBERS // max(1, most)))
        found = {}
        for side in self.sides:
            drawn = side.frontier.drawn_means(pooled=self.pooled, draws=draws, seed=side.series)
            found[side.name] = drawn if side.is_repeated else np.full_like(drawn, math.nan)
        return found

    def points(self, cost: str = "gmacs") -> pd.DataFrame:
        """Return a row for each architecture of each run: run, series, label, cost, mean AP, interval, n, on_front."""
        columns = ["label", "architecture", "ap_mean", "ap_low", "ap_high", "n", "on_front"]
        found = []
        for side in self.sides:
            table = side.frontier.architectures
            if cost in table and len(table):
                table = table[table[cost].notna()]
                marks = fronts.pareto_front(table[cost].tolist(), table["ap_mean"].tolist())
                table = table.assign(run=side.name, series=side.series, on_front=np.array(marks, dtype=bool))
                found.append(table[["run", "series", cost, *columns]])
        return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["run", "series", cost, *columns])

    def band(self) -> pd.DataFrame:
        """Return the posterior band of each run's front of AP against GMACs: run, cost, low, median, high (5, 50, 95 %)."""
        found = []
        for side in self.sides:
            table = side.frontier.architectures
            if not side.is_repeated or table.empty:
                continue
            costs = np.unique(table["gmacs"].to_numpy(dtype=float))
            grid = costs[np.unique(np.linspace(0, len(costs) - 1, min(MOST_GRID, len(costs))).round().astype(int))]
            low, median, high = posterior_fronts.front_band(
                table["gmacs"].tolist(), self.draws[side.name], grid.tolist()
            )
            found.append(pd.DataFrame({"run": side.name, "cost": grid, "low": low, "median": median, "high": high}))
        columns = ["run", "cost", "low", "median", "high"]
        return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns)

    # --- hypervolumes ------------------------------------------------------------------------------------------------

    @property
    def reference(self) -> tuple[float, float]:
        """The reference point (GMACs, AP) of hypervolumes: twice the highest cost of all runs, 0 AP."""
        highest = [
            float(side.frontier.architectures["gmacs"].max()) for side in self.sides if len(side.frontier.trials)
        ]
        return 2.0 * max(highest, default=math.nan), 0.0

    @cached_property
    def volumes(self) -> pd.DataFrame:
        """Return each run's hypervolume (AP times halvings of cost): run, series, architectures, value, median, low, high.

        `value` is computed from the means, the others from posterior samples; nan without repeated seeds.
        """
        rows = []
        for side in self.sides:
            table = side.frontier.architectures
            if len(table):
                value, draws = self._both_volumes(side)
                drawn = posterior_fronts.Range.of(draws)
                row = {"run": side.name, "series": side.series, "architectures": len(table), "value": float(value[0])}
                rows.append(row | {"median": drawn.median, "low": drawn.low, "high": drawn.high})
        return pd.DataFrame(rows, columns=["run", "series", "architectures", "value", "median", "low", "high"])

    @cached_property
    def volume_differences(self) -> pd.DataFrame:
        """Return the first run's hypervolume minus each other's: first, other, value, median, low, high, verdict.

        `lead_value` is the mean difference in AP between the fronts over log cost. It covers the costs from `cheapest`, the
        lowest at which both have architectures, to the highest of all; lead_low, lead_high and lead_verdict belong to it.
        Intervals are simultaneous at 95 % (Bonferroni).
        """
        sides = [side for side in self.sides if len(side.frontier.architectures)]
        rows = []
        for other in sides[1:]:
            confidence = 1.0 - hypotheses.LEVEL / (2 * (len(sides) - 1))
            floor = max(float(side.frontier.architectures["gmacs"].min()) for side in (sides[0], other))
            row: dict[str, Any] = {"first": sides[0].name, "other": other.name, "cheapest": floor}
            width = math.log2(0.5 * self.reference[0] / floor)
            for name, least, end, unit in (("", 0.0, 1.0, 1.0), ("lead_", floor, 0.5, width or math.nan)):
                value, drawn = (
                    (one - two) / unit
                    for one, two in zip(
                        self._both_volumes(sides[0], least, end), self._both_volumes(other, least, end), strict=True
                    )
                )
                found = posterior_fronts.Range.of(drawn, confidence=confidence)
                row |= {f"{name}value": float(value[0]), f"{name}median": found.median, f"{name}low": found.low}
                row |= {f"{name}high": found.high, f"{name}verdict": verdicts.interval_verdict(found.low, found.high)}
            rows.append(row)
        return pd.DataFrame(rows)

    def _both_volumes(self, side: Side, least: float = 0.0, end: float = 1.0) -> tuple[Array, Array]:
        """Return the hypervolume of the means (1,) and of the posterior samples (B,); nan without repeated seeds.

        Only costs from `least` to `end` times the reference's count; lower costs are raised to `least`.
        """
        table, drawn = side.frontier.architectures, self.draws[side.name]
        costs = np.maximum(table["gmacs"].to_numpy(dtype=float), least).tolist()
        reference = (end * self.reference[0], self.reference[1])
        value = posterior_fronts.hypervolumes(costs, table["ap_mean"].to_numpy(dtype=float)[None], reference=reference)
        if not side.is_repeated:
            return value, np.full(len(drawn), math.nan)
        return value, posterior_fronts.hypervolumes(costs, drawn, reference=reference)

    # --- the best for a cost -----------------------------------------------------------------------------------------

    def best_by_cost(self) -> pd.DataFrame:
        """Return each run's best architecture in common bands of GMACs.

        Columns: band, up_to, run, series, label, gmacs, ap_mean, ap_low, ap_high, n, architectures (of the run in the
        band) and chance. `chance` is the posterior probability that the run has the best architecture of the band.
        """
        costs = pd.concat([side.frontier.architectures["gmacs"] for side in self.sides]).to_numpy(dtype=float)
        columns = ["band", "up_to", "run", "series", "label", "gmacs", "ap_mean", "ap_low", "ap_high", "n"]
        columns += ["architectures", "chance"]
        rows: list[dict[str, Any]] = []
        for low, high in itertools.pairwise(_edges(costs)):
            rows += self._best_between(low, high)
        return pd.DataFrame(rows, columns=columns)

    def _best_between(self, low: float, high: float) -> list[dict[str, Any]]:
        rows, best = [], []
        for side in self.sides:
            table = side.frontier.architectures
            inside = ((table["gmacs"] > low) & (table["gmacs"] <= high)).to_numpy(dtype=bool)
            if inside.any():
                top = records(table[inside].head(1))[0]  # the table is sorted by AP
                kept = ("label", "gmacs", "ap_mean", "ap_low", "ap_high", "n")
                row = {"run": side.name, "series": side.series, **{name: top[name] for name in kept}}
                rows.append({"low": low, "up_to": high, **row, "architectures": int(inside.sum())})
                best.append(self.draws[side.name][:, inside].max(axis=1))
        return [
            {**row, "band": (low, high), "chance": chance} for row, chance in zip(rows, _chances(best), strict=True)
        ]


def compare(*runs: Runs) -> Comparison:
    """Compare runs with the first, without those that are not comparable. Raises UserError if none is."""
    names = distinct_names([each.path for each in runs])
    places, refused = split(names, [terms(each) for each in runs])
    kept = [runs[place] for place in places]
    labels = short_names({digest: spec for each in kept for digest, spec in each.specs().items()})
    sides = [
        Side(name=names[place], series=number, runs=each, frontier=compute_frontier(each, labels))
        for number, (place, each) in enumerate(zip(places, kept, strict=True))
    ]
    return Comparison(sides=tuple(sides), refused=refused, labels=labels)


def _edges(costs: Array) -> list[float]:
    """Return the edges of at most MOST_BANDS bands of cost, at round numbers if there are several."""
    if not len(costs):
        return []
    low, high = float(costs.min()), float(costs.max())
    ticks = [tick for tick in log_ticks(low, high) if low < tick < high] if high > low else []
    step = -(-len(ticks) // (MOST_BANDS - 1)) if ticks else 1
    return [0.0, *ticks[step - 1 :: step], high]


def _chances(best: list[Array]) -> list[float]:
    """Return how often each is the highest; ties count in equal parts. nan if one has no samples."""
    if len(best) < 2 or any(np.isnan(each).any() for each in best):
        return [math.nan] * len(best)
    values = np.stack(best)
    wins = values == values.max(axis=0)
    return [float(share) for share in (wins / wins.sum(axis=0)).mean(axis=1)]
