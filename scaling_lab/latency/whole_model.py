"""Predicts the latency of whole detectors of different backbones from others measured under the same conditions.

`model.py` is for the detectors of one search space and needs their profiles. This model needs a median alone and extends to
larger detectors, since it is a non-negative sum over operators.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scaling_lab.latency.features import Features
from scaling_lab.stats.least_squares import relative_nonnegative

LEAST = 8  # detectors

Timed = tuple[Features, float]  # a detector's operators and its milliseconds


@dataclass(frozen=True, kw_only=True)
class WholeModel:
    """Milliseconds of each feature of `operators`; and the relative errors on detectors that a fit did not see.

    `left_out` are errors of fits without one detector. `beyond` are errors on the costliest third, fitted on the others; the
    predictions of larger detectors are as uncertain as these.
    """

    weights: Features
    left_out: tuple[float, ...]
    beyond: tuple[float, ...]

    @property
    def median_error(self) -> float:
        """The median error on left-out detectors."""
        return statistics.median(self.left_out)

    @property
    def median_beyond(self) -> float:
        """The median error on detectors costlier than those of the fit."""
        return statistics.median(self.beyond)

    def predict(self, features: Features) -> float:
        """Return milliseconds."""
        return _sum(self.weights, features)


def fit_whole(timed: Sequence[Timed]) -> WholeModel:
    """Fit to all, of which there must be LEAST."""
    assert len(timed) >= LEAST
    ordered = sorted(timed, key=lambda each: each[1])
    split = len(ordered) - len(ordered) // 3
    left_out = [
        _error(relative_nonnegative([*ordered[:place], *ordered[place + 1 :]]), each)
        for place, each in enumerate(ordered)
    ]
    cheaper = relative_nonnegative(ordered[:split])
    return WholeModel(
        weights=relative_nonnegative(ordered),
        left_out=tuple(left_out),
        beyond=tuple(_error(cheaper, each) for each in ordered[split:]),
    )


def _error(weights: Features, each: Timed) -> float:
    features, taken = each
    return abs(_sum(weights, features) / taken - 1.0)


def _sum(weights: Features, features: Features) -> float:
    return sum(weights.get(name, 0.0) * value for name, value in features.items())
