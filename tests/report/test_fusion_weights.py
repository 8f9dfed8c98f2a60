"""Fusion weights from the ledger to the page: what was trained is what is read, and every case has its words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scaling_lab import DetectorSpec, Recipe, Shapes, build, topologies
from scaling_lab.architecture.node_names import inputs_by_node
from scaling_lab.model.fusion_weights import fusion_weights as read_weights
from scaling_lab.report import compute_frontier, write_report
from scaling_lab.report.figures.learned_weights_figure import MOST_NODES, fusion_weights_figure
from scaling_lab.report.page.blocks import Bullets, Figure, Section, Text
from scaling_lab.report.sections import learned_weights
from scaling_lab.runs.reader import Runs
from scaling_lab.study.run.runner import run_study
from scaling_lab.study.run.trial import Report
from tests.report.fixture_run import Fixture, topology_trials, write_run
from tests.study.engine import count, make_study, result, spec

POPULATION = Path(__file__).parents[2] / "reports" / "population.py"
MOVED = "cell 1, P4 (node 7)"  # reads P4's input and node 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Learned:
    """An objective without training whose weights move at one node: to 0.6 with fast, to 0.7 with softmax, and by the seed."""

    record: bool = True

    def __call__(self, spec: DetectorSpec, seed: int, folder: Path, report: Report) -> Mapping[str, Any]:
        metrics: dict[str, Any] = {}
        for epoch in (1, 2, 3):
            metrics = result(spec, seed, epoch)
            if self.record and spec.topology.nodes[0].fusion != "sum":
                metrics["fusion_weights"] = weights(spec, seed, epoch)
            report(metrics)
        return metrics


def weights(spec: DetectorSpec, seed: int, epoch: int) -> dict[str, list[float]]:
    found = {name: [1 / len(i)] * len(i) for name, i in inputs_by_node(spec).items() if len(i) > 1}
    if MOVED in found:
        kind = spec.topology.nodes[0].fusion
        end = {"fast": 0.6, "softmax": 0.7}.get(kind, 0.55) + 0.01 * seed
        first = 0.5 + (end - 0.5) * epoch / 3
        found[MOVED] = [first, 1 - first]
    return found


def kinds(*fusions: str, width: tuple[int, ...] = (16,), repeats: int = 1) -> Any:
    """Give a space of BiFPNs with these fusions."""

    def space(trial: Any) -> DetectorSpec:
        fusion = trial.suggest_categorical("fusion", list(fusions))
        one = spec(topologies.bifpn(3, 7, fusion=fusion), width=trial.suggest_categorical("width", list(width)))
        return dataclasses.replace(one, repeats=repeats)

    return space


def run_of(folder: Path, space: Any, *, seeds: tuple[int, ...] = (0, 1, 2), record: bool = True) -> Runs:
    study = make_study(space=space, seeds=seeds)
    out = run_study(
        study, out=folder / "run", count=count, objective=Learned(record=record), executor="local", stream=None
    )
    return Runs(out)


def section_of(runs: Runs) -> Section:
    return learned_weights.fusion_weights(runs, compute_frontier(runs))


def figures(section: Section) -> dict[str, Figure]:
    return {block.name: block for block in section.blocks if isinstance(block, Figure)}


def said(section: Section) -> str:
    bullets = [f"{lead} {text}" for b in section.blocks if isinstance(b, Bullets) for lead, text in b.items]
    return "\n".join([*bullets, *(b.text for b in section.blocks if isinstance(b, Text))])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Fast, softmax and unweighted fusion of one BiFPN, three seeds."""
    return run_of(tmp_path_factory.mktemp("fusion"), kinds("fast", "softmax", "sum"))


def test_what_is_trained_is_what_is_read(tmp_path: Path) -> None:
    """A real training: the ledger's last weights are those of the weights that were kept, input by input."""
    data, recipe = Shapes(train_images=16, val_images=4), Recipe.short(epochs=2, batch_size=4, lr=0.02)
    study = make_study(space=kinds("fast", repeats=2), data=data, recipe=recipe)
    run = Runs(run_study(study, out=tmp_path / "run", count=count, executor="local", stream=None))
    table = run.fusion_weights()
    (trained,) = run.specs().values()
    detector = build(trained)
    detector.load_state_dict(torch.load(run.folder.trial(1) / "weights.pt", weights_only=True)["state"])
    expected = read_weights(detector)
    assert table["epoch"].unique().tolist() == [1, 2]
    for (cell, node, level), rows in table[table["epoch"] == 2].groupby(["cell", "node", "level"]):
        assert rows["input"].tolist() == list(trained.topology.node(int(node)).inputs)
        assert rows["input_level"].tolist() == [trained.topology.level_of[i] for i in rows["input"]]
        assert rows["weight"].tolist() == expected[f"cell {cell}, P{level} (node {node})"]
    assert len(table[table["epoch"] == 2]) == sum(len(values) for values in expected.values())
    assert "fusion_weights" not in run.epochs()
    assert run.metrics(1)["fusion_weights"] == expected
    assert "Mean change from equal shares: 0.0" in said(section_of(run))


def test_trials_are_chosen(runs: Runs) -> None:
    assert runs.fusion_weights([1])["trial"].unique().tolist() == [1]
    assert runs.fusion_weights([]).empty
    assert list(runs.fusion_weights([]).columns) == list(runs.fusion_weights().columns)
    assert len(runs.fusion_weights()["trial"].unique()) == 6  # those with weights


def test_fast_and_softmax_are_drawn_together_with_their_difference(runs: Runs) -> None:
    section = section_of(runs)
    (figure,) = figures(section).values()
    assert figure.name == "fusion_weights_fast_and_softmax"
    assert set(figure.table["fusion"]) == {"fast", "softmax"}
    words = said(section)
    assert (
        "Largest difference, fast against softmax: 0.10, cell 1, node 7 (P4), input P4 in: "
        "0.61 ± 0.01 against 0.71 ± 0.01 (± SD over seeds)." in words
    )
    # Of the 19 inputs of 8 nodes two differ: by 0.1 on average between the two, by (1 + 1 + 2) / 3 hundredths between seeds.
    edges = len(figure.table[["node", "input"]].drop_duplicates())
    assert (
        f"{0.2 / edges:.3f} between fast and softmax, {2 * 0.04 / 3 / edges:.3f} between seeds of one fusion." in words
    )
    assert "largest in cell 1, node 7 (P4), input P4 in, to 0.71." in words


def test_a_weight_that_one_side_lacks_moves_no_other(runs: Runs) -> None:
    table = figures(section_of(runs))["fusion_weights_fast_and_softmax"].table
    whole = learned_weights._differences(table)[0]
    is_softmax = table["fusion"].str.contains("softmax")
    for lacks in (is_softmax, ~is_softmax):
        first = table.sort_values(["cell", "node", "input"]).iloc[0]
        here = (table["cell"] == first["cell"]) & (table["node"] == first["node"]) & (table["input"] == first["input"])
        assert learned_weights._differences(table[~(lacks & here)])[0] == whole
    assert learned_weights._differences(table[is_softmax == (table["node"] > first["node"])]) == []


def test_one_seed_has_no_spread(tmp_path: Path) -> None:
    words = said(section_of(run_of(tmp_path, kinds("fast", "softmax"), seeds=(0,))))
    assert "input P4 in: 0.60 against 0.70." in words
    assert "between seeds" not in words


def test_the_best_alone_has_its_own_figure(tmp_path: Path) -> None:
    """Width 32 is the best, and only width 16 has both kinds."""

    def space(trial: Any) -> DetectorSpec:
        name = trial.suggest_categorical("name", ["fast 16", "softmax 16", "unbounded 32"])
        fusion, width = name.split()
        return spec(topologies.bifpn(3, 7, fusion=fusion), width=int(width))

    section = section_of(run_of(tmp_path, space, seeds=(0,)))
    found = figures(section)
    assert list(found) == ["fusion_weights", "fusion_weights_fast_and_softmax"]
    assert set(found["fusion_weights"].table["fusion"]) == {"unbounded"}
    assert "Mean change from 1:" in said(section)


def test_channel_kinds_are_a_pair_too(tmp_path: Path) -> None:
    section = section_of(run_of(tmp_path, kinds("channel_fast", "channel_softmax"), seeds=(0,)))
    assert list(figures(section)) == ["fusion_weights_fast_and_softmax"]


def test_what_differs_in_more_than_the_kind_is_no_pair(tmp_path: Path) -> None:
    def space(trial: Any) -> DetectorSpec:
        name = trial.suggest_categorical("name", ["fast 16", "softmax 32"])
        return spec(topologies.bifpn(3, 7, fusion=name.split()[0]), width=int(name.split()[1]))

    assert list(figures(section_of(run_of(tmp_path, space, seeds=(0,))))) == ["fusion_weights"]


def test_without_weighted_fusion_there_is_no_section(tmp_path: Path) -> None:
    assert section_of(run_of(tmp_path, kinds("sum"), seeds=(0,))).blocks == ()
    empty = Runs(write_run(tmp_path / "empty", Fixture(trials=[], samples=0)))
    assert section_of(empty).blocks == ()
    assert empty.fusion_weights().empty


def test_where_nothing_was_recorded_there_is_no_section(tmp_path: Path) -> None:
    old = Runs(write_run(tmp_path / "old", Fixture(trials=topology_trials(), samples=0)))
    assert section_of(old).blocks == ()
    half = run_of(tmp_path, kinds("fast", "softmax"), seeds=(0,), record=False)
    assert section_of(half).blocks == ()


@pytest.mark.parametrize("width", [8.0, 3.7])
def test_a_panel_is_a_node_and_a_bold_line_an_input(runs: Runs, width: float) -> None:
    (figure,) = figures(section_of(runs)).values()
    drawn = fusion_weights_figure(figure.table, width, together=True)
    panels = {axes.get_title(loc="left"): axes for axes in drawn.axes}
    assert len(panels) == 8
    bold = [line for line in panels[MOVED].lines if line.get_linewidth() > 1]
    ends = {(line.get_linestyle(), round(float(np.asarray(line.get_ydata())[-1]), 2)) for line in bold}
    assert ends == {("-", 0.61), ("-", 0.39), ("--", 0.71), ("--", 0.29)}
    assert len(panels[MOVED].lines) == len(bold) + 12  # and two inputs of two kinds of three seeds, thin
    assert [text.get_text() for text in panels[MOVED].texts] == ["P4 in", "P5 (6)"]


def test_many_nodes_are_cut_and_counted(tmp_path: Path) -> None:
    (figure,) = figures(section_of(run_of(tmp_path, kinds("fast", repeats=4), seeds=(0,)))).values()
    assert f"The first {MOST_NODES} of 32 nodes are drawn; the table has all." in figure.caption
    assert len([a for a in figure.draw(figure.table, 8.0).axes if a.get_visible()]) == MOST_NODES


def test_the_report_shows_them(runs: Runs, tmp_path: Path) -> None:
    page = write_report(runs.path, POPULATION, tmp_path, compact=True).read_text()
    assert "Fast and softmax fusion" in page
