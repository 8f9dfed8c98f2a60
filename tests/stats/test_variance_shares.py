"""Shares of variance: the corrected one of an analysis of variance, with planted effects and with none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from scaling_lab.stats import variance_shares


def test_the_share_is_the_corrected_one_of_an_analysis_of_variance() -> None:
    random = np.random.default_rng(0)
    codes = random.integers(0, 4, 60)
    values = codes + random.normal(0, 2, 60)
    f = stats.f_oneway(*(values[codes == code] for code in range(4))).statistic
    found, _ = variance_shares.shares(values, {"a": codes})
    assert found["a"].value == pytest.approx((f - 1) * 3 / (f * 3 + 56), abs=1e-5)  # Kelley 1935, in terms of F


@pytest.mark.slow
def test_the_planted_choice_is_found_and_the_others_are_within_chance() -> None:
    random = np.random.default_rng(1)
    covered, beyond, nulls = [], [], []
    for seed in range(120):
        groups = {name: random.integers(0, number, 80) for name, number in (("planted", 4), ("b", 2), ("c", 6))}
        values = np.array([-1.5, -0.5, 0.5, 1.5])[groups["planted"]] + random.normal(0, 1, 80)
        found, chance = variance_shares.shares(values, groups, seed=seed)
        assert found["planted"].value > max(chance, found["b"].value, found["c"].value)
        covered.append(found["planted"].low <= 1.25 / 2.25 <= found["planted"].high)
        noise, line = variance_shares.shares(random.normal(0, 1, 80), groups, seed=seed)
        beyond.append(max(each.value for each in noise.values()) > line)
        nulls.append(noise["c"].value)
    assert 0.88 < np.mean(covered) < 0.99
    assert np.mean(beyond) < 0.11  # 5 % for all three together
    assert np.mean(nulls) == pytest.approx(0.0, abs=0.015)  # however many values a choice has


def test_what_is_all_equal_has_no_share() -> None:
    found, chance = variance_shares.shares([3.0] * 20, {"a": np.repeat([0, 1], 10)})
    assert math.isnan(found["a"].value)
    assert math.isnan(chance)
    rest, cost = variance_shares.without_cost([3.0] * 20, np.arange(20.0))
    assert cost == 0.0
    assert not rest.any()
