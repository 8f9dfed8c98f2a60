"""The comparison with a baseline says no more than the seeds allow."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from scaling_lab.errors import UserError
from scaling_lab.report import Frontier, ablation, compute_frontier, published, sections, statistics, words
from scaling_lab.report.baseline import find_baseline
from scaling_lab.report.blocks import Bullets, Figure, Table, Text
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
    assert section.blocks[0].text.endswith("with one seed on a side no difference can be claimed.")
    assert not any(isinstance(block, Bullets) for block in section.blocks)  # once is enough
    table = next(block for block in section.blocks if isinstance(block, Table))
    assert [column.label for column in table.columns] == ["Architecture", "ΔAP", "Seeds", "ΔGMACs, %"]


def test_one_seed_each_is_said_once_at_the_top(tmp_path: Path) -> None:
    runs, frontier = opened(tmp_path, topology_trials((0,)))
    warnings = [b for b in sections.conclusions(runs, frontier).blocks if isinstance(b, Text) and b.tone == "warning"]
    assert len(warnings) == 1
    assert "cannot be said: one seed each" in warnings[0].text
    assert not any("better" in text for _, text in words.conclusions(runs, frontier, runs.table()))


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


def test_few_seeds_against_more_are_said_to_cover_less(tmp_path: Path) -> None:
    def caption(folder: Path, **aps: tuple[float, ...]) -> str:
        blocks = ablation.ablation(*opened(folder, with_aps(**aps))).blocks
        return next(block for block in blocks if isinstance(block, Figure)).caption

    three, five = (47.0, 47.2, 46.8), (44.0, 44.2, 43.8, 44.1, 43.9)
    assert caption(tmp_path / "unequal", panet=five, bifpn=three).endswith("in about nine of ten.")
    assert "nine of ten" not in caption(tmp_path / "equal", panet=three, bifpn=three)
    assert "nine of ten" not in caption(tmp_path / "single", panet=five, bifpn=five, fpn=(40.0,))


def test_the_best_is_told_from_others_only_by_a_correction_for_all_pairs(tmp_path: Path) -> None:
    """Its p is 0.0155 against each of three: times 3 below 5 %, times the 6 pairs that might have been compared not."""
    aps = {
        "bifpn": (50.0, 51.0, 49.0),
        "panet": (46.7, 47.7, 45.7),
        "fpn": (46.7, 47.7, 45.7),
        "none": (46.7, 47.7, 45.7),
    }
    _, frontier = opened(tmp_path, with_aps(**aps))
    p = statistics.welch(aps["bifpn"], aps["fpn"]).p
    assert 3 * p < 0.05 < 6 * p
    _, text = words.told_apart(frontier)
    assert text.startswith("BiFPN is not distinguishable from ")
    assert text.endswith("Holm's correction for all pairs).")


def test_one_side_with_one_seed(tmp_path: Path) -> None:
    runs, frontier = opened(tmp_path, with_aps(panet=(47.0, 48.0), bifpn=(50.0,), fpn=(44.0, 45.0)))
    assert sentences(runs, frontier)["BiFPN"].endswith("+2.5 AP, 1 and 2 seeds: no claim.")


@pytest.mark.parametrize(
    ("baseline", "words"),
    [
        (None, "names no baseline"),
        ({"topology": "bifpm"}, "is no point of this run, so nothing can be compared with it. Its values of topology:"),
        ({"topology": "none", "width": 64}, "has no complete trial"),
        ({"width": 32}, "fits 6 architectures"),
    ],
)
def test_a_baseline_that_is_not_there_is_said(tmp_path: Path, baseline: dict[str, Any] | None, words: str) -> None:
    trials = [*topology_trials((0,)), Trial(topology="none", width=64, state="failed")]
    runs, frontier = opened(tmp_path, trials, baseline=baseline)
    section = ablation.ablation(runs, frontier)
    assert len(section.blocks) == 1
    assert words in str(section.blocks[0])


def test_a_mistyped_parameter_of_the_baseline_is_an_error_that_names_those_there_are(tmp_path: Path) -> None:
    runs, frontier = opened(tmp_path, topology_trials((0,)), baseline={"topolgy": "fpn"})
    with pytest.raises(UserError, match="names 'topolgy'; allowed are the space's topology, width"):
        ablation.ablation(runs, frontier)


def test_a_whole_number_is_found_though_other_trials_lack_it(tmp_path: Path) -> None:
    runs, frontier = opened(
        tmp_path, topology_trials((0,), ("fpn", "panet")), baseline={"width": 32, "topology": "fpn"}
    )
    table = frontier.trials.assign(param_width=[32.0, math.nan])
    digest, _ = find_baseline(runs, dataclasses.replace(frontier, trials=table))
    assert digest == table["architecture"][0]


def test_a_baseline_alone_is_said(tmp_path: Path) -> None:
    runs, frontier = opened(tmp_path, topology_trials((0, 1), ("panet",)))
    assert "no other architecture" in str(ablation.ablation(runs, frontier).blocks[0])


def test_beside_the_paper(tmp_path: Path) -> None:
    runs, frontier = opened(tmp_path, topology_trials((0, 1)))
    baseline, _ = ablation.find_baseline(runs, frontier)
    table = ablation.published_table(runs, frontier, baseline).set_index("label")
    assert set(table.index) == {"BiFPN", "PANet", "NAS-FPN", "Fully connected FPN", "FPN"}  # the paper has no "none"
    assert table.loc["BiFPN", "feature_network"] == "BiFPN with weights"
    assert table.loc["FPN", "gmacs_ratio_here"] == 1.0
    assert table.loc["PANet", "gmacs_ratio_here"] == pytest.approx((0.083 - 0.06) / (0.071 - 0.06))
    assert table.loc["BiFPN", "difference_paper"] == pytest.approx(44.39 - 44.08)
    assert table.loc["PANet", "difference_here"] == 0.0


def test_several_architectures_of_one_network_are_not_paired(tmp_path: Path) -> None:
    trials = [Trial(topology="bifpn", width=width) for width in (16, 32)]
    runs, frontier = opened(tmp_path, trials, baseline={"width": 16})
    assert "cannot be paired" in str(ablation.beside_the_paper(runs, frontier).blocks[0])


def test_agreement_of_orders() -> None:
    table = pd.DataFrame({"ap_mean": [1.0, 2.0, 3.0, 4.0], "ap_val": [1.0, 2.0, 3.0, 4.0], "n": [3, 3, 3, 3]})
    assert "tau-b +1.00 over 4 feature networks; by chance 8 % of all orders" in ablation.agreement(table)
    assert "too few" in ablation.agreement(table.head(2))
    assert "with one seed here" in ablation.agreement(table.assign(n=1))


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
