"""The comparison with a baseline says no more than the seeds allow."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from scaling_lab.errors import UserError
from scaling_lab.report import Frontier
from scaling_lab.report.analysis import best_networks
from scaling_lab.report.analysis.baseline import find_baseline
from scaling_lab.report.page.blocks import Bullets, Details, Figure, Table, Text
from scaling_lab.report.sections import ablation, conclusion_words, overview
from scaling_lab.report.sections.architectures import architectures
from scaling_lab.runs.reader import Runs
from scaling_lab.stats import hypotheses
from tests.report.fixture_run import TRUE_AP, Trial, opened, topology_trials, with_aps


def sentences(runs: Runs, frontier: Frontier) -> dict[str, str]:
    bullets = next(block for block in ablation.ablation(runs, frontier).blocks if isinstance(block, Bullets))
    return {text.partition(" against")[0]: text for _, text in bullets.items}


def test_one_seed_each_claims_nothing(tmp_path: Path) -> None:
    runs, frontier = opened(tmp_path, topology_trials((0,)))
    section = ablation.ablation(runs, frontier)
    assert isinstance(section.blocks[0], Text)
    assert section.blocks[0].tone == "warning"
    assert not any(isinstance(block, Bullets) for block in section.blocks)  # once is enough
    table = next(block for block in section.blocks if isinstance(block, Table))
    assert [column.label for column in table.columns] == [
        "Architecture", "ΔAP", "Seeds", "ΔGMACs, %", "Cost matched", "Differs in",
    ]  # fmt: skip


def test_one_seed_each_is_said_once_at_the_top(tmp_path: Path) -> None:
    runs, frontier = opened(tmp_path, topology_trials((0,)))
    (bullets,) = overview.limits(runs, frontier).blocks
    assert isinstance(bullets, Bullets)
    assert [lead for lead, _ in bullets.items if lead == "One seed each."] == ["One seed each."]
    assert overview.answer(runs, frontier).endswith("without repeated seeds its lead cannot be tested.")


def test_sentences_of_three_seeds(tmp_path: Path) -> None:
    trials = with_aps(panet=(47.0, 47.2, 46.8), bifpn=(47.3, 47.6, 47.0), none=(31.0, 31.3, 30.7))
    runs, frontier = opened(tmp_path, trials)
    found = sentences(runs, frontier)
    assert found["BiFPN"] == "BiFPN against PANet: +0.3 AP [−0.3, +0.9], 3 seeds: not significant (corrected p 0.233)."
    assert found["Unconnected levels"].startswith("Unconnected levels against PANet: −16.0 AP [−16.6, −15.4]")
    assert found["Unconnected levels"].endswith("3 seeds, at 27 % fewer GMACs: significant.")


def test_correction_is_said_where_it_decides(tmp_path: Path) -> None:
    trials = with_aps(
        panet=(47.0, 48.0, 46.0), bifpn=(50.0, 51.0, 49.0), fpn=(47.1, 48.1, 46.1), nas_fpn=(47.2, 48.2, 46.2)
    )
    runs, frontier = opened(tmp_path, trials)
    said = sentences(runs, frontier)["BiFPN"]
    assert "[+0." in said
    assert "not significant (corrected p 0.0" in said


def test_few_seeds_against_more_are_said_to_cover_less(tmp_path: Path) -> None:
    def caption(folder: Path, **aps: tuple[float, ...]) -> str:
        blocks = ablation.ablation(*opened(folder, with_aps(**aps))).blocks
        return next(block for block in blocks if isinstance(block, Figure)).caption

    three, five = (47.0, 47.2, 46.8), (44.0, 44.2, 43.8, 44.1, 43.9)
    assert caption(tmp_path / "unequal", panet=five, bifpn=three).endswith("their coverage is about 90 %.")
    assert "coverage" not in caption(tmp_path / "equal", panet=three, bifpn=three)
    assert "coverage" not in caption(tmp_path / "single", panet=five, bifpn=five, fpn=(40.0,))


def test_the_best_is_told_from_others_only_by_a_correction_for_all_pairs(tmp_path: Path) -> None:
    """Its p is 0.0155 against each of three: times 3 below 5 %, times the 6 pairs that might have been compared not."""
    aps = {
        "bifpn": (50.0, 51.0, 49.0),
        "panet": (46.7, 47.7, 45.7),
        "fpn": (46.7, 47.7, 45.7),
        "none": (46.7, 47.7, 45.7),
    }
    _, frontier = opened(tmp_path, with_aps(**aps))
    p = hypotheses.welch(aps["bifpn"], aps["fpn"]).p
    assert 3 * p < 0.05 < 6 * p
    assert best_networks.below_and_beside_best(frontier)[0] == []
    assert dict(conclusion_words.told_apart(frontier))["Test:"].endswith("Holm-corrected for 6 pairs.")


def test_one_repeated_architecture_has_none_to_be_told_apart_from(tmp_path: Path) -> None:
    _, frontier = opened(tmp_path, with_aps(panet=(47.0, 48.0), bifpn=(50.0,), fpn=(44.0,)))
    ((_, text),) = conclusion_words.told_apart(frontier)
    assert text == "only PANet has repeated seeds. 2 architectures with 1 seed not tested."


def test_one_side_with_one_seed(tmp_path: Path) -> None:
    runs, frontier = opened(tmp_path, with_aps(panet=(47.0, 48.0), bifpn=(50.0,), fpn=(44.0, 45.0)))
    assert sentences(runs, frontier)["BiFPN"].endswith("+2.5 AP, 1 and 2 seeds: not tested.")


@pytest.mark.parametrize(
    ("baseline", "words"),
    [
        (None, "names no baseline"),
        (
            {"topology": "bifpm"},
            "is not a point of this run, so nothing can be compared with it. Its values of topology:",
        ),
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


# --- one factor at a time, at matched cost ---------------------------------------------------------------------------


def test_matched_cost_is_within_its_bound_on_either_side() -> None:
    for ratio, matched in ((1.0, True), (1.05, True), (0.95, True), (1.051, False), (0.949, False), (math.nan, False)):
        assert ablation._cost(ratio, 1.0)["matched"] is matched
    assert ablation._cost(1.0, 0.0)["matched"] is False
    assert ablation.cost_words(1.12) == "at 12 % more GMACs"
    assert ablation.cost_words(1.054) == "at 5.4 % more GMACs"  # "5 %" would read as matched
    assert ablation.cost_words(0.73) == "at 27 % fewer GMACs"
    assert ablation.cost_words(2.5) == "at 2.5 times the GMACs"


def test_a_comparison_in_several_factors_at_another_cost_says_both(tmp_path: Path) -> None:
    trials = with_aps(panet=(47.0, 47.2, 46.8), fpn=(43.0, 43.2, 42.8))
    trials += [Trial(topology="bifpn", width=48, seed=seed, ap=ap) for seed, ap in enumerate((53.0, 53.4, 52.6))]
    runs, frontier = opened(tmp_path, trials, baseline={"topology": "panet", "width": 32})
    found = sentences(runs, frontier)
    assert found["BiFPN, width 48"].endswith("3 seeds, at 88 % more GMACs: significant.")
    assert found["FPN"].endswith("3 seeds, at 14 % fewer GMACs: significant.")
    note = ablation.ablation(runs, frontier).blocks[1]
    assert isinstance(note, Text)
    assert note.text == (
        "0 of 2 comparisons at matched cost (within 5 % of the GMACs of PANet). "
        "1 differ in more than one factor, so their difference has no single cause."
    )


def test_one_factor_alone_is_said_once_and_needs_no_column(tmp_path: Path) -> None:
    runs, frontier = opened(tmp_path, topology_trials((0, 1), ("panet", "bifpn")))
    section = ablation.ablation(runs, frontier)
    assert isinstance(section.blocks[1], Text)
    assert section.blocks[1].text == (
        "1 of 1 comparison at matched cost (within 5 % of the GMACs of PANet). The only factor that differs is topology."
    )
    table = next(block for block in section.blocks if isinstance(block, Table))
    assert "Differs in" not in [column.label for column in table.columns]


def test_many_comparisons_are_all_in_the_table_and_the_best_in_figure_and_sentences(tmp_path: Path) -> None:
    trials = [Trial(topology="fpn", width=8 * k, seed=seed) for k in range(1, 50) for seed in (0, 1)]
    runs, frontier = opened(tmp_path, trials, baseline={"width": 8})
    blocks = ablation.ablation(runs, frontier).blocks
    assert [len(block.items) for block in blocks if isinstance(block, Bullets)] == [ablation.MOST_SHOWN]
    assert [len(block.frame) for block in blocks if isinstance(block, Table)] == [48]
    (figure,) = (block for block in blocks if isinstance(block, Figure))
    assert list(figure.table["label"]) == list(frontier.architectures["label"].drop(
        frontier.architectures.index[frontier.architectures["label"] == "width 8"]).head(ablation.MOST_SHOWN))  # fmt: skip
    assert "40 with the highest AP of 48" in figure.caption


def test_ap_by_class_has_every_network_of_the_study_whether_coloured_or_not(tmp_path: Path) -> None:
    trials = [Trial(topology=name, width=width) for width in (32, 40) for name in TRUE_AP][:9]
    runs, frontier = opened(tmp_path, trials)
    details = [block for block in architectures(runs, frontier).blocks if isinstance(block, Details)]
    (table,) = [
        each for block in details for each in block.blocks if isinstance(each, Table) and each.name == "ap_by_class"
    ]
    assert len(table.columns) == 10
    assert set(frontier.architectures["label"]) < {column.label for column in table.columns}
