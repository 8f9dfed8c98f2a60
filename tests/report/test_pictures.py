"""Labels of boxes lie in the picture and cover none of the others."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaling_lab.errors import UserError
from scaling_lab.report import Frontier, compute_frontier
from scaling_lab.report.figures import detections_figure, labels
from scaling_lab.report.figures.drawn_boxes import Box
from scaling_lab.report.page.blocks import Pictures
from scaling_lab.report.sections import pictures
from scaling_lab.runs.reader import Runs
from tests.report.fixture_run import Fixture, topology_trials, write_run

SIZE = (192, 160)
BOXES = st.builds(
    lambda x, y, width, height, score: Box(
        bbox=(x, y, min(width, SIZE[0] - x), min(height, SIZE[1] - y)), name="disc with rows", series=0, score=score
    ),
    st.floats(0, 180), st.floats(0, 150), st.floats(5, 120), st.floats(5, 120), st.none() | st.floats(0.3, 1.0),
)  # fmt: skip


def box(*bbox: float, score: float | None = 0.5, name: str = "disc") -> Box:
    return Box(bbox=bbox, name=name, series=0, score=score)  # type: ignore[arg-type]


def corners(bbox: tuple[float, float, float, float]) -> labels.Box:
    return bbox[0], bbox[1], bbox[0] + bbox[2], bbox[1] + bbox[3]


@given(st.lists(BOXES, max_size=12))
def test_labels_lie_in_the_picture_and_apart(boxes: list[Box]) -> None:
    found = detections_figure.labelled(boxes, SIZE)
    assert [(one.bbox, one.score) for one in found] == [(one.bbox, one.score) for one in boxes]
    places = [corners(one.label.bbox) for one in found if one.label is not None]
    for left, top, right, bottom in places:
        assert 0 <= left <= right <= SIZE[0] + 1e-9
        assert 0 <= top <= bottom <= SIZE[1] + 1e-9
    assert all(labels.overlap(first, second) == 0 for first, second in itertools.combinations(places, 2))


def test_a_label_stands_above_its_box_or_below_where_the_picture_ends() -> None:
    middle, top = detections_figure.labelled([box(60, 60, 30, 30), box(120, 0, 30, 30, score=None)], SIZE)
    assert middle.label is not None
    assert top.label is not None
    assert middle.label.text == "disc 0.50"
    assert middle.label.bbox[1] + middle.label.bbox[3] == 60
    assert top.label.text == "disc"
    assert top.label.bbox[1] == 30


def test_a_label_hides_no_small_object_of_another_panel() -> None:
    """An object that the detector missed stands where its label would be without it."""
    small = box(64, 54, 5, 5, score=None)
    (without,) = detections_figure.labelled([box(60, 60, 30, 30)], SIZE)
    (aside,) = detections_figure.labelled([box(60, 60, 30, 30)], SIZE, objects=[small])
    assert without.label is not None
    assert aside.label is not None
    assert labels.overlap(corners(without.label.bbox), corners(small.bbox)) > 0
    assert labels.overlap(corners(aside.label.bbox), corners(small.bbox)) == 0


def test_where_words_have_no_room_the_score_stands_alone_or_nothing() -> None:
    long = "a class whose name is far too long for any picture of that size"
    found = detections_figure.labelled(
        [box(60, 60, 30, 30, name=long), box(60, 60, 30, 30, score=None, name=long)], SIZE
    )
    assert [one.label.text if one.label else None for one in found] == ["0.50", None]


def test_the_figure_for_files_has_the_labels_of_the_page(run: Path, frontier: Frontier) -> None:
    (block,) = pictures.detections(Runs(run), frontier).blocks
    assert hasattr(block, "figure")
    on_page = [box.label.text for row in block.rows for panel in row.panels for box in panel.boxes if box.label]
    drawn = block.figure.draw(block.figure.table, 8.0)
    assert sorted(text.get_text() for axes in drawn.axes for text in axes.texts) == sorted(on_page)


def test_a_damaged_file_is_named_and_a_lost_image_left_out(tmp_path: Path) -> None:
    runs = Runs(write_run(tmp_path / "run", Fixture(trials=topology_trials((0,)), samples=2)))
    truth = json.loads(runs.folder.ground_truth.read_text())
    lost = truth["images"][0]["id"]
    (runs.folder.samples / f"{lost}.png").unlink()
    runs.folder.ground_truth.write_text(json.dumps(truth | {"images": truth["images"][1:]}))
    section = pictures.detections(runs, compute_frontier(runs))
    assert [row.name for block in section.blocks if isinstance(block, Pictures) for row in block.rows] == [
        f"image {truth['images'][1]['id']}"
    ]
    cut = runs.folder.trial(1) / "detections.json"
    cut.write_text("[{")
    with pytest.raises(UserError, match=rf"{re.escape(str(cut))} is damaged"):
        runs.detections(1)
