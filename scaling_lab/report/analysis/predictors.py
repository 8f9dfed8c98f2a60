"""How well the proxy and model size rank architectures of the full protocol, compared with a repeat of it.

Correlations have 95 % jackknife intervals over architectures; all predictors leave out the same ones, so differences are
paired. A regret has the middle 95 % over resampled architectures, which is not a 95 % interval.
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
    """The statistics of one predictor; nan if undefined.

    `partial` is the partial tau given GMACs, `ahead` the proxy's tau minus this one's. `regrets` is the AP lost by taking
    the best of the predictor's top k instead of the best of all.
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
    """The expected tau between two repeats of each protocol, from its seed SD; nan without repeated seeds."""

    proxy: float
    full: float


NOTHING = Ranked(value=math.nan, low=math.nan, high=math.nan)


def predictors(table: pd.DataFrame) -> dict[str, Predictor]:
    """Compute how well each of PREDICTORS ranks full_ap_mean over pairs (see pairing.Pairs)."""
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
    # An architecture with one seed has the pooled SD, as in the band of the front.
    errors = frontier.sd / np.sqrt(table[f"{which}_n"].to_numpy(dtype=float))
    return ranks.noise_ceiling(means.tolist(), errors.tolist())
