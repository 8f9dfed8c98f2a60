"""What trials tell about architectures: against refits, against a known truth, and against noise without any truth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from scaling_lab.stats import belief
from scaling_lab.stats.belief import Belief, Seen, modelled
from scaling_lab.stats.gaussian_process import GaussianProcess
from scaling_lab.stats.ranks import tau

COSTS = {"gmacs": 1.0, "params_m": 1.0, "memory_mb": 1.0}


def seen(point: Sequence[float], value: float = math.nan, state: str = "complete", **costs: float) -> Seen:
    """A trial of the architecture at a point."""
    params = {f"x{number}": value for number, value in enumerate(point)}
    return Seen(architecture=str(tuple(point)), params=params, costs=COSTS | costs, state=state, value=value)


def noisy(*, points: int, dimensions: int, slope: float, seed: int) -> list[Seen]:
    """Trials whose values rise by `slope` along the first of the dimensions, with noise of SD 1."""
    chance = np.random.default_rng(seed)
    return [seen(point, slope * point[0] + chance.normal()) for point in chance.random((points, dimensions)).tolist()]


def test_each_architecture_is_predicted_by_a_fit_without_its_tenth() -> None:
    trials = noisy(points=23, dimensions=2, slope=4, seed=0)
    trials += [seen(tuple(trials[5].params.values()), 9.0)]  # a further seed, left out with the first
    found = Belief(trials)
    mean_A, deviation_A = found.predicted()
    place = found.known.index(trials[5].architecture)
    others = {digest for number, digest in enumerate(found.known) if number % 10 != place % 10}
    kept = [each for each in trials if each.architecture in others]
    points = torch.tensor([list(each.params.values()) for each in [*kept, trials[5]]], dtype=torch.float64)
    lows, highs = torch.tensor([list(each.params.values()) for each in trials]).aminmax(dim=0)
    points = (points - lows) / (highs - lows)
    values = torch.tensor([each.value for each in kept], dtype=torch.float64)
    process = GaussianProcess(points[:-1], values, torch.arange(len(kept)), torch.arange(2))
    mean, deviation = (float(each[0]) for each in process(points[-1:]))
    assert float(mean_A[place]) == pytest.approx(mean, abs=1e-3)
    assert float(deviation_A[place]) == pytest.approx(math.hypot(deviation, process.noise), abs=1e-3)


def test_noise_is_not_predictable() -> None:
    """Leave-one-out predictions with settings fitted to all values would reach a mean of about 0.3."""
    taus = []
    for seed in range(6):
        trials = noisy(points=60, dimensions=12, slope=0, seed=seed)
        found = Belief(trials)
        values = {each.architecture: each.value for each in trials}
        taus.append(tau(found.predicted()[0].numpy(), [values[digest] for digest in found.known]))
    assert abs(np.mean(taus)) < 0.12


def test_what_is_predictable_is_predicted_within_its_intervals() -> None:
    trials = noisy(points=80, dimensions=2, slope=8, seed=1)
    found = Belief(trials)
    values = {each.architecture: each.value for each in trials}
    values_A = torch.tensor([values[digest] for digest in found.known])
    mean_A, deviation_A = found.predicted()
    assert tau(mean_A.numpy(), values_A.numpy()) > 0.6
    share = float(((values_A - mean_A).abs() < 1.96 * deviation_A).double().mean())
    assert 0.88 <= share < 1.0


def test_a_further_seed_leaves_less_doubt() -> None:
    trials = noisy(points=12, dimensions=1, slope=1, seed=2)
    again = [seen(tuple(trials[3].params.values()), trials[3].value) for _ in range(5)]
    for number in (0, 5):
        found = Belief([*trials, *again[:number]])
        deviations = dict(zip(found.known, found.of_known()[1].tolist(), strict=True))
        others = [each for digest, each in deviations.items() if digest != trials[3].architecture]
        assert (deviations[trials[3].architecture] < min(others)) == (number > 0)


def test_the_best_and_the_latest_are_modelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(belief, "MOST_MODELLED", 4)
    trials = [
        seen([0], 50.0, gmacs=2.0), seen([1], 10.0, gmacs=3.0), seen([2], 40.0, gmacs=1.0), seen([3], 20.0, gmacs=3.0),
        seen([4], state="stopped"), seen([5], 30.0, gmacs=3.0),
    ]  # fmt: skip
    kept = modelled(trials, lambda each: [each.costs["gmacs"]])
    assert [each.params["x0"] for each in kept] == [0, 2, 4, 5]
    assert modelled(trials[:4], lambda each: [0.0]) == trials[:4]
