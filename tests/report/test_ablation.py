"""The comparison with a baseline says no more than the seeds allow."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from scaling_lab.report import Frontier, ablation, compute_frontier, published
from scaling_lab.report.blocks import Bullets, Text
from scaling_lab.runs import Runs
from tests.report.fixture_run import Fixture, Trial, topology_trials, write_run


def opened(folder: Path, trials: list[Trial], **meta: Any) -> tuple[Runs, Frontier]:
    runs = Runs(write_run(folder / "run", Fixture(trials=trials, samples=0, meta=meta)))
    return runs, compute_frontier(runs)


def with_aps(**aps: tuple[float, ...]) -> list[Trial]:
    return [Trial(topology=name, seed=seed, ap=ap) for name, values in aps.items() for seed, ap in enumerate(values)]


def sentences(runs: Runs, frontier: Frontier) -> dict[str, str]:
    bullets = next(block for block in ablation.ablation(runs, frontier).blocks if isinstance(block, Bullets))
    return {text.partition(" against")[0]: text for _, text in bullets.items}


def test_one_seed_each_claims_nothing(tmp_path: Path) -> None:
    runs, frontier = opened(tmp_path, topology_trials((0,)))
    section = ablation.ablation(runs, frontier)
    assert isinstance(section.blocks[0], Text)
    assert section.blocks[0].text.startswith("No difference can be claimed")
    for text in sentences(runs, frontier).values():
        assert text.endswith("AP, 1 seed each: no difference can be claimed.")


def test_sentences_of_three_seeds(tmp_path: Path) -> None:
    trials = with_aps(panet=(47.0, 47.2, 46.8), bifpn=(47.3, 47.6, 47.0), none=(31.0, 31.3, 30.7))
    runs, frontier = opened(tmp_path, trials)
    found = sentences(runs, frontier)
    assert found["BiFPN"] == (
        "BiFPN against PANet: +0.3 AP [−0.3, +0.9], 3 seeds: not distinguishable; "
        "about 14 seeds a side would be needed if this difference is real."
    )
    assert found["No feature network"].startswith("No feature network against PANet: −16.0 AP [−16.6, −15.4]")
    assert found["No feature network"].endswith("3 seeds: distinguishable.")


def test_correction_is_said_where_it_decides(tmp_path: Path) -> None:
    trials = with_aps(
        panet=(47.0, 48.0, 46.0), bifpn=(50.0, 51.0, 49.0), fpn=(47.1, 48.1, 46.1), nas_fpn=(47.2, 48.2, 46.2)
    )
    runs, frontier = opened(tmp_path, trials)
    assert (
        "not distinguishable once corrected for being one of several comparisons" in sentences(runs, frontier)["BiFPN"]
    )


def test_one_side_with_one_seed(tmp_path: Path) -> None:
    runs, frontier = opened(tmp_path, with_aps(panet=(47.0, 48.0), bifpn=(50.0,)))
    assert sentences(runs, frontier)["BiFPN"].endswith("+2.5 AP, 1 and 2 seeds: no difference can be claimed.")


@pytest.mark.parametrize(
    ("baseline", "words"),
    [
        (None, "names no baseline"),
        ({"topology": "quad_fpn"}, "has no complete trial"),
        ({"depth": 3}, "has no complete trial"),
        ({"width": 32}, "fits 6 architectures"),
    ],
)
def test_a_baseline_that_is_not_there_is_said(tmp_path: Path, baseline: dict[str, Any] | None, words: str) -> None:
    runs, frontier = opened(tmp_path, topology_trials((0,)), baseline=baseline)
    section = ablation.ablation(runs, frontier)
    assert len(section.blocks) == 1
    assert words in str(section.blocks[0])


def test_a_baseline_alone_is_said(tmp_path: Path) -> None:
    runs, frontier = opened(tmp_path, topology_trials((0, 1), ("panet",)))
    assert "no other architecture" in str(ablation.ablation(runs, frontier).blocks[0])


def test_beside_the_paper(tmp_path: Path) -> None:
    runs, frontier = opened(tmp_path, topology_trials((0, 1)))
    baseline, _ = ablation.find_baseline(runs, frontier)
    table = ablation.published_table(runs, frontier, baseline).set_index("label")
    assert set(table.index) == {"BiFPN", "PANet", "NAS-FPN", "Fully connected FPN", "FPN"}  # the paper has no "none"
    assert table.loc["BiFPN", "feature_network"] == "bifpn_fast"
    assert table.loc["BiFPN", "difference_paper"] == pytest.approx(44.39 - 44.08)
    assert table.loc["PANet", "difference_here"] == 0.0


def test_several_architectures_of_one_network_are_not_paired(tmp_path: Path) -> None:
    runs, frontier = opened(tmp_path, [Trial(topology="bifpn", width=width) for width in (16, 32)])
    assert "cannot be paired" in str(ablation.beside_the_paper(runs, frontier).blocks[0])


def test_agreement_of_orders() -> None:
    table = pd.DataFrame({"ap_mean": [1.0, 2.0, 3.0, 4.0], "ap_val": [1.0, 2.0, 3.0, 4.0], "n": [3, 3, 3, 3]})
    assert "tau-b +1.00 over 4 feature networks; of all orders 8 %" in ablation.agreement(table)
    assert "too few" in ablation.agreement(table.head(2))
    assert "itself uncertain" in ablation.agreement(table.assign(n=1))


def test_published_numbers_carry_their_sources() -> None:
    assert set(published.feature_networks()["source"]) == {"arXiv:1911.09070v7 Table 5"}
    detectors = published.detectors().set_index("model")
    assert detectors.loc["EfficientDet-D0", "ap_test"] == 34.6
    assert detectors["source"].notna().all()
    assert published.ablations()["source"].notna().all()
    assert published.table_5_row("BiFPN", "sum") == "bifpn_sum"
    assert published.table_5_row("BiFPN", "softmax") is None
    assert published.table_5_row("FPN", "fast") == "repeated_fpn"
    assert not math.isnan(detectors.loc["EfficientDet-D7x", "gmacs"])
