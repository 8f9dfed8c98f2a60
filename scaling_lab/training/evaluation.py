"""COCO's average precision of a detector on a data source's held-out images. The evaluator itself is faster-coco-eval's.

Shapes: D detections of all images. APs are 0 to 100, averaged over IoU .50:.95 unless the name says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray

from scaling_lab.data import Source
from scaling_lab.data.loading import Batch
from scaling_lab.detection import detect
from scaling_lab.model import Detector

# The first numbers that COCO's summary holds, by its order.
_SUMMARY = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")


def evaluate(detector: Detector, source: Source, batches: Iterable[Batch], *, candidates: int = 5000) -> dict[str, Any]:
    """Give ap, ap50, ap75, ap_small, ap_medium, ap_large (None where no object is of that size) and ap_by_class, on val."""
    return average_precision(source.ground_truth("val"), predict(detector, source, batches, candidates=candidates))


@torch.inference_mode()
def predict(
    detector: Detector, source: Source, batches: Iterable[Batch], *, candidates: int = 5000
) -> NDArray[np.float64]:
    """Give (D, 7): image id, x, y, width, height in pixels of the original image, score, category id."""
    training = detector.training
    detector.eval()
    categories = np.asarray(source.category_ids)
    rows: list[NDArray[np.float64]] = []
    for batch in batches:
        class_logits, box_deltas = detector(batch.images_BCHW)
        size = (int(batch.images_BCHW.shape[2]), int(batch.images_BCHW.shape[3]))
        found = detect(class_logits, box_deltas, detector.spec, size, candidates=candidates)
        for image_id, scale, image in zip(batch.image_ids, batch.scales_B.tolist(), found, strict=True):
            boxes_D4 = image.boxes_D4.cpu().double().numpy() / scale
            boxes_D4[:, 2:] -= boxes_D4[:, :2]
            scores_D = image.scores_D.cpu().double().numpy()
            ids_D = np.full(len(scores_D), image_id, dtype=np.float64)
            rows.append(np.column_stack([ids_D, boxes_D4, scores_D, categories[image.labels_D.cpu().numpy()]]))
    detector.train(training)
    return np.concatenate(rows) if rows else np.zeros((0, 7))


def average_precision(ground_truth: dict[str, Any], detections_D7: NDArray[np.float64]) -> dict[str, Any]:
    """Compare detections with a COCO-format ground truth."""
    truth = COCO(ground_truth)
    evaluation = COCOeval_faster(truth, truth.loadRes(detections_D7), iouType="bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    result: dict[str, Any] = {name: _percent(value) for name, value in zip(_SUMMARY, evaluation.stats, strict=False)}
    precision = evaluation.eval["precision"]  # IoU threshold, recall, class, size, number of detections
    result["ap_by_class"] = {
        truth.cats[category]["name"]: _percent(_mean_of_valid(precision[:, :, place, 0, -1]))
        for place, category in enumerate(evaluation.params.catIds)
    }
    return result


def _mean_of_valid(values: NDArray[np.float64]) -> float:
    valid = values[values > -1]
    return float(valid.mean()) if valid.size else -1.0


def _percent(value: float) -> float | None:
    """COCO's -1 means that there was no object to find."""
    return None if value < 0 else 100.0 * float(value)
