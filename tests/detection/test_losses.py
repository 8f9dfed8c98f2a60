"""The losses against their formulas written densely, one anchor and class at a time, and their gradients against autograd's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from scaling_lab import Anchors
from scaling_lab.detection import detection_loss, losses, make_anchors, match
from scaling_lab.detection.anchors import encode
from scaling_lab.detection.matching import Matches

K, A = 3, 9
SIZES = ((8, 8), (4, 4))


def _case(seed: int) -> tuple[list[Tensor], list[Tensor], Tensor, Matches, Tensor, Tensor]:
    torch.manual_seed(seed)
    anchors = make_anchors(Anchors(scale=1.5), 3, (64, 64), SIZES, torch.device("cpu"))
    corners = torch.rand(2, 3, 2) * 40
    boxes = torch.cat([corners, corners + 8 + torch.rand(2, 3, 2) * 16], dim=2)
    labels = torch.tensor([[0, 1, 2], [2, -1, -1]])
    logits = [torch.randn(2, A * K, *size, requires_grad=True) for size in SIZES]
    deltas = [torch.randn(2, A * 4, *size, requires_grad=True) for size in SIZES]
    return logits, deltas, anchors, match(anchors, boxes, labels), boxes, labels


def _by_anchor(outputs: list[Tensor], values: int) -> Tensor:
    """(B, anchors, values), anchors in the order of make_anchors."""
    return torch.cat([x.unflatten(1, (A, values)).permute(0, 3, 4, 1, 2).flatten(1, 3) for x in outputs], dim=1)


def _dense(
    case: tuple[list[Tensor], list[Tensor], Tensor, Matches, Tensor, Tensor], alpha: float, gamma: float
) -> Tensor:
    logits, deltas, anchors, matches, boxes, labels = case
    x, d = _by_anchor(logits, K), _by_anchor(deltas, 4)
    target = torch.zeros_like(x)
    positive = (matches.image_P, matches.anchor_P)
    target[(*positive, labels[matches.image_P, matches.object_P])] = 1.0
    p = torch.sigmoid(x)
    pt = target * p + (1 - target) * (1 - p)
    weight = target * alpha + (1 - target) * (1 - alpha)
    focal = weight * (1 - pt) ** gamma * F.binary_cross_entropy_with_logits(x, target, reduction="none")
    count = len(matches.image_P) + 1.0
    error = d[positive] - encode(boxes[matches.image_P, matches.object_P], anchors[matches.anchor_P])
    huber = torch.where(error.abs() <= 0.1, 0.5 * error**2, 0.1 * error.abs() - 0.005)
    return focal.sum() / count + 50.0 * huber.sum() / (4 * count)


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 1.5), (0.5, 2.0)])
def test_the_loss_and_its_gradient_are_the_dense_formulas(alpha: float, gamma: float) -> None:
    case = _case(0)
    logits, deltas = case[:2]
    ours = detection_loss(*case, alpha=alpha, gamma=gamma)
    theirs = _dense(case, alpha, gamma)
    torch.testing.assert_close(ours.total, theirs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours.classes + ours.boxes, ours.total.detach())
    expected = torch.autograd.grad(theirs, [*logits, *deltas])
    found = torch.autograd.grad(ours.total, [*logits, *deltas])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("gamma", [1.5, 2.0])
def test_confident_logits_keep_their_loss_and_gradient(gamma: float) -> None:
    """Far beyond where a sigmoid is 0 or 1 in float32; in float64 the dense formulas still tell."""
    case = _case(3)
    with torch.no_grad():
        for x in case[0]:
            x.mul_(30)
    found = torch.autograd.grad(detection_loss(*case, gamma=gamma).total, case[0])
    exact = [x.detach().double().requires_grad_() for x in case[0]]
    expected = torch.autograd.grad(_dense((exact, *case[1:]), 0.25, gamma), exact)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other.float(), rtol=1e-4, atol=1e-6)


def test_neither_the_layout_nor_the_chunks_nor_a_factor_change_the_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, *others = _case(4)
    expected = torch.autograd.grad(detection_loss(logits, *others).total, logits)
    monkeypatch.setattr(losses, "CHUNK", 7)
    last = [x.detach().contiguous(memory_format=torch.channels_last).requires_grad_() for x in logits]
    found = torch.autograd.grad(3 * detection_loss(last, *others).total, last)
    for one, other in zip(found, expected, strict=True):
        assert one.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(one, 3 * other, rtol=1e-5, atol=1e-7)


def test_in_float16_the_gradient_scalers_factor_comes_before_rounding() -> None:
    logits, *others = _case(6)
    half = [(x.detach() - 6).half().requires_grad_() for x in logits]
    full = [x.detach().float().requires_grad_() for x in half]
    found = torch.autograd.grad(2**16 * detection_loss(half, *others).total, half)
    expected = torch.autograd.grad(2**16 * detection_loss(full, *others).total, full)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.float(), other, rtol=1e-2, atol=1e-6)


def test_a_part_of_a_batch_is_divided_by_the_positives_of_all() -> None:
    case = _case(5)
    own = len(case[3].image_P)
    alone, part = detection_loss(*case), detection_loss(*case, positives=2 * own + 1)
    torch.testing.assert_close(alone.total, 2 * part.total)
    torch.testing.assert_close(alone.boxes, 2 * part.boxes)


def test_a_batch_without_objects_has_a_finite_loss_with_a_gradient() -> None:
    logits, deltas, anchors, _, boxes, _ = _case(1)
    labels = torch.full((2, 3), -1)
    terms = detection_loss(logits, deltas, anchors, match(anchors, boxes, labels), boxes, labels)
    terms.total.backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(terms.total)
    assert terms.boxes.item() == 0
    assert logits[0].grad is not None
    assert logits[0].grad.abs().sum() > 0


def test_the_iou_term_is_zero_for_the_right_boxes_and_grows_with_error() -> None:
    logits, deltas, anchors, matches, boxes, labels = _case(2)
    right = [torch.zeros_like(x) for x in deltas]
    flat = torch.cat([x.permute(0, 2, 3, 1).reshape(2, -1, 4) for x in right], dim=1)
    flat[matches.image_P, matches.anchor_P] = encode(
        boxes[matches.image_P, matches.object_P], anchors[matches.anchor_P]
    )
    parts = flat.split([h * w * A for h, w in SIZES], dim=1)
    right = [p.reshape(2, h, w, A * 4).permute(0, 3, 1, 2) for p, (h, w) in zip(parts, SIZES, strict=True)]
    terms = detection_loss(logits, right, anchors, matches, boxes, labels, iou_weight=1.0)
    assert terms.boxes.item() == pytest.approx(0.0, abs=1e-4)
    worse = detection_loss(logits, deltas, anchors, matches, boxes, labels, box_weight=0.0, iou_weight=1.0)
    assert worse.boxes.item() > 0.1
