"""Non-negative least squares of relative errors, for times that are sums of features."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np

RIDGE = 1e-3  # relative to each feature's mean share; splits the time of collinear features


Name = TypeVar("Name", bound=Hashable)


def relative_nonnegative(
    samples: Sequence[tuple[Mapping[Name, float], float]], *, ridge: float = RIDGE
) -> dict[Name, float]:
    """Return the weights ≥ 0 of the features with the least squared relative error of their sums.

    A sample is (features by name, positive value); a missing feature is 0.
    """
    from scipy.optimize import nnls  # takes half a second

    names = list(dict.fromkeys(name for features, _ in samples for name in features))
    values_N = np.array([value for _, value in samples])
    table_ND = np.array([[features.get(name, 0.0) for name in names] for features, _ in samples])
    shares_ND = table_ND / values_N[:, None]
    scales_D = shares_ND.mean(axis=0)
    scales_D[scales_D == 0] = 1.0
    scaled_ND = shares_ND / scales_D
    weight = np.sqrt(ridge * len(samples))
    rows_MD = np.concatenate([scaled_ND, weight * np.eye(len(names))])
    wanted_M = np.concatenate([np.ones(len(samples)), np.zeros(len(names))])
    weights_D = nnls(rows_MD, wanted_M)[0] / scales_D
    return dict(zip(names, weights_D.tolist(), strict=True))
