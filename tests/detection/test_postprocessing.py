"""Detections from outputs that were written by hand."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from scaling_lab import Anchors, topologies
from scaling_lab.detection import detect
from search_spaces.compound import SMALL

SPEC = dataclasses.replace(
    SMALL.base,
    topology=topologies.bifpn(3, 4),
    num_classes=2,
    anchors=Anchors(scale=2.0, octave_scales=1, aspects=((1.0, 1.0),)),
)


def _outputs() -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    logits = [torch.full((1, 2, 4, 4), -9.0), torch.full((1, 2, 2, 2), -9.0)]
    deltas = [torch.zeros(1, 4, 4, 4), torch.zeros(1, 4, 2, 2)]
    return logits, deltas


def test_the_box_of_the_best_anchor_comes_first_with_its_class_and_score() -> None:
    logits, deltas = _outputs()
    logits[0][0, 1, 2, 3] = 2.0  # class 1 at row 2, column 3: centre (28, 20), size 16
    logits[1][0, 0, 0, 1] = 1.0  # class 0 at P4: centre (24, 8), size 32
    (found,) = detect(logits, deltas, SPEC, (32, 32), most=2)
    assert found.labels_D.tolist() == [1, 0]
    assert found.scores_D.tolist() == pytest.approx([0.8808, 0.7311], abs=1e-4)
    assert found.boxes_D4[0].tolist() == pytest.approx([20, 12, 36, 28])
    assert found.boxes_D4[1].tolist() == pytest.approx([8, -8, 40, 24])


def test_overlaps_are_suppressed_within_a_class_and_kept_between_classes() -> None:
    logits, deltas = _outputs()
    logits[0][0, :, 1, 1] = torch.tensor([3.0, 2.0])  # both classes at one place
    logits[0][0, 0, 1, 2] = 2.5  # class 0 one column on: IoU of 16-px boxes 8 px apart is 1/3, kept
    deltas[0][0, 1, 1, 2] = -0.4  # moved 6.4 px back: IoU .82, suppressed
    (found,) = detect(logits, deltas, SPEC, (32, 32))
    strong = found.scores_D > 0.5
    assert sorted(found.labels_D[strong].tolist()) == [0, 1]


def test_the_number_of_candidates_and_detections_is_bounded() -> None:
    logits, deltas = _outputs()
    (found,) = detect(logits, deltas, SPEC, (32, 32), candidates=7, most=100)
    assert len(found.scores_D) <= 7
    (found,) = detect(logits, deltas, SPEC, (32, 32), most=3)
    assert len(found.scores_D) == 3


def test_boxes_are_cut_off_where_the_image_ends() -> None:
    logits, deltas = _outputs()
    logits[1][0, 0, 0, 1] = 1.0  # the box of the first test, (8, -8, 40, 24)
    (found,) = detect(logits, deltas, SPEC, (32, 32), most=1, limits_B2=torch.tensor([[20.0, 30.0]]))
    assert found.boxes_D4[0].tolist() == pytest.approx([8, 0, 30, 20])
