"""Draws for several runs: calibrated on simulations with a known truth, where draws about each mean alone are not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from scaling_lab.report.joint_draws import Means, drawn_truths
from scaling_lab.report.uncertainty import hypervolumes
from scaling_lab.statistics import pooled_sd

REFERENCE = (4.0, 0.0)


def simulate(
    draw: np.random.Generator, sizes: tuple[int, int], *, scatter: float, seeds: int = 3, shift: float = 0.0
) -> tuple[list[Means], list[list[list[float]]], list[float]]:
    """Two runs whose truths scatter about one curve; the second's lie `shift` higher. Gives means, groups, volumes."""
    runs, groups, truths = [], [], []
    for number, size in enumerate(sizes):
        costs = np.exp(draw.uniform(math.log(0.25), math.log(2.0), size))
        logs = np.log2(costs)
        truth = 45 + 5 * logs - logs**2 + draw.normal(0, scatter, size) + shift * number
        values = truth[:, None] + draw.normal(0, 1.0, (size, seeds))
        keys = np.arange(size) + (sizes[0] if number else 0)
        runs.append(Means(costs=costs, means=values.mean(axis=1), counts=np.full(size, seeds), keys=keys))
        groups.append([list(row) for row in values])
        truths.append(float(hypervolumes(costs.tolist(), truth[None], reference=REFERENCE)[0]))
    return runs, groups, truths


def covers(runs: list[Means], drawn: list[np.ndarray[Any, Any]], truths: list[float]) -> tuple[bool, float]:
    """Whether the interval of the difference of hypervolumes holds the truth, and by how much its middle is off."""
    first, other = (
        hypervolumes(run.costs.tolist(), each, reference=REFERENCE) for run, each in zip(runs, drawn, strict=True)
    )
    low, middle, high = np.quantile(first - other, [0.025, 0.5, 0.975])
    return low <= truths[0] - truths[1] <= high, float(middle - (truths[0] - truths[1]))


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
        drawn = drawn_truths(runs, pooled=pooled_sd([*groups[0], *groups[1]]), draws=300)
        found.append(covers(runs, drawn, truths))
    covered, off = np.mean(np.array(found, dtype=float), axis=0)
    assert covered == pytest.approx(0.95, abs=0.035)
    assert abs(off) < 0.25


def test_draws_about_each_mean_alone_favour_the_run_with_more_architectures() -> None:
    """Why this model is here: 50 and 5 architectures that are all on one curve."""
    draw = np.random.default_rng(4)
    offs = []
    for _ in range(100):
        runs, groups, truths = simulate(draw, (50, 5), scatter=0.0)
        pooled = pooled_sd([*groups[0], *groups[1]])
        joint = drawn_truths(runs, pooled=pooled, draws=200)
        spread = pooled[0] / math.sqrt(3)
        alone = [run.means + spread * draw.standard_normal((200, len(run.means))) for run in runs]
        offs.append((covers(runs, joint, truths)[1], covers(runs, alone, truths)[1]))
    leant, plain = np.mean(offs, axis=0)
    assert abs(leant) < 0.3
    assert plain > 1.0


def test_the_same_trainings_have_the_same_luck() -> None:
    costs, means, counts = np.array([1.0, 2.0]), np.array([40.0, 45.0]), np.array([3, 3])
    first = Means(costs=costs, means=means, counts=counts, keys=np.array([0, 1]))
    other = Means(costs=costs, means=means, counts=counts, keys=np.array([0, 2]))
    one, two = drawn_truths([first, other], pooled=(1.0, 8), draws=4000)
    # Two architectures and a trend of one number leave one degree of freedom a run: the scatter is wide, and little is leant.
    assert np.corrcoef(one[:, 0], two[:, 0])[0, 1] > 0.9
    assert abs(np.corrcoef(one[:, 1], two[:, 1])[0, 1]) < 0.2


def test_few_architectures_are_drawn_about_their_means() -> None:
    run = Means(costs=np.array([1.0]), means=np.array([40.0]), counts=np.array([4]), keys=np.array([0]))
    (drawn,) = drawn_truths([run], pooled=(1.0, 30), draws=20_000)
    assert drawn.mean() == pytest.approx(40.0, abs=0.02)
    assert drawn.std() == pytest.approx(0.5 * math.sqrt(30 / 28), abs=0.02)  # a t distribution's


def test_edges_give_no_exception() -> None:
    empty = Means(costs=np.array([]), means=np.array([]), counts=np.array([], dtype=int), keys=np.array([], dtype=int))
    same = Means(costs=np.full(20, 1.0), means=np.full(20, 40.0), counts=np.full(20, 2), keys=np.arange(20))
    drawn = drawn_truths([empty, same], pooled=(0.0, 20))
    assert drawn[0].shape == (len(drawn[1]), 0)
    assert drawn[1] == pytest.approx(np.full_like(drawn[1], 40.0), abs=1e-3)
    assert np.isnan(drawn_truths([same], pooled=(math.nan, 0))[0]).all()
