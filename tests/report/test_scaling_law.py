"""The scaling law on curves whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize

from scaling_lab.report.scaling_law import band, fit_law, fit_line, left_out

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


def test_the_band_covers_the_next_model_as_often_as_it_says() -> None:
    """The law is fitted to five means of three seeds each; the sixth model's true AP is to lie within the band."""
    draw = np.random.default_rng(2)
    covered, runs = 0, 100
    for _ in range(runs):
        error = 0.3 / math.sqrt(3)
        means = truth(COSTS[:5]) + error * draw.standard_normal(5)
        drawn = means + error * draw.standard_normal((100, 5))
        low, _, high = band(COSTS[:5], drawn, [COSTS[5]])[:, 0]
        covered += low <= float(truth([COSTS[5]])[0]) <= high
    assert covered / runs >= 0.88
