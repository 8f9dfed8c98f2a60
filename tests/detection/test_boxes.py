"""Anchors, box codes and matching, against numbers worked out by hand and a plain loop."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch

from scaling_lab import Anchors
from scaling_lab.detection import make_anchors, match, matching
from scaling_lab.detection.anchors import decode, encode

CPU = torch.device("cpu")


def test_anchors_stand_at_the_centres_of_positions_and_have_the_sizes_of_the_rule() -> None:
    anchors = make_anchors(Anchors(scale=4.0), 3, (64, 128), ((8, 16), (4, 8)), CPU)
    assert anchors.shape == ((8 * 16 + 4 * 8) * 9, 4)
    first = anchors[:9]
    centres = (first[:, :2] + first[:, 2:]) / 2
    assert torch.allclose(centres, torch.full((9, 2), 4.0), atol=1e-5)
    sides = first[:, 2:] - first[:, :2]
    # Scale-major: 32 at every aspect, then 32 * 2**(1/3), …; the first aspect is the square, the second wide.
    assert sides[0].tolist() == pytest.approx([32.0, 32.0])
    assert sides[1].tolist() == pytest.approx([32 * math.sqrt(2), 32 / math.sqrt(2)], rel=1e-5)
    assert sides[3].tolist() == pytest.approx([32 * 2 ** (1 / 3)] * 2, rel=1e-5)
    second = anchors[9]  # one position to the right
    assert ((second[0] + second[2]) / 2).item() == pytest.approx(12.0)
    coarser = anchors[8 * 16 * 9]
    assert (coarser[2] - coarser[0]).item() == pytest.approx(64.0)


def test_anchors_of_odd_sizes_use_the_real_stride_of_each_axis() -> None:
    anchors = make_anchors(Anchors(scale=1.0, octave_scales=1, aspects=((1.0, 1.0),)), 3, (30, 20), ((4, 3),), CPU)
    assert anchors[-1].tolist() == pytest.approx([20 / 3 * 2, 7.5 * 3, 20, 30], abs=1e-4)


def test_each_level_may_have_a_scale_of_its_own() -> None:
    anchors = make_anchors(
        Anchors(scale=(1.0, 3.0), octave_scales=1, aspects=((1.0, 1.0),)), 3, (8, 8), ((1, 1), (1, 1)), CPU
    )
    assert (anchors[:, 2] - anchors[:, 0]).tolist() == pytest.approx([8.0, 24.0])


def test_decoding_undoes_encoding() -> None:
    torch.manual_seed(0)
    corners = torch.rand(50, 2) * 100
    boxes = torch.cat([corners, corners + 1 + torch.rand(50, 2) * 50], dim=1)
    anchors = torch.cat([corners * 0.9, corners * 0.9 + 20], dim=1)
    torch.testing.assert_close(decode(encode(boxes, anchors), anchors), boxes, atol=1e-3, rtol=1e-4)


def test_the_box_code_is_ty_tx_th_tw() -> None:
    anchor = torch.tensor([[0.0, 0.0, 10.0, 20.0]])
    box = torch.tensor([[5.0, 10.0, 15.0, 50.0]])  # centre (10, 30) against (5, 10); sides 10 x 40 against 10 x 20
    assert encode(box, anchor)[0].tolist() == pytest.approx([1.0, 0.5, math.log(2), 0.0])


def _iou(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (areas - width * height)


@pytest.mark.parametrize("seed", range(5))
def test_matching_is_the_rule_in_a_plain_loop(seed: int) -> None:
    torch.manual_seed(seed)
    anchors = make_anchors(Anchors(scale=1.5), 3, (64, 64), ((8, 8), (4, 4)), CPU)
    corners = torch.rand(3, 4, 2) * 40
    boxes = torch.cat([corners, corners + 6 + torch.rand(3, 4, 2) * 18], dim=2)
    labels = torch.tensor([[0, 1, 2, 3], [1, 1, -1, -1], [-1, -1, -1, -1]])
    expected = set()
    for image in range(3):
        real = [n for n in range(4) if labels[image, n] >= 0]
        ious = {n: [_iou(boxes[image, n].tolist(), a.tolist()) for a in anchors] for n in real}
        forced = {}
        for n in reversed(real):
            forced[max(range(len(anchors)), key=lambda a, n=n: ious[n][a])] = n  # type: ignore[misc]
        for a in range(len(anchors)):
            best = max(real, key=lambda n, a=a: ious[n][a], default=None)  # type: ignore[misc]
            if a in forced:
                expected.add((image, a, forced[a]))
            elif best is not None and ious[best][a] >= 0.5:
                expected.add((image, a, best))
    found = match(anchors, boxes, labels)
    triples = zip(found.image_P.tolist(), found.anchor_P.tolist(), found.object_P.tolist(), strict=True)
    assert set(triples) == expected
    assert len(expected) > 6


def test_every_object_keeps_an_anchor_even_below_the_threshold() -> None:
    anchors = make_anchors(Anchors(scale=4.0), 3, (64, 64), ((8, 8),), CPU)
    found = match(anchors, torch.tensor([[[10.0, 10.0, 14.0, 14.0]]]), torch.tensor([[0]]))
    assert found.object_P.tolist() == [0]


def test_images_without_objects_have_no_positives() -> None:
    anchors = make_anchors(Anchors(), 3, (64, 64), ((8, 8),), CPU)
    assert match(anchors, torch.zeros(2, 1, 4), torch.full((2, 1), -1)).image_P.numel() == 0


def _plain(anchors_A4: torch.Tensor, boxes_BN4: torch.Tensor, labels_BN: torch.Tensor) -> list[torch.Tensor]:
    """The formula with all overlaps of a batch at once, and a loop over its objects."""
    real_BN = labels_BN >= 0
    iou_BNA = matching.pairwise_iou(boxes_BN4, anchors_A4).masked_fill_(~real_BN[:, :, None], -1.0)
    best_BA, object_BA = iou_BNA.max(dim=1)
    positive_BA = best_BA >= 0.5
    for image, number in reversed(real_BN.nonzero().tolist()):
        anchor = iou_BNA[image, number].argmax()
        object_BA[image, anchor], positive_BA[image, anchor] = number, True
    image_P, anchor_P = positive_BA.nonzero(as_tuple=True)
    return [image_P, anchor_P, object_BA[image_P, anchor_P]]


@pytest.mark.parametrize("counts", [(0, 0), (1, 0), (5, 12), (1200, 3), (300, 0, 300)])
@pytest.mark.parametrize("piece", [1, 5000, 1 << 30])
@pytest.mark.parametrize("ties", [False, True])
def test_matching_in_pieces_is_the_plain_formula_to_the_bit(
    monkeypatch: pytest.MonkeyPatch, counts: tuple[int, ...], piece: int, ties: bool
) -> None:
    monkeypatch.setitem(matching.PIECE, "cpu", piece)
    anchors = make_anchors(Anchors(scale=1.5), 3, (64, 64), ((8, 8), (4, 4)), CPU)
    chance = torch.Generator().manual_seed(sum(counts))
    places = max(1, *counts)
    corners = torch.rand(len(counts), places, 2, generator=chance) * 45
    boxes = torch.cat([corners, corners + 4 + torch.rand(corners.shape, generator=chance) * 18], dim=2)
    if ties:  # many objects have the same box, and boxes lie evenly between anchors
        boxes = (boxes / 8).round() * 8
    labels = torch.full((len(counts), places), -1)
    for image, count in enumerate(counts):
        labels[image, :count] = 1
    if places > 4:
        labels[0, 2] = -1  # an unused place need not be at the end
    found = match(anchors, boxes, labels)
    for tensor, wanted in zip(vars(found).values(), _plain(anchors, boxes, labels), strict=True):
        assert torch.equal(tensor, wanted)


_MATCHING = """
import resource
import torch
from scaling_lab import Anchors
from scaling_lab.detection import make_anchors, match

sizes = tuple((512 >> level, 512 >> level) for level in range(3, 8))
anchors = make_anchors(Anchors(), 3, (512, 512), sizes, torch.device("cpu"))
corners = torch.rand(8, 1200, 2) * 480
boxes, labels = torch.cat([corners, corners + 20], dim=2), torch.zeros(8, 1200, dtype=torch.int64)
labels[1:, 1:] = -1
match(anchors, boxes[:, :1], labels[:, :1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
match(anchors, boxes, labels)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_the_memory_of_matching_does_not_grow_with_the_objects() -> None:
    run = subprocess.run([sys.executable, "-c", _MATCHING], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 50_000  # kB; all overlaps of these 1,200 objects with D0's anchors are 240 MB an image
