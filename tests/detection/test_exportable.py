"""The detections of fixed size, in torch. That they survive an export stands in tests/model/test_export.py."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from scaling_lab import Anchors, topologies
from scaling_lab.detection import detect
from scaling_lab.detection.exportable import DetectionLayer, suppress_by_class
from scaling_lab.errors import UserError
from search_spaces.compound import SMALL

SPEC = dataclasses.replace(
    SMALL.base,
    topology=topologies.bifpn(3, 4),
    num_classes=2,
    anchors=Anchors(scale=2.0, octave_scales=1, aspects=((1.0, 1.0),)),
)
SIZES = ((4, 4), (2, 2))


def test_the_end_is_padded_and_a_small_image_gives_all_that_it_has() -> None:
    torch.manual_seed(0)
    logits = [torch.randn(2, 2, *size) for size in SIZES]
    deltas = [torch.randn(2, 4, *size) / 4 for size in SIZES]
    layer = DetectionLayer(SPEC, (32, 32), SIZES, iou_threshold=0.2)
    boxes, scores, classes, count = layer(logits, deltas)
    assert boxes.shape == (2, 40, 4)  # (16 + 4) anchors of 2 classes
    for image, found in enumerate(detect(logits, deltas, SPEC, (32, 32), iou_threshold=0.2)):
        kept = len(found.scores_D)
        assert kept == count[image]
        assert kept < 40
        torch.testing.assert_close(boxes[image, :kept], found.boxes_D4)
        torch.testing.assert_close(scores[image, :kept], found.scores_D)
        assert torch.equal(classes[image, :kept], found.labels_D)
        assert (classes[image, kept:] == -1).all()
        assert not boxes[image, kept:].any()
        assert not scores[image, kept:].any()


def test_close_overlaps_are_decided_alike_for_every_class() -> None:
    """Two boxes with IoU 1/3, less and more by 1e-4 of a pixel, as class 0 and as class 9,999."""
    for nudge, kept in ((1e-4, [True, True]), (-1e-4, [True, False])):
        boxes = torch.tensor([[[0.0, 0.0, 2.0, 2.0], [1.0 + nudge, 0.0, 3.0 + nudge, 2.0]]])
        scores = torch.tensor([[0.9, 0.8]])
        for label in (0, 9_999):
            labels = torch.full((1, 2), label)
            assert suppress_by_class(boxes, scores, labels, 10_000, 1 / 3).tolist() == [kept]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"candidates": 0}, "candidates is 0; allowed are whole numbers from 1"),
        ({"most": 1.5}, "most is 1.5; allowed are whole numbers from 1"),
        ({"iou_threshold": 50}, "iou_threshold is 50; allowed are finite numbers from 0 to 1"),
    ],
)
def test_settings_are_checked(settings: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        DetectionLayer(SPEC, (32, 32), SIZES, **settings)  # type: ignore[arg-type]
