"""The chance that a new value is above a level: uniform where the model holds, and right at the edges."""

from __future__ import annotations

import numpy as np
import pytest

from scaling_lab.stats.regression import chance_above


def test_chances_of_what_then_comes_are_uniform() -> None:
    """Of 4,000 new values, x % have a chance below x %, also far from the known ones and with 5 pairs."""
    draws, chances = np.random.default_rng(0), []
    for _ in range(4000):
        x_N = draws.normal(size=5)
        y_N = 3 + 2 * x_N + draws.normal(size=5)
        at = draws.normal(scale=2)
        chances.append(chance_above(3 + 2 * at + draws.normal(), at, x_N=x_N, y_N=y_N))
    for share in (0.05, 0.25, 0.5, 0.9):
        assert np.mean(np.array(chances) < share) == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 4000))


def test_without_errors_the_line_decides() -> None:
    x_N, y_N = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])
    assert chance_above(9.0, 5.0, x_N=x_N, y_N=y_N) > 1 - 1e-6
    assert chance_above(11.0, 5.0, x_N=x_N, y_N=y_N) < 1e-6
    assert chance_above(10.0, 5.0, x_N=x_N, y_N=y_N) == pytest.approx(0.5)


def test_where_all_x_are_equal_the_mean_decides() -> None:
    x_N, y_N = np.array([2.0, 2.0, 2.0]), np.array([1.0, 2.0, 3.0])
    assert chance_above(2.0, 7.0, x_N=x_N, y_N=y_N) == 0.5
    assert chance_above(1.0, 2.0, x_N=x_N, y_N=y_N) == chance_above(1.0, 7.0, x_N=x_N, y_N=y_N) > 0.5
