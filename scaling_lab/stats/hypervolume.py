"""The dominated hypervolume of points, and its expected improvement by a point of uncertain value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from scaling_lab.stats.fronts import first_front

Array = NDArray[Any]


def dominated_volume(points: Sequence[Sequence[float]], reference: Sequence[float]) -> float:
    """Return the hypervolume that points dominate up to the reference; all objectives are minimised.

    Recursive slicing along the first objective, for small fronts. Points beyond the reference add nothing.
    """
    inside = sorted(tuple(point) for point in points if all(a < b for a, b in zip(point, reference, strict=True)))
    if not inside:
        return 0.0
    if len(reference) == 1:
        return reference[0] - inside[0][0]
    volume = 0.0
    for place, point in enumerate(inside, start=1):
        end = inside[place][0] if place < len(inside) else reference[0]
        if end > point[0]:
            volume += (end - point[0]) * dominated_volume([each[1:] for each in inside[:place]], reference[1:])
    return volume


def expected_improvement(
    mean_M: Array,
    deviation_M: Array,
    costs_MC: Array,
    *,
    values_N: Array,
    known_costs_NC: Array,
    reference: float,
    reference_costs_C: Array,
) -> Array:
    """Return the expected gain in hypervolume (M,) of candidates with normal values and known costs over the known points.

    Values are maximised, costs minimised. The hypervolume is above the value `reference` and below the costs
    `reference_costs_C`. Shapes: M candidates, N known points, C costs (0 to 2). Source: Emmerich, Giannakoglou and Naujoks
    (2006), IEEE Trans. Evol. Comput. 10(4). With known costs it is a sum over the heights between the front's values.
    """
    costs_M2, known_N2 = _two(costs_MC, fill=0.0), _two(known_costs_NC, fill=0.0)
    reference_2 = _two(reference_costs_C[None], fill=1.0)[0]
    values_N = np.maximum(values_N, reference)
    front = first_front(np.column_stack([-values_N, known_N2]))
    front = [front[place] for place in np.argsort(-values_N[front], kind="stable")]
    values_N, known_N2 = values_N[front], known_N2[front]
    # Above a height, points with larger values dominate all higher costs.
    heights = np.append(values_N, reference)
    above_N1 = _gain(mean_M, deviation_M, heights)
    total_M = _free_area(costs_M2, known_N2[:0], reference_2) * above_N1[0]
    for place in np.flatnonzero(heights[:-1] > heights[1:]):
        area_M = _free_area(costs_M2, known_N2[: place + 1], reference_2)
        total_M = total_M + area_M * (above_N1[place + 1] - above_N1[place])
    return np.asarray(total_M)


def _two(costs_NC: Array, *, fill: float) -> Array:
    """Return two costs, missing ones filled with `fill`: 0 for points, 1 for the reference."""
    return np.pad(costs_NC, ((0, 0), (0, 2 - costs_NC.shape[1])), constant_values=fill)


def _gain(mean_M: Array, deviation_M: Array, heights_H: Array) -> Array:
    """Return E[max(0, value - height)] (H, M)."""
    z_HM = (mean_M - heights_H[:, None]) / deviation_M
    density_HM = np.exp(-0.5 * z_HM**2) / math.sqrt(2.0 * math.pi)
    return np.asarray(deviation_M * (z_HM * ndtr(z_HM) + density_HM))


def _free_area(costs_M2: Array, known_N2: Array, reference_2: Array) -> Array:
    """Return the area (M,) between a candidate's costs and the reference that no known point dominates."""
    # Staircase: from each step's first cost on, everything above its second cost is dominated.
    order = np.argsort(known_N2[:, 0], kind="stable")
    edges = np.concatenate([[-math.inf], known_N2[order, 0], [math.inf]])
    tops_S = np.minimum.accumulate(np.append(reference_2[1], known_N2[order, 1]))
    widths_MS = np.minimum(edges[1:], reference_2[0]) - np.maximum(edges[:-1], costs_M2[:, :1])
    heights_MS = tops_S - costs_M2[:, 1:]
    return np.asarray((widths_MS.clip(min=0) * heights_MS.clip(min=0)).sum(axis=1))
