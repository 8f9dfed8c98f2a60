"""The paper's differences stand beside this run's only where the specs differ in what the paper changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaling_lab.report import compute_frontier
from scaling_lab.report.analysis import paper_steps
from scaling_lab.report.page.blocks import Block, Bullets, Table, Text
from scaling_lab.report.sections import beside_paper, paper_differences
from scaling_lab.runs.reader import Runs
from tests.report.fixture_run import Fixture, Latency, Trial, opened, write_run


def trials(
    fusion: str, *aps: float, topology: str = "bifpn", width: int = 32, backbone: str = "resnet10t"
) -> list[Trial]:
    return [
        Trial(topology=topology, fusion=fusion, width=width, backbone=backbone, seed=seed, ap=ap)
        for seed, ap in enumerate(aps)
    ]


def blocks_of(folder: Path, given: list[Trial]) -> list[Block]:
    runs, frontier = opened(folder, given)
    return paper_differences.fusion_blocks(frontier, runs.specs())


def sentences(blocks: list[Block]) -> list[str]:
    return [text for block in blocks if isinstance(block, Bullets) for _, text in block.items]


def test_the_papers_fusions_are_its_table_6() -> None:
    table = paper_steps.paper_fusions()
    assert table["difference"].tolist() == [-0.11, -0.01, -0.05]
    assert table["speedup"].tolist() == [1.28, 1.26, 1.31]
    assert set(table["source"]) == {"arXiv:1911.09070v7 Table 6"}


def test_a_pair_is_equal_in_all_but_fusion(tmp_path: Path) -> None:
    given = trials("fast", 50.0) + trials("softmax", 50.0, width=48) + trials("sum", 50.0)
    given += trials("softmax", 50.0, topology="panet") + trials("softmax", 50.0, backbone="resnet18")
    assert blocks_of(tmp_path / "none", given) == []
    runs, frontier = opened(tmp_path / "one", given + trials("softmax", 51.0))
    specs = runs.specs()
    ((fast, softmax),) = paper_steps.fusion_pairs(frontier, specs)
    assert [specs[fast].topology.describe(), specs[softmax].topology.describe()] == [
        "bifpn P3-P7 fast", "bifpn P3-P7 softmax",
    ]  # fmt: skip
    assert specs[fast].width == specs[softmax].width == 32


def test_a_pair_beside_the_papers_three(tmp_path: Path) -> None:
    blocks = blocks_of(tmp_path, trials("fast", 50.0, 51.0, 49.0) + trials("softmax", 50.2, 51.2, 49.2))
    (text,) = sentences(blocks)
    assert text == ("fast against softmax: −0.2 AP [−2.5, +2.1], 3 seeds: not significant; the paper's are inside.")
    assert isinstance(blocks[0], Text)
    assert (
        "−0.11, −0.01 and −0.05 AP in three detectors, and the fast detectors run 1.26 to 1.31 times" in blocks[0].text
    )
    (table,) = (block for block in blocks if isinstance(block, Table))
    assert table.frame["where"].tolist() == ["paper", "paper", "paper", "here"]
    assert table.frame["difference"].tolist() == pytest.approx([-0.11, -0.01, -0.05, -0.2])
    assert "not measured here" in table.caption


@pytest.mark.parametrize(
    ("aps", "where"),
    [((52.0, 52.01, 51.99), "outside"), ((49.93, 49.94, 49.95), "partly inside"), ((49.9, 50.0, 50.0), "inside")],
)
def test_where_the_papers_differences_lie(tmp_path: Path, aps: tuple[float, ...], where: str) -> None:
    (text,) = sentences(blocks_of(tmp_path, trials("fast", *aps) + trials("softmax", 50.0, 50.0, 50.01)))
    assert text.endswith(f"the paper's are {where}.")


def test_one_seed_claims_nothing(tmp_path: Path) -> None:
    blocks = blocks_of(tmp_path, trials("fast", 52.0) + trials("softmax", 50.0))
    assert sentences(blocks) == ["fast against softmax: +2.0 AP, 1 seed: not tested."]
    (table,) = (block for block in blocks if isinstance(block, Table))
    assert "95 % interval" not in [column.label for column in table.columns]


def test_speed_up_is_softmaxs_latency_over_fasts(tmp_path: Path) -> None:
    given = trials("fast", 52.0) + trials("softmax", 50.0)
    runs = Runs(write_run(tmp_path / "run", Fixture(trials=given, samples=0, latencies=[Latency()])))
    (*_, table) = paper_differences.fusion_blocks(compute_frontier(runs), runs.specs())
    assert isinstance(table, Table)
    assert table.frame["speedup"].tolist() == [1.28, 1.26, 1.31, 1.0]  # the fixture's latency is the topology's


# --- Table 4 ---------------------------------------------------------------------------------------------------------


def steps_of(folder: Path, given: list[Trial]) -> list[Block]:
    runs, frontier = opened(folder, given)
    return paper_differences.step_blocks(frontier, runs.specs())


def test_the_steps_of_table_4(tmp_path: Path) -> None:
    given = trials("sum", 37.0, 37.4, topology="fpn", backbone="resnet50.a1_in1k")
    given += trials("sum", 40.0, 40.4, topology="fpn", backbone="tf_efficientnet_b3.in1k")
    given += trials("fast", 45.0, 45.4, backbone="efficientnet_b3")
    (table,) = steps_of(tmp_path, given)
    assert isinstance(table, Table)
    assert table.frame["difference_paper"].tolist() == [3.3, 4.1]
    assert table.frame["difference"].tolist() == pytest.approx([3.0, 5.0])
    assert (table.frame["low"] < table.frame["difference"]).all()
    assert table.frame["factors"].tolist() == ["backbone", "topology, fusion, backbone"]
    assert "arXiv:1911.09070v7 Table 4" in table.caption


def test_a_step_needs_both_ends_once(tmp_path: Path) -> None:
    b3 = trials("sum", 40.0, topology="fpn", backbone="efficientnet_b3")
    assert steps_of(tmp_path / "one", b3) == []
    assert steps_of(tmp_path / "another", b3 + trials("fast", 45.0, backbone="efficientnet_b2")) == []
    twice = (
        b3
        + trials("fast", 45.0, backbone="efficientnet_b3")
        + trials("fast", 46.0, backbone="efficientnet_b3", width=48)
    )
    (note,) = steps_of(tmp_path / "twice", twice)
    assert isinstance(note, Text)
    assert "several of efficientnet_b3 + bifpn, so they are not paired" in note.text


def test_the_section_has_both_and_none_of_them_is_an_exception(tmp_path: Path) -> None:
    given = trials("fast", 50.0, 50.0) + trials("softmax", 50.0, 50.0)  # equal values, no spread
    runs, frontier = opened(tmp_path, given)
    blocks = beside_paper.beside_the_paper(runs, frontier).blocks
    assert "None of the architectures" not in str(blocks[0])
    assert sentences(list(blocks))[0].startswith(
        "fast against softmax: +0.0 AP [+0.0, +0.0], 2 seeds: not significant;"
    )
    runs, frontier = opened(tmp_path / "failed", [Trial(topology="fpn", state="failed")])
    assert beside_paper.beside_the_paper(runs, frontier).blocks == ()
