"""What stands beside the paper says where it is from, and how far the two orders agree."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest

from scaling_lab.report import beside_paper, published
from scaling_lab.report.baseline import find_baseline
from tests.report.fixture_run import Trial, opened, topology_trials


def test_beside_the_paper(tmp_path: Path) -> None:
    runs, frontier = opened(tmp_path, topology_trials((0, 1)))
    baseline, _ = find_baseline(runs, frontier)
    table = beside_paper.published_table(runs, frontier, baseline).set_index("label")
    assert set(table.index) == {"BiFPN", "PANet", "NAS-FPN", "Fully connected FPN", "FPN"}  # the paper has no "none"
    assert table.loc["BiFPN", "feature_network"] == "BiFPN with weights"
    assert table.loc["FPN", "gmacs_ratio_here"] == 1.0
    assert table.loc["PANet", "gmacs_ratio_here"] == pytest.approx((0.083 - 0.06) / (0.071 - 0.06))
    assert table.loc["BiFPN", "difference_paper"] == pytest.approx(44.39 - 44.08)
    assert table.loc["PANet", "difference_here"] == 0.0


def test_several_architectures_of_one_network_are_not_paired(tmp_path: Path) -> None:
    trials = [Trial(topology="bifpn", width=width) for width in (16, 32)]
    runs, frontier = opened(tmp_path, trials, baseline={"width": 16})
    assert "cannot be paired" in str(beside_paper.beside_the_paper(runs, frontier).blocks[0])


def test_agreement_of_orders() -> None:
    table = pd.DataFrame({"ap_mean": [1.0, 2.0, 3.0, 4.0], "ap_val": [1.0, 2.0, 3.0, 4.0], "n": [3, 3, 3, 3]})
    assert "tau-b +1.00 over 4 feature networks; by chance 8 % of all orders" in beside_paper.agreement(table)
    assert "too few" in beside_paper.agreement(table.head(2))
    assert "with one seed here" in beside_paper.agreement(table.assign(n=1))


def test_published_numbers_carry_their_sources() -> None:
    assert set(published.feature_networks()["source"]) == {"arXiv:1911.09070v7 Table 5"}
    detectors = published.detectors().set_index("model")
    assert detectors.loc["EfficientDet-D0", "ap_test"] == 34.6
    assert detectors["source"].notna().all()
    assert published.ablations()["source"].notna().all()
    assert published.table_5_row("BiFPN", "sum") == "BiFPN without weights"
    assert published.table_5_row("BiFPN", "softmax") is None
    assert published.table_5_row("FPN", "fast") == published.COST_ONE
    assert not math.isnan(detectors.loc["EfficientDet-D7x", "gmacs"])
