"""The difference of two runs' hypervolumes: its interval covers the truth, however many architectures each has."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from scaling_lab.stats.estimates import pooled_sd
from scaling_lab.stats.posterior import drawn_means
from scaling_lab.stats.posterior_fronts import hypervolumes

REFERENCE = (4.0, 0.0)


def simulate(
    draw: np.random.Generator, sizes: tuple[int, int], *, scatter: float, seeds: int = 3, shift: float = 0.0
) -> tuple[list[list[float]], list[list[list[float]]], list[float]]:
    """Two runs whose truths scatter about one curve; the second's lie `shift` higher. Gives costs, groups, volumes."""
    runs, groups, truths = [], [], []
    for number, size in enumerate(sizes):
        costs = np.exp(draw.uniform(math.log(0.25), math.log(2.0), size))
        logs = np.log2(costs)
        truth = 45 + 5 * logs - logs**2 + draw.normal(0, scatter, size) + shift * number
        values = truth[:, None] + draw.normal(0, 1.0, (size, seeds))
        runs.append(costs.tolist())
        groups.append([list(row) for row in values])
        truths.append(float(hypervolumes(costs.tolist(), truth[None], reference=REFERENCE)[0]))
    return runs, groups, truths


def covers(runs: list[list[float]], drawn: list[np.ndarray[Any, Any]], truths: list[float]) -> tuple[bool, float]:
    """Whether the interval of the difference of hypervolumes holds the truth, and by how much its middle is off."""
    first, other = (hypervolumes(costs, each, reference=REFERENCE) for costs, each in zip(runs, drawn, strict=True))
    low, middle, high = np.quantile(first - other, [0.025, 0.5, 0.975])
    return low <= truths[0] - truths[1] <= high, float(middle - (truths[0] - truths[1]))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sizes", "scatter", "shift"), [((50, 5), 0.0, 0.0), ((60, 12), 0.5, 0.0), ((40, 40), 1.0, 2.0)]
)
def test_intervals_of_a_difference_cover_it_whatever_the_sizes(
    sizes: tuple[int, int], scatter: float, shift: float
) -> None:
    draw = np.random.default_rng(4)
    found = []
    for _ in range(300):
        runs, groups, truths = simulate(draw, sizes, scatter=scatter, shift=shift)
        pooled = pooled_sd([*groups[0], *groups[1]])
        drawn = [drawn_means(groups[side], pooled=pooled, costs=runs[side], draws=300, seed=side) for side in range(2)]
        found.append(covers(runs, drawn, truths))
    covered, off = np.mean(np.array(found, dtype=float), axis=0)
    assert covered == pytest.approx(0.95, abs=0.035)
    assert abs(off) < 0.25
