"""How well the cheap protocol, and size alone, rank what the dear protocol finds, beside what a repeat would. It words nothing.

All intervals are over resampled architectures, the same resamples for each predictor, so that differences are paired.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from scaling_lab.report import ranks, resampling
from scaling_lab.report.frontier import Frontier
from scaling_lab.report.ranks import Array, Ranked

PREDICTORS = {"cheap_ap_mean": "the cheap protocol", "params_m": "more parameters", "gmacs": "more GMACs"}
TOPS = (1, 3, 5)
MOST_CEILING_NUMBERS, LEAST_CEILING_DRAWS = 100_000, 20  # of architectures times draws: many architectures need few


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """What one predictor is worth; a statistic that cannot be had is nan.

    `partial` is the tau left once GMACs are known, `ahead` the cheap protocol's tau less this one's, `regrets` the AP lost by
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

    cheap: float
    dear: float


NOTHING = Ranked(value=math.nan, low=math.nan, high=math.nan)


def predictors(table: pd.DataFrame) -> dict[str, Predictor]:
    """Judge each of PREDICTORS by pairs (see pairing.Pairs): how it ranks dear_ap_mean."""
    counts_AB = resampling.resample(range(len(table)))
    truth = table["dear_ap_mean"].to_numpy(dtype=float)
    columns = {key: table[key].to_numpy(dtype=float) for key in PREDICTORS}
    taus = {key: resampling.kendall_taus(values, truth, counts_AB) for key, values in columns.items()}
    return {key: _predictor(key, columns, truth, taus, counts_AB) for key in PREDICTORS}


def _predictor(
    key: str, columns: dict[str, Array], truth: Array, taus: dict[str, Array], counts_AB: Array
) -> Predictor:
    values, partial, ahead = columns[key], NOTHING, NOTHING
    if key != "gmacs":
        with_size = resampling.kendall_taus(values, columns["gmacs"], counts_AB)
        partial = resampling.ranked(resampling.partial_taus(taus[key], with_size, taus["gmacs"]))
    if key != "cheap_ap_mean":
        ahead = resampling.ranked(taus["cheap_ap_mean"] - taus[key])
    tops = [k for k in TOPS if k < len(values)] if float(np.ptp(values)) > 0 else []
    lost = resampling.regrets(values, truth, counts_AB, tops)
    regrets = {k: resampling.ranked(lost[k]) if k in lost else NOTHING for k in TOPS}
    return Predictor(
        key=key,
        name=PREDICTORS[key],
        tau=resampling.ranked(taus[key]),
        spearman=resampling.ranked(resampling.spearmans(values, truth, counts_AB)),
        partial=partial,
        ahead=ahead,
        regrets=regrets,
    )


def ceilings(cheap: Frontier, dear: Frontier, table: pd.DataFrame) -> Ceilings:
    """Simulate two repeats of each protocol over the paired architectures."""
    return Ceilings(cheap=_ceiling(cheap, table, "cheap"), dear=_ceiling(dear, table, "dear"))


def _ceiling(frontier: Frontier, table: pd.DataFrame, which: str) -> float:
    means = table[f"{which}_ap_mean"].to_numpy(dtype=float)
    if frontier.degrees < 1 or float(np.ptp(means)) == 0.0:
        return math.nan
    # An architecture of one seed has the error that the others' spread suggests, as where the front's band is drawn.
    errors = frontier.sd / np.sqrt(table[f"{which}_n"].to_numpy(dtype=float))
    draws = min(ranks.RESAMPLES, max(LEAST_CEILING_DRAWS, MOST_CEILING_NUMBERS // len(table)))
    return ranks.noise_ceiling(means.tolist(), errors.tolist(), draws=draws)
