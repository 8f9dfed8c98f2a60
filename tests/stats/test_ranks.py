"""Rank statistics against published examples and values counted by hand, and the noise ceiling against a known truth."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

from scaling_lab.stats import ranks

TIED = [1.0, 2, 2, 3, 5, 5], [1.0, 3, 2, 3, 4, 1]


def test_tau_counts_pairs() -> None:
    assert ranks.tau([1, 2, 3, 4], [1, 2, 3, 4]) == pytest.approx(1.0)
    assert ranks.tau([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1.0)
    # Of 15 pairs two are tied in the first, two others in the second; 8 agree, 3 do not.
    assert ranks.tau(*TIED) == pytest.approx((8 - 3) / 13)
    assert ranks.tau([1, 2], [5, 3]) == -1.0  # one pair


def test_spearman_of_a_published_example() -> None:
    """The IQ and hours of television of ten people (Wikipedia, Spearman's rank correlation coefficient): -29/165."""
    iq, hours = [106, 100, 86, 101, 99, 103, 97, 113, 112, 110], [7, 27, 2, 50, 28, 29, 20, 12, 6, 17]
    assert ranks.spearman(iq, hours) == pytest.approx(-29 / 165)


@pytest.mark.parametrize("statistic", [ranks.tau, ranks.spearman])
@pytest.mark.parametrize("count", [0, 1, 5])
def test_too_few_no_difference_or_a_missing_value_has_no_correlation(
    statistic: Callable[..., float], count: int
) -> None:
    values = list(np.random.default_rng(0).normal(size=count))
    assert math.isnan(statistic([1.0] * count, values))
    assert math.isnan(statistic(values, [1.0] * count))
    assert math.isnan(statistic([math.nan, *values], [1.0, *values]))


def test_taus_with_are_taus_row_by_row() -> None:
    draw = np.random.default_rng(5)
    rows, fixed = draw.integers(0, 4, (40, 6)).astype(float), [1.0, 2, 2, 3, 4, 5]
    assert ranks.taus_with(rows, fixed).tolist() == pytest.approx([ranks.tau(row, fixed) for row in rows], nan_ok=True)
    assert np.isnan(ranks.taus_with(np.array([[1.0, 1, 1], [1, math.nan, 2]]), [1.0, 2, 3])).all()


def test_the_exact_p_counts_orders() -> None:
    assert ranks.permutation_p([1, 2, 3, 4], [1, 2, 3, 4]) == pytest.approx(2 / 24)
    assert ranks.permutation_p([1, 2, 2], [1, 2, 3]) == pytest.approx(
        4 / 6
    )  # two orders agree, two disagree as strongly


def test_the_share_of_inverted_pairs_is_counted() -> None:
    """Five pairs differ in cost; two of them are inverted, and one has equal times."""
    assert ranks.inverted_share(np.array([1.0, 2, 2, 3]), np.array([5.0, 5, 9, 6])) == pytest.approx(1 / 5)
    assert ranks.inverted_share(np.array([1.0, 1.0]), np.array([5.0, 6.0])) == 0.0


def test_a_run_without_any_spread_has_no_ceiling() -> None:
    assert math.isnan(ranks.noise_ceiling([40.0, 40.0, 40.0], [0.0, 0.0, 0.0], repeats=5))


def test_partial_tau_sees_through_size() -> None:
    """Two measures that both follow size alone agree, and no longer once size is known."""
    draw = np.random.default_rng(2)
    size = draw.normal(size=400)
    first, second = size + draw.normal(size=400), size + draw.normal(size=400)
    assert ranks.tau(first, second) > 0.25
    assert abs(ranks.partial_tau(first, second, size)) < ranks.tau(first, second) / 2
    alike = first + 0.1 * draw.normal(size=400)
    assert ranks.partial_tau(first, alike, size) > 0.7
    assert math.isnan(ranks.partial_tau(size, first, size))


@pytest.mark.slow
def test_the_ceiling_is_what_two_repeats_reach() -> None:
    """Thirty architectures, as simulated elsewhere: spread and SD of seeds in AP, number of seeds, tau of two repeats."""
    draw = np.random.default_rng(3)
    settings = {(1.0, 0.2): (0.82, 0.90, 0.92), (0.5, 0.3): (0.53, 0.70, 0.77)}
    every = [(*key, seeds, tau) for key, taus in settings.items() for seeds, tau in zip((1, 3, 5), taus, strict=True)]
    for spread, sd, seeds, expected in every:
        error = sd / math.sqrt(seeds)
        found = []
        for seed in range(150):
            means = spread * draw.standard_normal(30) + error * draw.standard_normal(30)
            found.append(ranks.noise_ceiling(means.tolist(), [error] * 30, repeats=10, seed=seed))
        assert np.mean(found) == pytest.approx(expected, abs=0.03)


def test_the_ceiling_of_many_is_that_of_few_repeats() -> None:
    means = np.random.default_rng(6).normal(size=500).tolist()
    found = ranks.noise_ceiling(means, [0.3] * 500)
    assert found == pytest.approx(ranks.noise_ceiling(means, [0.3] * 500, repeats=400, seed=1), abs=0.005)


def test_without_any_truth_the_ceiling_is_nothing() -> None:
    draw = np.random.default_rng(4)
    found = [
        ranks.noise_ceiling(draw.normal(size=30).tolist(), [1.0] * 30, repeats=30, seed=seed) for seed in range(20)
    ]
    assert np.mean(found) < 0.25


def test_the_command_line_and_a_report_do_not_wait_for_scipys_statistics() -> None:
    code = (
        "import sys, scaling_lab.cli, scaling_lab.runs.run_status; assert 'scipy' not in sys.modules\n"
        "import scaling_lab.report.notebook; assert 'scipy.stats' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
