"""Published detectors stand beside a run on COCO alone, and nobody can take them for its results."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from matplotlib.text import Annotation

from scaling_lab.report import Frontier
from scaling_lab.report.analysis import published_tables
from scaling_lab.report.analysis.published_tables import COCO_CLASSES, REACH, held_out, is_coco, published_points
from scaling_lab.report.figures import style
from scaling_lab.report.page import svg
from scaling_lab.report.page.blocks import Details, Figure, Table
from scaling_lab.report.sections import overview
from scaling_lab.report.sections.architectures import architectures
from scaling_lab.runs.reader import Runs
from tests.coco_files import write_coco
from tests.report.fixture_run import COCO_META, Trial, opened, topology_trials

NAME = "ap_against_gmacs_published"


def trials() -> list[Trial]:
    return [Trial(topology=name, width=300, seed=seed) for name in ("fpn", "bifpn") for seed in (0, 1, 2)]


def papers() -> pd.DataFrame:
    table = published_tables.detectors()
    return table[table["source"] == published_tables.PAPER]


def figures_of(runs: Runs, frontier: Frontier) -> dict[str, Figure]:
    return {b.name: b for b in overview.accuracy_and_cost(runs, frontier).blocks if isinstance(b, Figure)}


@pytest.fixture
def coco(tmp_path: Path) -> tuple[Runs, Frontier]:
    return opened(tmp_path, trials(), **COCO_META)


@pytest.mark.parametrize(
    "change",
    [
        {"data": {"kind": "shapes", "train_images": 4096}},
        {"data": {"kind": "voc", "val": "val2017"}},
        {"data": {"kind": "coco", "val": "minival"}},
        {"class_names": list(COCO_CLASSES[:79])},
        {"class_names": [*COCO_CLASSES[:79], "kettle"]},
        {"class_names": []},
        {"data_description": "COCO-format set x: 118287 images of train2017 and 500 of val2017, 80 classes"},
        {"data_description": ""},
        {"data": None},
    ],
)
def test_what_is_not_cocos_val2017_has_no_overlay(tmp_path: Path, change: dict[str, Any]) -> None:
    runs, frontier = opened(tmp_path, trials(), **{**COCO_META, **change})
    assert not is_coco(runs.meta)
    assert NAME not in figures_of(runs, frontier)
    assert is_coco(COCO_META)


def test_the_number_of_held_out_images_is_read_from_what_coco_says_of_itself(tmp_path: Path) -> None:
    assert held_out(write_coco(tmp_path, train=2, val=3).describe()) == 3
    assert len(set(COCO_CLASSES)) == 80


def test_the_points_are_the_published_numbers_within_reach(coco: tuple[Runs, Frontier]) -> None:
    _, frontier = coco
    points = published_points(frontier).set_index("label")
    known = papers().set_index("model")
    highest = frontier.architectures["gmacs"].max()
    assert list(points.index) == ["EfficientDet-D0", "EfficientDet-D1"]
    assert (points["gmacs"] <= REACH * highest).all()
    assert known.loc["EfficientDet-D2", "gmacs"] > REACH * highest
    assert (points["ap"] == known.loc[points.index, "ap_val"]).all()
    assert (points["source"] == known.loc[points.index, "where"]).all()
    assert set(points["split"]) == {"val"}


def test_without_an_ap_on_val_it_is_test_devs_and_says_so(tmp_path: Path) -> None:
    wide = [Trial(topology=name, width=3000, seed=seed) for name in ("fpn", "bifpn") for seed in (0, 1)]
    runs, frontier = opened(tmp_path, wide, **COCO_META)
    points = published_points(frontier).set_index("label")
    known = papers()
    assert points.loc["YOLOv3", "split"] == "test-dev"
    assert points.loc["YOLOv3", "ap"] == known.set_index("model").loc["YOLOv3", "ap_test"]
    figure = figures_of(runs, frontier)[NAME]
    assert "AP on val if published, else on test-dev" in figure.caption
    legend = figure.draw(figure.table, style.WIDE).legends[0]
    assert [text.get_text() for text in legend.get_texts()] == [
        "published, AP on val (not measured here)", "published, AP on test-dev (not measured here)",
    ]  # fmt: skip


@pytest.mark.parametrize("width", [style.WIDE, style.NARROW])
def test_published_marks_are_grey_hollow_in_italics_and_in_the_legend(
    coco: tuple[Runs, Frontier], width: float
) -> None:
    figure = figures_of(*coco)[NAME]
    drawn = figure.draw(figure.table, width)
    drawn.draw_without_rendering()
    (axes,) = drawn.axes
    texts = [text for text in axes.texts if isinstance(text, Annotation)]
    theirs = [text for text in texts if text.get_fontstyle() == "italic"]
    assert [text.get_text() for text in theirs] == ["EfficientDet-D0 (published)", "EfficientDet-D1 (published)"]
    assert {text.get_color() for text in theirs} == {style.MUTED}
    assert all("published" not in text.get_text() for text in texts if text not in theirs)
    assert [t.get_text() for t in drawn.legends[0].get_texts()] == ["published, AP on val (not measured here)"]
    low, high = axes.get_xlim()
    assert all(low < cost < high for cost in published_points(coco[1])["gmacs"])
    boxes = [text.get_window_extent().extents for text in texts]
    for first, second in itertools.combinations(boxes, 2):
        shared = [min(first[k + 2], second[k + 2]) - max(first[k], second[k]) for k in (0, 1)]
        assert min(shared) <= 0
    assert "published numbers of full training on COCO (arXiv:1911.09070v7, Table 2)" in figure.caption


def test_they_are_in_no_front_no_volume_and_no_table_of_results(tmp_path: Path, coco: tuple[Runs, Frontier]) -> None:
    runs, frontier = coco
    plain_runs, plain = opened(tmp_path / "plain", trials())
    assert frontier.architectures.equals(plain.architectures)
    assert frontier.hypervolume() == plain.hypervolume()
    ours, plains = figures_of(runs, frontier), figures_of(plain_runs, plain)
    for name, figure in plains.items():  # all other figures are the same, byte for byte
        assert svg.svg_file(svg.drawn(ours[name], 8.0)) == svg.svg_file(svg.drawn(figure, 8.0))
    assert ours[NAME].table.equals(ours["ap_against_gmacs"].table)
    front, plain_front = (
        next(line for line in each.draw(each.table, 8.0).axes[0].lines if line.get_drawstyle() == "steps-post")
        for each in (ours[NAME], ours["ap_against_gmacs"])
    )
    assert list(front.get_ydata())[1:] == list(plain_front.get_ydata())[1:]  # the first stands on the axis
    tables = [b for b in architectures(runs, frontier).blocks if isinstance(b, Table)]
    assert not any("EfficientDet" in table.frame.to_csv() for table in tables)
    (details,) = (b for b in overview.accuracy_and_cost(runs, frontier).blocks if isinstance(b, Details))
    (own,) = details.blocks
    assert isinstance(own, Table)
    assert own.frame["source"].notna().all()


def test_nothing_within_reach_gives_no_figure(tmp_path: Path) -> None:
    runs, frontier = opened(tmp_path, topology_trials((0,)), **COCO_META)
    assert NAME not in figures_of(runs, frontier)
