"""How well the proxy protocol, and size alone, rank what the full protocol finds, beside what a repeat would. It words nothing.

Correlations have the jackknife's 95 % intervals over architectures, the same left out for each predictor, so that differences
are paired. What is said of a regret is the middle 95 % over resampled architectures, which is no such interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scaling_lab.report.analysis.frontier import Frontier
from scaling_lab.stats import ranks, resampling
from scaling_lab.stats.resampling import Array, Ranked

PREDICTORS = {"proxy_ap_mean": "the proxy", "params_m": "more parameters", "gmacs": "more GMACs"}
TOPS = (1, 3, 5)


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """What one predictor is worth; a statistic that cannot be had is nan.

    `partial` is the tau left once GMACs are known, `ahead` the proxy protocol's tau less this one's, `regrets` the AP lost by
    the best of its first k instead of the best of all.
    """

    key: str
    name: str
    tau: Ranked
    spearman: Ranked
    partial: Ranked
    ahead: Ranked
    regrets: dict[int, Ranked]


@dataclass(frozen=True, kw_only=True)
class Ceilings:
    """The tau between two repeats of each protocol, by the spread of its seeds; nan where no architecture has two."""

    proxy: float
    full: float


NOTHING = Ranked(value=math.nan, low=math.nan, high=math.nan)


def predictors(table: pd.DataFrame) -> dict[str, Predictor]:
    """Judge each of PREDICTORS by pairs (see pairing.Pairs): how it ranks full_ap_mean."""
    parts_BA, drawn_AB = resampling.leave_out(range(len(table))), resampling.resample(range(len(table)))
    truth = table["full_ap_mean"].to_numpy(dtype=float)
    columns = {key: table[key].to_numpy(dtype=float) for key in PREDICTORS}
    taus = {key: resampling.of_parts(ranks.tau, parts_BA, values, truth) for key, values in columns.items()}
    return {key: _predictor(key, columns, truth, taus, parts_BA, drawn_AB) for key in PREDICTORS}


def _predictor(
    key: str, columns: dict[str, Array], truth: Array, taus: dict[str, Array], parts_BA: Array, drawn_AB: Array
) -> Predictor:
    values, count, partial = columns[key], len(truth), NOTHING
    if key != "gmacs":
        with_size = resampling.of_parts(ranks.tau, parts_BA, values, columns["gmacs"])
        partials = ranks.partial_taus(taus[key], with_size, taus["gmacs"])
        partial = resampling.jackknifed(ranks.partial_tau, partials, count)
    tops = [k for k in TOPS if k < len(values)] if float(np.ptp(values)) > 0 else []
    lost = resampling.regrets(values, truth, drawn_AB, tops)
    return Predictor(
        key=key,
        name=PREDICTORS[key],
        tau=resampling.jackknifed(ranks.tau, taus[key], count),
        spearman=resampling.jackknifed(
            ranks.spearman, resampling.of_parts(ranks.spearman, parts_BA, values, truth), count
        ),
        partial=partial,
        ahead=NOTHING if key == "proxy_ap_mean" else _ahead(key, columns, taus),
        regrets={k: resampling.middle(lost[k]) if k in lost else NOTHING for k in TOPS},
    )


def _ahead(key: str, columns: dict[str, Array], taus: dict[str, Array]) -> Ranked:
    proxy = "proxy_ap_mean"
    return resampling.tau_difference(columns[proxy], columns[key], taus[proxy], taus[key])


def ceilings(proxy: Frontier, full: Frontier, table: pd.DataFrame) -> Ceilings:
    """Simulate two repeats of each protocol over the paired architectures."""
    return Ceilings(proxy=_ceiling(proxy, table, "proxy"), full=_ceiling(full, table, "full"))


def _ceiling(frontier: Frontier, table: pd.DataFrame, which: str) -> float:
    means = table[f"{which}_ap_mean"].to_numpy(dtype=float)
    if frontier.degrees < 1 or float(np.ptp(means)) == 0.0:
        return math.nan
    # An architecture of one seed has the error that the others' spread suggests, as where the front's band is drawn.
    errors = frontier.sd / np.sqrt(table[f"{which}_n"].to_numpy(dtype=float))
    return ranks.noise_ceiling(means.tolist(), errors.tolist())
