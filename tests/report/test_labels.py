"""Labels cover neither each other nor the data while there is room."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scaling_lab.report.figures import labels

BOUNDS = (0.0, 0.0, 500.0, 300.0)
POINTS = st.lists(st.tuples(st.floats(10, 490), st.floats(10, 290)), min_size=1, max_size=8)


@given(POINTS)
def test_labels_do_not_overlap(points: list[tuple[float, float]]) -> None:
    obstacles = [(x - 4, y - 4, x + 4, y + 4) for x, y in points]
    placed = labels.place(points, [(70.0, 9.0)] * len(points), bounds=BOUNDS, obstacles=obstacles)
    for first, second in itertools.combinations(placed, 2):
        assert labels.overlap(first.box, second.box) == 0
    for placement in placed:
        assert placement.box[0] >= 0 and placement.box[2] <= 500  # noqa: PT018
        assert placement.box[1] >= 0 and placement.box[3] <= 300  # noqa: PT018
        assert all(labels.overlap(placement.box, obstacle) == 0 for obstacle in obstacles)


def test_a_crowd_still_gets_places() -> None:
    placed = labels.place([(50.0, 50.0)] * 60, [(60.0, 10.0)] * 60, bounds=(0, 0, 100, 100))
    assert len(placed) == 60


@given(st.lists(st.floats(0, 100), max_size=12), st.floats(1, 20))
def test_spread_keeps_order_gap_and_bounds(wanted: list[float], gap: float) -> None:
    heights = labels.spread(wanted, gap, 0.0, 100.0)
    least = min(gap, 100.0 / max(1, len(wanted) - 1))
    ordered = [height for _, height in sorted(zip(wanted, heights, strict=True))]
    assert all(second - first >= least - 1e-6 for first, second in itertools.pairwise(ordered))
    assert all(-1e-6 <= height <= 100.0 + 1e-6 for height in heights)


def test_spread_leaves_what_is_apart_already() -> None:
    assert labels.spread([10.0, 50.0, 30.0], 5.0, 0.0, 100.0) == [10.0, 50.0, 30.0]
    assert labels.spread([], 5.0, 0.0, 100.0) == []


def test_what_a_label_covers_is_the_sum_over_all_boxes() -> None:
    draw = np.random.default_rng(0)
    corners = draw.uniform(0, 50, (200, 2))
    boxes = np.hstack([corners, corners + draw.uniform(0, 20, (200, 2))])
    one = (10.0, 10.0, 40.0, 25.0)
    expected = sum(labels.overlap(one, tuple(box)) for box in boxes.tolist())
    assert labels._covered(one, boxes) == expected > 0.0
    assert labels._covered(one, np.empty((0, 4))) == 0.0
