"""Intervals keep what they promise: a part of benchmarks/interval_coverage.py in `make slow`, all of it in `make long`."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from benchmarks.interval_coverage import POINTS, Check, Row, checks

KEPT = Path(__file__).parents[2] / "reports" / "results" / "interval_coverage.csv"
CHECKS = list(checks())
# (interval, setting begins with): so many repeats take a second or two.
QUICK = {
    ("mean, own SD", "3 seeds"): 500,
    ("mean, pooled SD up to 3 seeds", "6 architectures of [2, 3, 5, 10]"): 300,
    ("mean of a finalist, fresh seeds", "best of 20"): 400,
    ("difference, Welch", "5 and 5 seeds, SDs 3:1"): 400,
    ("any false claim against a baseline, Holm", "10 equal architectures, 5 seeds"): 100,
    ("any false claim against the best, Holm of all pairs", "10 equal architectures, 5 seeds"): 100,
    ("smallest detectable difference, power", "3 and 3 seeds"): 1000,
    ("hypervolume", "normal: 20 architectures, 3 seeds"): 150,
    ("hypervolume", "a fifth did not learn"): 100,
    ("front band", "normal: 20 architectures, 3 seeds"): 80,
    ("probability of the front", "given 0.6 to 0.8; 50 architectures, 1/2/3"): 60,
    ("set of values with the best", "5 values at 3 scales"): 150,
    ("tau-b", "20 pairs, normal, rho 0.8"): 400,
    ("partial tau", "20 pairs, normal, 0.4"): 150,
    ("difference of two taus", "20 pairs, normal, rho 0.8 and 0.5"): 300,
    ("tau-b over trials", "20 architectures of 3 seeds"): 300,
    ("scaling law at the next model", "5 models, 2/3/5 seeds"): 300,
    ("mean of 3 training runs of the next model", "5 models, 3 seeds, seed SD 0.3, c 0.35"): 300,
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "repeats"), QUICK.items(), ids=lambda value: "" if isinstance(value, int) else value[0]
)
def test_an_interval_covers_the_truth_as_often_as_it_says(name: tuple[str, str], repeats: int) -> None:
    (check,) = (each for each in CHECKS if each.interval == name[0] and each.setting.startswith(name[1]))
    row = check.run(repeats / check.repeats, seed=1)
    off = row.measured - row.nominal
    most = POINTS + 3 * max(row.error, float(np.sqrt(row.nominal * (1 - row.nominal) / repeats)))
    assert off <= most
    assert check.upper or off >= -most


def test_a_row_counts_trials_and_not_what_hangs_together_in_them() -> None:
    """Ten rows a trial that are all one: the error is that of the trials."""

    def trial(random: np.random.Generator) -> np.ndarray:  # type: ignore[type-arg]
        return np.tile([0.5, float(random.random() < 0.5)], (10, 1))

    row = Check(interval="", setting="", trial=trial, repeats=400).run()
    assert row.error == pytest.approx(0.5 / 20, rel=0.05)
    assert row.nominal == 0.5
    many = Row(
        check=Check(interval="", setting="", trial=trial, upper=True), nominal=0.05, measured=0.0, error=0, repeats=9
    )
    assert many.kept


def test_the_kept_table_is_of_these_checks() -> None:
    with KEPT.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["interval"], row["setting"]) for row in rows] == [(check.interval, check.setting) for check in CHECKS]


@pytest.mark.long
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: f"{check.interval}: {check.setting}")
def test_every_interval_does_what_the_kept_table_says(check: Check) -> None:
    with KEPT.open(encoding="utf-8", newline="") as file:
        (kept,) = (
            row for row in csv.DictReader(file) if (row["interval"], row["setting"]) == (check.interval, check.setting)
        )
    share = 0.2
    row = check.run(share=share, seed=1)  # other draws than the table's, in minutes
    # The table's error at so many repeats: a share that is 0 by chance would claim to have none.
    error = float(kept["standard_error"]) * np.sqrt(1 + 1 / share)
    assert row.measured - row.nominal == pytest.approx(
        float(kept["measured"]) - float(kept["nominal"]), abs=4 * error + 0.002
    )
