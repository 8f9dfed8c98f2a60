"""What stands beside the paper says where it is from, and how far the two orders agree."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.stats

from scaling_lab.report.analysis import paper_order, published_tables
from scaling_lab.report.analysis.baseline import find_baseline
from scaling_lab.report.page.blocks import Text
from scaling_lab.report.sections import beside_paper
from scaling_lab.stats import posterior, posterior_fronts, ranks
from scaling_lab.stats.estimates import pooled_sd
from tests.report.fixture_run import Trial, opened, topology_trials, with_aps


def test_beside_the_paper(tmp_path: Path) -> None:
    runs, frontier = opened(tmp_path, topology_trials((0, 1)))
    baseline, _ = find_baseline(runs, frontier)
    table = paper_order.published_table(frontier, baseline, runs.specs()).set_index("label")
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


# --- the agreement of orders -----------------------------------------------------------------------------------------


def agreement(folder: Path, trials: list[Trial]) -> str:
    runs, frontier = opened(folder, trials)
    return beside_paper.agreement(frontier, paper_order.published_table(frontier, None, runs.specs()))


PAPERS_ORDER = ("fpn", "fully_connected", "nas_fpn", "panet", "bifpn")


def test_agreement_that_no_seed_can_shake(tmp_path: Path) -> None:
    aps = {name: (10.0 * k, 10.0 * k + 0.2, 10.0 * k - 0.2) for k, name in enumerate(PAPERS_ORDER, start=1)}
    text = agreement(tmp_path, with_aps(**aps))
    assert "tau-b +1.00 [1.00, 1.00] over 5 feature networks (95 % interval" in text
    assert "two repeats of this run would agree by 1.00; by chance 2 % of all orders" in text


def test_agreement_that_seeds_leave_open(tmp_path: Path) -> None:
    aps = {name: (50.0 + k, 52.0 + k, 48.0 + k) for k, name in enumerate(PAPERS_ORDER)}
    text = agreement(tmp_path, with_aps(**aps))
    low, high = (float(value.replace("−", "-")) for value in re.findall(r"\[(.*?), (.*?)\]", text)[0])
    ceiling = float(re.findall(r"would agree by (.*?);", text)[0])
    assert low < 0.6 < high
    assert 0.2 < ceiling < 0.8


def test_agreement_of_one_seed_each_has_no_interval(tmp_path: Path) -> None:
    text = agreement(tmp_path, with_aps(**{name: (float(k),) for k, name in enumerate(PAPERS_ORDER)}))
    assert "tau-b +1.00 over 5 feature networks, without an interval: one seed each, not tested" in text
    assert "[" not in text
    assert "repeats" not in text


def test_agreement_of_too_few_or_of_equals(tmp_path: Path) -> None:
    assert "too few" in agreement(tmp_path / "a", with_aps(fpn=(1.0, 2.0), panet=(2.0, 3.0)))
    equal = with_aps(**dict.fromkeys(PAPERS_ORDER, (40.0, 40.0)))
    assert agreement(tmp_path / "b", equal) == (
        "All 5 feature networks have the same AP here, so there is no ranking to compare with the paper's."
    )


@pytest.mark.slow
def test_the_interval_of_the_agreement_covers_the_truth() -> None:
    """Five networks whose true APs agree with the paper in eight of ten pairs, three seeds each, 300 runs made up."""
    truth, paper = np.array([0.0, 2.0, 1.0, 4.0, 3.0]), [1.0, 2.0, 3.0, 4.0, 5.0]
    expected = scipy.stats.kendalltau(truth, paper).statistic
    draw, covered, runs = np.random.default_rng(0), 0, 300
    for _ in range(runs):
        groups = [list(mean + draw.normal(0, 0.8, 3)) for mean in truth]
        means_BA = posterior.drawn_means(groups, pooled=pooled_sd(groups), draws=400)
        found = posterior_fronts.Range.of(ranks.taus_with(means_BA, paper))
        covered += found.low <= expected <= found.high
    assert covered / runs >= 0.93


def test_what_else_differs_is_said(tmp_path: Path) -> None:
    trials = [*with_aps(fpn=(40.0, 41.0), bifpn=(45.0, 46.0)), Trial(topology="panet", width=48)]
    runs, frontier = opened(tmp_path, trials)
    notes = [b.text for b in beside_paper.beside_the_paper(runs, frontier).blocks if isinstance(b, Text)]
    assert "Here they differ in width too, so the ranking is not due to feature networks only." in notes
    equal, frontier = opened(tmp_path / "equal", with_aps(fpn=(40.0, 41.0), bifpn=(45.0, 46.0), nas_fpn=(44.0,)))
    notes = [b.text for b in beside_paper.beside_the_paper(equal, frontier).blocks if isinstance(b, Text)]
    assert not any("differ" in note for note in notes)


def test_published_numbers_carry_their_sources() -> None:
    assert set(published_tables.feature_networks()["source"]) == {"arXiv:1911.09070v7 Table 5"}
    detectors = published_tables.detectors().set_index("detector")
    assert detectors.loc["efficientdet-paper:efficientdet-d0", "ap_test"] == 34.6
    assert detectors["where"].notna().all()
    assert published_tables.ablations()["source"].notna().all()
    assert published_tables.table_5_row("BiFPN", "sum") == "BiFPN without weights"
    assert published_tables.table_5_row("BiFPN", "softmax") is None
    assert published_tables.table_5_row("FPN", "fast") == published_tables.COST_ONE
    assert not math.isnan(detectors.loc["efficientdet-paper:efficientdet-d7x", "gmacs"])
