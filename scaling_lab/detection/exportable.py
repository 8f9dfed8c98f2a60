"""Detections as tensors of fixed sizes, for exported graphs. In Python, `detect` is simpler.

Shapes: B batch, A boxes of an image, K classes, C candidates and D detections of an image. Boxes are (x0, y0, x1, y1) in
pixels of the network's input.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import nms

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.checks import check_number, check_whole
from scaling_lab.detection.anchors import by_position, feature_sizes
from scaling_lab.detection.head_kinds import HEAD_KINDS, make_references


class DetectionLayer(nn.Module):
    """Maps a detector's outputs to boxes (B, D, 4), scores (B, D), classes (B, D) and count (B,), best first.

    Equal to `detect` without limits, for images of `image_size` (height, width) and levels of `level_sizes`. D is `most`, or
    the number of candidates if smaller. Entries beyond an image's count have box 0, score 0 and class -1.
    """

    output_names = ("boxes", "scores", "classes", "count")

    def __init__(
        self,
        spec: DetectorSpec,
        image_size: tuple[int, int],
        level_sizes: tuple[tuple[int, int], ...],
        *,
        candidates: int = 5000,
        iou_threshold: float = 0.5,
        most: int = 100,
    ) -> None:
        super().__init__()
        check_whole("candidates", candidates, least=1)
        check_number("iou_threshold", iou_threshold, least=0, most=1)
        check_whole("most", most, least=1)
        self.image_size = image_size
        self.num_classes = spec.num_classes
        self.candidates = candidates
        self.iou_threshold = iou_threshold
        self.most = most
        self.decode = HEAD_KINDS[spec.head].decode
        self.references_A4: Tensor
        self.register_buffer("references_A4", make_references(spec, image_size, level_sizes, torch.device("cpu")))

    def forward(self, class_logits: Sequence[Tensor], box_deltas: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Map the detector's two lists to boxes, scores, classes and count."""
        flat = by_position(class_logits, self.num_classes).flatten(1).float()
        num_candidates = min(self.candidates, flat.shape[1])
        logits_BC, index_BC = flat.topk(num_candidates, dim=1)
        box_BC, label_BC = index_BC // self.num_classes, index_BC % self.num_classes
        boxes_BC4 = self.decode(_rows(by_position(box_deltas, 4), box_BC), self.references_A4[box_BC])
        scores_BC = torch.sigmoid(logits_BC)
        kept_BC = self._suppress(boxes_BC4, scores_BC, label_BC)
        # Candidates are sorted, so the first ones kept are the best, in an order that ties cannot change.
        left_C = torch.arange(num_candidates, 0, -1, device=kept_BC.device)
        left_BD, place_BD = torch.where(kept_BC, left_C, 0).topk(min(self.most, num_candidates), dim=1)
        found_BD = left_BD > 0
        boxes_BD4 = torch.where(found_BD[..., None], _rows(boxes_BC4, place_BD), 0.0)
        scores_BD = torch.where(found_BD, scores_BC.gather(1, place_BD), 0.0)
        labels_BD = torch.where(found_BD, label_BC.gather(1, place_BD), -1)
        return boxes_BD4, scores_BD, labels_BD, found_BD.sum(dim=1)

    def _suppress(self, boxes_BC4: Tensor, scores_BC: Tensor, label_BC: Tensor) -> Tensor:
        # ONNX has an operator for all classes of a batch; a .pt2 file must load without our operators.
        suppress = suppress_by_class if torch.onnx.is_in_onnx_export() else _suppress_by_class
        return suppress(boxes_BC4, scores_BC, label_BC, self.num_classes, self.iou_threshold)

    @staticmethod
    def onnx_translations() -> dict[Callable[..., Any], Callable[..., Any]]:
        """Return ONNX translations of this layer's custom operators."""
        return {torch.ops.scaling_lab.suppress_by_class.default: _onnx_suppress_by_class}


def detection_layer(detector: nn.Module, image_size: tuple[int, int], **settings: Any) -> DetectionLayer:
    """Return the layer for a detector and images of `image_size` (height, width); `settings` are the layer's own."""
    shapes_alone = copy.deepcopy(detector).to("meta").eval()
    _, box_deltas = shapes_alone(torch.empty(1, 3, *image_size, device="meta"))
    spec: DetectorSpec = detector.spec  # type: ignore[assignment]
    return DetectionLayer(spec, image_size, feature_sizes(box_deltas), **settings)


def _rows(values_BAX: Tensor, index_BC: Tensor) -> Tensor:
    """Select rows of each image: (B, A, X) and (B, C) give (B, C, X)."""
    return values_BAX.gather(1, index_BC[..., None].expand(-1, -1, values_BAX.shape[2]))


def _suppress_by_class(
    boxes_BC4: Tensor, scores_BC: Tensor, label_BC: Tensor, num_classes: int, iou_threshold: float
) -> Tensor:
    """Return which candidates (B, C) remain after non-maximum suppression within each class of each image.

    Classes are shifted apart, in float64, since in float32 the offset would lose digits that decide close overlaps.
    """
    kept = []
    for boxes_C4, scores_C, label_C in zip(boxes_BC4.double(), scores_BC.double(), label_BC, strict=True):
        apart = boxes_C4.max() - boxes_C4.min() + 1
        kept_N = nms(boxes_C4 + (label_C * apart)[:, None], scores_C, iou_threshold)
        kept.append(torch.zeros_like(label_C, dtype=torch.bool).index_fill(0, kept_N, True))
    return torch.stack(kept)


@torch.library.custom_op("scaling_lab::suppress_by_class", mutates_args=())
def suppress_by_class(
    boxes_BC4: Tensor, scores_BC: Tensor, label_BC: Tensor, num_classes: int, iou_threshold: float
) -> Tensor:
    """Call `_suppress_by_class` as a single operator, for translation to ONNX."""
    return _suppress_by_class(boxes_BC4, scores_BC, label_BC, num_classes, iou_threshold)


@suppress_by_class.register_fake
def _(boxes_BC4: Tensor, scores_BC: Tensor, label_BC: Tensor, num_classes: int, iou_threshold: float) -> Tensor:
    return torch.empty_like(label_BC, dtype=torch.bool)


def _onnx_suppress_by_class(
    boxes_BC4: Any, scores_BC: Any, label_BC: Any, num_classes: int, iou_threshold: float
) -> Any:
    """Translate to ONNX: NonMaxSuppression takes scores (B, K, C) and returns rows (image, class, candidate)."""
    import onnx
    from onnxscript import opset18

    op: Any = opset18
    class_K1 = op.Unsqueeze(op.Constant(value_ints=list(range(num_classes))), [1])
    own_BKC = op.Equal(op.Unsqueeze(label_BC, [1]), class_K1)
    scores_BKC = op.Where(own_BKC, op.Unsqueeze(scores_BC, [1]), -1.0)
    most = op.Shape(label_BC, start=1, end=2)
    kept_N3 = op.NonMaxSuppression(boxes_BC4, scores_BKC, most, [iou_threshold], [-0.5])
    kept_N2 = op.Gather(kept_N3, [0, 2], axis=1)
    none_BC = op.ConstantOfShape(
        op.Shape(label_BC), value=onnx.helper.make_tensor("none", onnx.TensorProto.INT64, [1], [0])
    )
    ones_N = op.Expand(1, op.Shape(kept_N2, start=0, end=1))
    return op.Cast(op.ScatterND(none_BC, kept_N2, ones_N), to=onnx.TensorProto.BOOL)
