"""What a Gaussian process of a search's trials predicts and believes, beside what was found.

It is the model of the sampler "ehvi", fitted again to the ledger with all numbers on a linear scale. Other samplers do not
use it, but their trials can be judged by it as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scaling_lab.metrics import ACCURACIES, COSTS, MAIN_COUNTED, MAXIMIZE, MINIMIZE
from scaling_lab.report.analysis.search_progress import ended_trials
from scaling_lab.report.tables import records
from scaling_lab.stats import estimates, fronts, ranks, resampling
from scaling_lab.stats.resampling import Ranked

if TYPE_CHECKING:
    from scaling_lab.report.analysis.frontier import Frontier
    from scaling_lab.runs.reader import Runs
    from scaling_lab.stats.belief import Belief

LEAST = 10  # architectures with complete trials, below which nothing is predicted
_REACH = NormalDist().inv_cdf(0.975)
_SIGNS = {MAXIMIZE: 1.0, MINIMIZE: -1.0}


@dataclass(frozen=True, kw_only=True)
class Inside:
    """How many found values lie in their predicted intervals, and the 95 % range of that count for calibrated ones."""

    count: int
    low: int
    high: int


@dataclass(frozen=True, kw_only=True)
class Beliefs:
    """Predicted, believed and found values of the objective `measured`.

    `trials` has a row for each modelled complete trial: trial, order (from 1, among all ended trials), architecture, label,
    is_further (a further seed), found, and predicted with predicted_sd, low and high (95 %), of a new trial. The predictions
    are those of belief.predicted, without the architecture's own trials.

    `architectures` has a row for each of their architectures, the best believed first: architecture, label, n, found (the
    mean), predicted, believed with believed_low and believed_high (95 %), on_believed and on_found (the fronts by the
    objectives), and fresh with n_fresh, the mean of its finalist trials.

    `noise` is the estimated SD between seeds. `spent` lists the architectures of all ended trials of the search, in order.
    `has_costs` is whether any other objective is a cost, and `left_out` the number of ended trials that are not modelled.
    """

    measured: str
    trials: pd.DataFrame
    architectures: pd.DataFrame
    noise: float
    spent: Sequence[str]
    has_costs: bool
    left_out: int

    @property
    def tau(self) -> Ranked:
        """The tau-b of predicted and found values of the architectures, with its interval over architectures."""
        table = self.architectures
        return resampling.with_interval(ranks.tau, table["predicted"].to_numpy(), table["found"].to_numpy())

    def inside(self, share: float) -> Inside:
        """Count the found values in their central intervals of probability `share`."""
        reach = NormalDist().inv_cdf(0.5 + share / 2)
        distances = (self.trials["found"] - self.trials["predicted"]).abs()
        count = int((distances <= reach * self.trials["predicted_sd"]).sum())
        low, high = estimates.expected_count(len(self.trials), share)
        return Inside(count=count, low=low, high=high)


def search_beliefs(runs: Runs, frontier: Frontier) -> Beliefs | None:
    """Fit a process to the ended trials of a run's search; None without a search or with fewer than LEAST architectures.

    The first accuracy among the objectives is modelled, and the others are ignored.
    """
    objectives: dict[str, str] = runs.meta.get("objectives", {})
    measured = next((name for name in objectives if name in ACCURACIES), None)
    if runs.meta.get("sampler", "grid") == "grid" or measured is None:
        return None
    ended = ended_trials(runs)
    ended["order"] = range(1, len(ended) + 1)
    ended["label"] = [frontier.labels.get(digest, digest) for digest in ended["architecture"]]
    has_costs = ended[list(MAIN_COUNTED)].notna().all(axis=1)
    is_complete = ended["state"].eq("complete") & ended[measured].notna() & has_costs
    if ended.loc[is_complete, "architecture"].nunique() < LEAST:
        return None
    usable = ended[is_complete | (ended["state"].eq("stopped") & has_costs)]
    sign = _SIGNS[objectives[measured]]
    costs = {name: -_SIGNS[way] for name, way in objectives.items() if name not in ACCURACIES}
    belief, kept = _fitted(runs, usable.assign(value=sign * usable[measured]), costs)
    trials = ended[is_complete & ended["trial"].isin(kept)].rename(columns={measured: "found"})
    architectures = _architectures(trials, belief, sign)
    for name in ("believed", "found"):
        values = [-sign * architectures[name], *(way * architectures[cost] for cost, way in costs.items())]
        architectures[f"on_{name}"] = _on_front(np.column_stack(values))
    finals = frontier.finalists
    fresh = finals[finals["protocol"] == runs.meta["protocol"]].groupby("architecture")[measured]
    architectures["fresh"] = fresh.mean().reindex(architectures["architecture"]).to_numpy(dtype=float)
    architectures["n_fresh"] = fresh.count().reindex(architectures["architecture"], fill_value=0).to_numpy()
    return Beliefs(
        measured=measured,
        trials=_with_predictions(trials, architectures),
        architectures=architectures,
        noise=belief.process.noise,
        spent=list(ended["architecture"]),
        has_costs=bool(costs),
        left_out=len(usable) - len(kept),
    )


def _fitted(runs: Runs, usable: pd.DataFrame, costs: Mapping[str, float]) -> tuple[Belief, set[int]]:
    """Return the process and the numbers of the trials that it models; `costs` are the signs of the objectives among them."""
    # Loads torch, which takes seconds that reports without a search save.
    from scaling_lab.stats.belief import Belief, Seen, modelled

    params = dict(reversed(runs.points()))
    seen = {
        row["trial"]: Seen(
            architecture=row["architecture"],
            params=params[row["architecture"]],
            costs={name: row[name] for name in {*MAIN_COUNTED, *costs}},
            state=row["state"],
            value=row["value"],
        )
        for row in records(usable)
    }
    kept = modelled(list(seen.values()), lambda each: [way * each.costs[name] for name, way in costs.items()])
    identities = set(map(id, kept))
    return Belief(kept), {trial for trial, each in seen.items() if id(each) in identities}


def _architectures(trials: pd.DataFrame, belief: Belief, sign: float) -> pd.DataFrame:
    mean_A, deviation_A = (each.numpy() for each in belief.of_known())
    predicted_A, predicted_sd_A = (each.numpy() for each in belief.predicted())
    reach = _REACH * deviation_A
    beliefs = pd.DataFrame(
        {
            "predicted": sign * predicted_A,
            "predicted_sd": predicted_sd_A,
            "believed": sign * mean_A,
            "believed_low": sign * mean_A - reach,
            "believed_high": sign * mean_A + reach,
        },
        index=belief.known,
    )
    groups = trials.groupby("architecture", sort=False)
    table = groups[["label", *COSTS]].first().assign(n=groups.size(), found=groups["found"].mean()).join(beliefs)
    table = table.rename_axis("architecture").reset_index()
    return table.sort_values("believed", ascending=sign < 0, kind="stable").reset_index(drop=True)


def _on_front(points: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Mark the front of points, all to be minimised; one with a missing objective is never on it."""
    known = np.flatnonzero(~np.isnan(points).any(axis=1))
    return np.isin(np.arange(len(points)), known[fronts.first_front(points[known])])


def _with_predictions(trials: pd.DataFrame, architectures: pd.DataFrame) -> pd.DataFrame:
    table = trials[["trial", "order", "architecture", "label", "found"]].merge(
        architectures[["architecture", "predicted", "predicted_sd"]], on="architecture", sort=False
    )
    table = table.sort_values("order").reset_index(drop=True)
    reach = _REACH * table["predicted_sd"]
    return table.assign(
        is_further=table["architecture"].duplicated(), low=table["predicted"] - reach, high=table["predicted"] + reach
    )
