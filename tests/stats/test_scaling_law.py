"""The scaling law on curves whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize

from scaling_lab.stats.scaling_law import band, fit_law, fit_line, left_out, misfit_p

COSTS = [2.5, 6.1, 11.0, 24.9, 55.2, 130.0]


def truth(costs: list[float]) -> np.ndarray:  # type: ignore[type-arg]
    return 58.0 - 33.0 * np.asarray(costs) ** -0.35


def test_the_truth_is_found() -> None:
    law = fit_law(COSTS, truth(COSTS).tolist())
    assert law(COSTS) == pytest.approx(truth(COSTS), abs=0.01)
    assert float(law([325.0])[0]) == pytest.approx(float(truth([325.0])[0]), abs=0.05)
    assert law.a == pytest.approx(58.0, abs=0.3)


def test_it_is_the_least_squares_fit() -> None:
    draw = np.random.default_rng(0)
    for _ in range(5):
        values = truth(COSTS) + 0.3 * draw.standard_normal(6)
        law = fit_law(COSTS, values.tolist())

        def model(x: np.ndarray, a: float, b: float, c: float) -> np.ndarray:  # type: ignore[type-arg]
            return a - b * x**-c

        best, _ = scipy.optimize.curve_fit(
            model, np.array(COSTS), values, p0=(58, 33, 0.35), bounds=((0, 0, 0.01), (200, 500, 4)), maxfev=20_000
        )
        squares = float(((model(np.array(COSTS), *best) - values) ** 2).sum())
        assert law.squares <= squares * 1.001 + 1e-9


def test_a_law_never_falls() -> None:
    law = fit_law(COSTS, [50.0, 45, 40, 35, 30, 25])
    assert law.b == 0.0
    assert law(COSTS) == pytest.approx([37.5] * 6)


def test_a_line_is_fitted_as_a_line() -> None:
    law = fit_line(COSTS, (3 + 5 * np.log(COSTS)).tolist())
    assert law.squares == pytest.approx(0.0, abs=1e-18)
    assert float(law([1.0])[0]) == pytest.approx(3.0)


def test_the_criterion_prefers_what_is_true() -> None:
    draw = np.random.default_rng(1)
    costs = np.geomspace(1, 300, 12).tolist()
    for _ in range(5):
        saturating = (50 - 30 * np.asarray(costs) ** -0.8 + 0.2 * draw.standard_normal(12)).tolist()
        assert fit_law(costs, saturating).aic(12) < fit_line(costs, saturating).aic(12)
        straight = (10 + 5 * np.log(costs) + 0.2 * draw.standard_normal(12)).tolist()
        assert fit_line(costs, straight).aic(12) < fit_law(costs, straight).aic(12) + 2.5
    assert math.isinf(fit_law(COSTS[:5], truth(COSTS[:5]).tolist()).aic(5))


def test_what_is_left_out_is_predicted_from_the_others() -> None:
    values = truth(COSTS)
    assert left_out(COSTS, values.tolist()) == pytest.approx(0.0, abs=0.15)
    values[3] += 2.0
    assert left_out(COSTS, values.tolist())[3] == pytest.approx(2.0, abs=0.3)
    assert np.isnan(left_out(COSTS[:4], values[:4].tolist())).all()


def test_the_band_is_what_the_f_test_does_not_refuse() -> None:
    """An AP at the band's end is one through which the best law fits just so well, by another optimiser."""
    draw = np.random.default_rng(2)
    seeds, pooled, at = [3, 2, 3, 4, 3, 3], (0.5, 12), 260.0
    values = truth(COSTS) + 0.3 * draw.standard_normal(6)
    low, high = band(COSTS, values.tolist(), [at], seeds=seeds, pooled=pooled)[:, 0]

    def misfit(c: float, through: float | None) -> float:
        weights = np.sqrt(np.array(seeds))
        powers = np.asarray(COSTS) ** -c
        if through is None:
            design, goal = np.stack([np.ones(6), -powers], axis=1), values
        else:  # a = through + b · at^-c
            design, goal = (at**-c - powers)[:, None], values - through
        found, *_ = np.linalg.lstsq(weights[:, None] * design, weights * goal, rcond=None)
        return float((weights**2 * (design @ found - goal) ** 2).sum())

    def best(through: float | None) -> float:
        starts = np.geomspace(0.01, 4.0, 400)
        start = min(starts, key=lambda c: misfit(c, through))
        bounds = (max(0.01, start / 1.05), min(4.0, start * 1.05))
        return float(scipy.optimize.minimize_scalar(lambda c: misfit(c, through), bounds=bounds, method="bounded").fun)

    limit = best(None) + 4.7472 * 0.25  # the 95 % point of F with 1 and 12 degrees
    assert best(float(low)) == pytest.approx(limit, rel=0.01)
    assert best(float(high)) == pytest.approx(limit, rel=0.01)
    wider = band(COSTS, values.tolist(), [at], seeds=seeds, pooled=pooled, training_runs=1)[:, 0]
    assert wider[0] < low - 0.3
    assert wider[1] > high + 0.3


def test_a_band_holds_its_law_and_a_flat_one_a_level() -> None:
    seeds = [3] * 6
    values = truth(COSTS).tolist()
    low, high = band(COSTS, values, COSTS, seeds=seeds, pooled=(0.0, 12))
    assert low == pytest.approx(truth(COSTS), abs=0.02)
    assert high == pytest.approx(truth(COSTS), abs=0.02)
    falling = [45.0, 44, 43, 42, 41, 40]
    low, high = band(COSTS, falling, [400.0], seeds=seeds, pooled=(1.0, 12))[:, 0]
    assert low <= 42.5 <= high


def test_a_law_that_does_not_fit_is_found_out() -> None:
    values, seeds = truth(COSTS), [3] * 6
    values[2] += 2.0
    assert misfit_p(fit_law(COSTS, values.tolist(), seeds), seeds, (0.3, 12)) < 0.001
    law = fit_law(COSTS, (truth(COSTS) + 0.17 * np.random.default_rng(3).standard_normal(6)).tolist(), seeds)
    sd = math.sqrt(law.squares * 3 / 3 / 3.4903)  # the 95 % point of F with 3 and 12 degrees
    assert misfit_p(law, seeds, (sd, 12)) == pytest.approx(0.05, abs=1e-5)
    assert math.isnan(misfit_p(law, seeds, (math.nan, 0)))


def test_a_model_weighs_as_many_as_its_seeds() -> None:
    values = [40.0, 45.0, 48.0, 50.0, 51.0, 54.0]
    twice = fit_law([*COSTS, COSTS[5]], [*values, values[5]])
    weighed = fit_law(COSTS, values, [1, 1, 1, 1, 1, 2])
    assert weighed(COSTS) == pytest.approx(twice(COSTS), abs=0.02)
