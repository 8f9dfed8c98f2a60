"""Heads of points: boxes from distances, task-aligned assignment against hand-made cases and a plain loop, and the loss."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scaling_lab import topologies
from scaling_lab.detection import detect, make_anchors, matching, points_loss
from scaling_lab.detection.anchors import by_position
from scaling_lab.detection.points import CANDIDATES, CELL, Assigned, assign, decode, encode, quality_focal_loss
from search_spaces.compound import SMALL

CPU = torch.device("cpu")
SIZES = ((8, 8), (4, 4))
CELLS_A4 = make_anchors(CELL, 3, (64, 64), SIZES, CPU)
POSITIONS = 80


def test_a_cell_is_a_stride_a_side_around_its_position() -> None:
    cells = make_anchors(CELL, 3, (30, 20), ((3, 4),), CPU)
    assert cells[:2].tolist() == [[0.0, 0.0, 5.0, 10.0], [5.0, 0.0, 10.0, 10.0]]


def test_an_output_of_zero_is_a_box_of_four_strides() -> None:
    cell = torch.tensor([8.0, 16.0, 16.0, 24.0])  # around (12, 20), stride 8
    assert decode(torch.zeros(4), cell).tolist() == [-4.0, 4.0, 28.0, 36.0]
    # 3 strides to the left, 1 up, half a stride to the right, 2 down.
    outputs = torch.tensor([3.0, 1.0, 0.5, 2.0]).div(2).log()
    torch.testing.assert_close(decode(outputs, cell), torch.tensor([-12.0, 12.0, 16.0, 36.0]))


@given(st.integers(0, POSITIONS - 1), st.lists(st.floats(0.01, 500), min_size=4, max_size=4))
def test_a_box_that_contains_its_position_comes_back(position: int, sides: list[float]) -> None:
    cell = CELLS_A4[position]
    x, y = (cell[:2] + cell[2:]).div(2).tolist()
    box = torch.tensor([x - sides[0], y - sides[1], x + sides[2], y + sides[3]])
    torch.testing.assert_close(decode(encode(box, cell), cell), box, rtol=1e-4, atol=1e-4)


# --- assignment ------------------------------------------------------------------------------------------------------


def _listed(found: Assigned) -> list[tuple[int, int, int, float]]:
    """Return the image, position, object and target of each positive."""
    image_P, object_P, place_P = found.is_positive_BNk.nonzero(as_tuple=True)
    at = (image_P, object_P, place_P)
    columns = (image_P, found.position_BNk[at], object_P, found.target_BNk[at])
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _assigned(*objects: list[float]) -> dict[tuple[int, int], float]:
    """Assign objects of class 0 where every position has a score of 1/2 and predicts a square of 2 strides around it."""
    predicted = decode(torch.full((1, POSITIONS, 4), math.log(0.5)), CELLS_A4)
    found = assign(
        torch.zeros(1, POSITIONS, 1), predicted, CELLS_A4, torch.tensor([objects]), torch.zeros(1, len(objects)).long()
    )
    assert found.target_BNk[~found.is_positive_BNk].count_nonzero() == 0
    return {(number, position): target for _, position, number, target in _listed(found)}


def test_targets_fall_with_the_sixth_power_of_the_iou_from_the_largest_iou() -> None:
    """A square of 24 px with 9 positions of P3 (squares of 16 px) and one of P4, at (8, 8) (a square of 32 px), inside."""
    centre, side, corner, coarse = 256 / 576, 192 / 640, 144 / 688, 576 / 1024
    ious = {0: corner, 1: side, 2: corner, 8: side, 9: centre, 10: side, 16: corner, 17: side, 18: corner, 64: coarse}
    found = _assigned([0.0, 0.0, 24.0, 24.0])
    assert found == pytest.approx({(0, position): coarse * (iou / coarse) ** 6 for position, iou in ious.items()})


def test_an_object_has_at_most_thirteen_positions_and_they_overlap_it_most() -> None:
    found = _assigned([0.0, 0.0, 64.0, 64.0])
    assert len(found) == CANDIDATES
    # P4's 16 positions all predict 32 px squares: the 4 inner ones are wholly inside.
    assert sorted(found, key=found.__getitem__)[-4:] == [(0, 69), (0, 70), (0, 73), (0, 74)]


def test_a_box_between_positions_has_the_nearest() -> None:
    found = _assigned([5.0, 5.0, 7.0, 7.0])  # (6, 6) is 2.8 px from P3's (4, 4) and from P4's (8, 8)
    assert found == pytest.approx({(0, 0): 4 / 256})


def test_a_position_belongs_to_the_object_it_overlaps_most_and_of_equal_ones_to_the_first() -> None:
    square, lower = [4.0, 4.0, 20.0, 20.0], [4.0, 6.0, 20.0, 22.0]  # (12, 12) is inside both
    assert {number for number, position in _assigned(lower, square) if position == 9} == {1}
    assert {number for number, _ in _assigned(square, square)} == {0}


@pytest.mark.parametrize("piece", [1, 1 << 30])
@pytest.mark.parametrize("seed", range(3))
def test_assignment_is_the_rule_in_a_plain_loop(seed: int, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(matching.PIECE, "cpu", piece)
    torch.manual_seed(seed)
    corners = torch.rand(3, 4, 2) * 40
    boxes = torch.cat([corners, corners + 2 + torch.rand(3, 4, 2) * 22], dim=2)
    labels = torch.tensor([[0, 1, 2, 0], [1, -1, 1, -1], [-1, -1, -1, -1]])
    logits, predicted = torch.randn(3, POSITIONS, 3), decode(torch.randn(3, POSITIONS, 4) / 2, CELLS_A4)
    centres = ((CELLS_A4[:, :2] + CELLS_A4[:, 2:]) / 2).tolist()
    expected = {}
    for image in range(3):
        claims: dict[int, list[tuple[float, int, float]]] = {}
        for n in range(4):
            if labels[image, n] < 0:
                continue
            x0, y0, x1, y1 = boxes[image, n].tolist()
            distances = [math.hypot(x - (x0 + x1) / 2, y - (y0 + y1) / 2) for x, y in centres]
            inside = [
                (x0 < x < x1 and y0 < y < y1) or d == min(distances)
                for (x, y), d in zip(centres, distances, strict=True)
            ]
            ious = [_iou(boxes[image, n].tolist(), each) for each in predicted[image].tolist()]
            scores = torch.sigmoid(logits[image, :, labels[image, n]]).tolist()
            order = sorted((-scores[a] * ious[a] ** 6, a) for a in range(POSITIONS) if inside[a])
            for alignment, a in order[:CANDIDATES]:
                claims.setdefault(a, []).append((ious[a], n, -alignment))
        kept = [(n, a, iou, t) for a, each in claims.items() for iou, n, t in [max(each)]]
        for n, a, _, t in kept:
            best = max(other for m, _, _, other in kept if m == n)
            expected[image, a, n] = t / best * max(iou for m, _, iou, _ in kept if m == n)
    found = assign(logits, predicted, CELLS_A4, boxes, labels)
    targets = {(image, position, number): target for image, position, number, target in _listed(found)}
    assert targets == pytest.approx(expected, rel=1e-4, abs=1e-9)
    assert len(expected) > 12


def _iou(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (areas - width * height)


# --- loss ------------------------------------------------------------------------------------------------------------

BOXES = torch.tensor(
    [[[0.0, 0.0, 24.0, 24.0], [30.0, 20.0, 60.0, 50.0]], [[10.0, 12.0, 26.0, 20.0], [0.0, 0.0, 0.0, 0.0]]]
)
LABELS = torch.tensor([[0, 2], [1, -1]])


def _outputs(seed: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    torch.manual_seed(seed)
    logits = [torch.randn(2, 3, *size).requires_grad_() for size in SIZES]
    return logits, [(torch.randn(2, 4, *size) / 3).requires_grad_() for size in SIZES]


def test_quality_focal_loss_is_its_formula_and_least_at_the_target() -> None:
    p, y = 1 / (1 + math.exp(-0.3)), 0.7
    expected = (y - p) ** 2 * -((1 - y) * math.log(1 - p) + y * math.log(p))
    assert quality_focal_loss(torch.tensor(0.3), torch.tensor(0.7)).item() == pytest.approx(expected)
    assert quality_focal_loss(torch.logit(torch.tensor(0.7)), torch.tensor(0.7)).item() == pytest.approx(0.0, abs=1e-9)


def test_the_loss_is_its_terms_and_the_sum_of_its_parts() -> None:
    logits, distances = _outputs(0)
    predicted = decode(by_position(distances, 4), CELLS_A4)
    found = assign(by_position(logits, 3), predicted, CELLS_A4, BOXES, LABELS)
    ours = points_loss(logits, distances, CELLS_A4, BOXES, LABELS)
    boxes = 0.0
    for image, a, n, target in _listed(found):
        mine, own = predicted[image, a].tolist(), BOXES[image, n].tolist()
        hull = (max(mine[2], own[2]) - min(mine[0], own[0])) * (max(mine[3], own[3]) - min(mine[1], own[1]))
        areas = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (mine, own))
        union = areas / (1 + _iou(mine, own))
        boxes += 2 * target * (1 - _iou(mine, own) + (hull - union) / hull) / 3
    assert ours.boxes.item() == pytest.approx(boxes, rel=1e-4)
    assert ours.total.item() == pytest.approx(ours.classes.item() + ours.boxes.item())
    parts = [
        points_loss([x[of] for x in logits], [x[of] for x in distances], CELLS_A4, BOXES[of], LABELS[of], objects=3)
        for of in (slice(0, 1), slice(1, 2))
    ]
    assert sum(part.total.item() for part in parts) == pytest.approx(ours.total.item(), rel=1e-5)


def test_descent_finds_the_boxes_and_classes_and_every_gradient_is_finite() -> None:
    logits, distances = _outputs(1)
    optimizer = torch.optim.Adam([*logits, *distances], lr=0.05)
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        terms = points_loss(logits, distances, CELLS_A4, BOXES, LABELS)
        terms.total.backward()
        assert all(torch.isfinite(x.grad).all() for x in (*logits, *distances) if x.grad is not None)
        optimizer.step()
        losses.append(terms.total.item())
    assert losses[-1] < 0.1 * losses[0]
    for image, found in enumerate(detect(logits, distances, SPEC, (64, 64))):
        count = int((LABELS[image] >= 0).sum())
        by_label = found.labels_D[:count].argsort()
        assert found.labels_D[:count][by_label].tolist() == LABELS[image][:count].tolist()
        torch.testing.assert_close(found.boxes_D4[:count][by_label], BOXES[image][:count], atol=2.0, rtol=0)


def test_without_objects_there_is_background_alone() -> None:
    logits, distances = _outputs(2)
    terms = points_loss(logits, distances, CELLS_A4, torch.zeros(2, 1, 4), torch.full((2, 1), -1))
    terms.total.backward()
    assert terms.boxes == 0
    scores = torch.sigmoid(by_position(logits, 3))
    assert terms.classes.item() == pytest.approx((scores**2 * -torch.log(1 - scores)).sum().item(), rel=1e-5)


SPEC = dataclasses.replace(SMALL.base, topology=topologies.bifpn(3, 4), num_classes=3, head="points")
