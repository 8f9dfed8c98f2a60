"""COCO's average precision of a detector on a source's held-out images, computed by faster-coco-eval.

Shapes: D detections of all images. APs are 0 to 100, averaged over IoU .50:.95 unless the name says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from faster_coco_eval import COCO, COCOeval_faster
from numpy.typing import NDArray
from torch import Tensor

from scaling_lab.checks import check_whole
from scaling_lab.data import Source
from scaling_lab.data.accuracies import MOST_DETECTIONS
from scaling_lab.data.batches import Batch, batches
from scaling_lab.detection import Detections, detect
from scaling_lab.errors import UserError
from scaling_lab.model import Detector
from scaling_lab.model.class_names import difference, places_by_name
from scaling_lab.training.precision import autocast

# COCO's summary, in order: APs, then recall with 1, 10 and 100 detections an image.
SUMMARY = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
)

# The category of a class that the data lack; no category has this id.
NO_CATEGORY = int(np.iinfo(np.int64).min)


def evaluate(
    detector: Detector,
    source: Source,
    *,
    image_size: tuple[int, int] | None = None,
    batch_size: int = 8,
    workers: int = 0,
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Return COCO's twelve numbers (None without such objects) and ap_by_class on a source's held-out images.

    `image_size` (height, width) defaults to the spec's. The detector stays on `device`. `progress` is called with the
    numbers of finished and of all batches. Classes match the source's by name if the detector knows its class names, else
    by order (`class_categories`). Raises UserError where the classes do not match, and for unreadable files.
    """
    check_whole("batch_size", batch_size, least=1)
    check_whole("workers", workers, least=0)
    size = image_size or detector.spec.image_size
    for side in size:
        check_whole("image_size", side, least=1)
    class_categories(detector.spec.num_classes, source, detector.class_names)
    source.check_images("val")
    loader = batches(
        source,
        "val",
        image_size=size,
        batch_size=batch_size,
        pixels=detector.spec.pixels,
        workers=workers,
        device=device,
    )

    def counted() -> Iterator[Batch]:
        for done, batch in enumerate(loader):
            progress(done, len(loader))
            yield batch
        progress(len(loader), len(loader))

    return average_precision(source.ground_truth("val"), predict(detector.to(device), source, counted()))


def uncounted_objects(source: Source) -> str | None:
    """Return a warning about held-out images with more objects than counted detections, or None."""
    objects = source.annotations("val").objects
    per_image = np.bincount(objects.image[~objects.crowd])
    crowded = per_image[per_image > MOST_DETECTIONS]
    if not len(crowded):
        return None
    which = "1 held-out image has" if len(crowded) == 1 else f"{len(crowded)} held-out images have"
    return (
        f"{which} more than {MOST_DETECTIONS} objects (up to {max(crowded):,}), but only the {MOST_DETECTIONS} best "
        "detections of an image count, so AP cannot reach 100"
    )


def class_categories(num_classes: int, source: Source, class_names: Sequence[str] | None = None) -> NDArray[np.int64]:
    """Return the category of each of a detector's classes, (K,), numbered from 1 as in the source's ground truth.

    With class names: the category of that name, or NO_CATEGORY; every category needs a class. Without names, if there are
    as many classes as categories: the categories in order of their ids in the file. If the ids have gaps and there are at
    least as many classes as the largest id: class i is id i + 1, as in the released models, whose 90 classes are COCO's
    ids. A class whose id the data lack gets minus that id. Raises UserError for any other number of classes, and for a
    category without a class of its name.
    """
    if class_names is not None:
        places = places_by_name(source.class_names, class_names)
        if places is None:
            raise UserError(
                "the weights' classes do not match the data's: "
                f"{difference(class_names, source.class_names)}; allowed are data with these classes only"
            )
        categories = np.full(num_classes, NO_CATEGORY)
        categories[places] = source.category_ids
        return categories
    ids = source.file_category_ids
    if num_classes == len(ids):
        return np.arange(1, num_classes + 1)
    if num_classes >= max(ids) > len(ids) and min(ids) >= 1:
        numbers = {id_: number for number, id_ in enumerate(ids, 1)}
        return np.array([numbers.get(id_, -id_) for id_ in range(1, num_classes + 1)])
    raise UserError(
        f"the detector has {num_classes} classes, but the data have {len(ids)} categories with ids up to {max(ids)}; "
        f"allowed are {len(ids)}, one for each category"
        + (f", or at least {max(ids)}, one for each id" if max(ids) > len(ids) else "")
    )


def file_category_id(number: int, source: Source) -> int:
    """Return the id in the file of a category numbered as in `class_categories`."""
    return source.file_category_ids[number - 1] if number > 0 else -number


@torch.inference_mode()
def predict(
    detector: Detector, source: Source, loader: Iterable[Batch], *, candidates: int = 5000, precision: str = "float32"
) -> NDArray[np.float64]:
    """Return detections (D, 7): image id, x, y, width, height in pixels of the original image, score, category.

    The network computes in `precision`, one of a recipe's; its outputs are decoded in float32.
    Images and categories are numbered from 1 as in the source's ground truth, since floats cannot hold all ids of files.
    """
    training = detector.training
    detector.eval()
    categories = class_categories(detector.spec.num_classes, source, detector.class_names)
    rows: list[NDArray[np.float64]] = []
    for batch in loader:
        with autocast(precision, batch.boxes_BN4.device):
            outputs = detector.of(batch.inputs, are_features=batch.are_features)
        class_logits, box_deltas = ([level.float() for level in levels] for levels in outputs)
        size = batch.image_size
        limits_B2 = batch.sizes_B2 * batch.scales_B[:, None]
        limits: Any = {"candidates": candidates, "most": MOST_DETECTIONS, "limits_B2": limits_B2}
        found = detect(class_logits, box_deltas, detector.spec, size, **limits)
        boxes_D4, scores_D, scales_D, labels_D = _on_cpu(found, batch.scales_B)
        boxes_D4 /= scales_D[:, None]
        boxes_D4[:, 2:] -= boxes_D4[:, :2]
        ids_D = np.repeat(np.array(batch.image_ids, dtype=np.float64), [len(image.scores_D) for image in found])
        categories_D = categories[labels_D.astype(np.int64)]
        found_D7 = np.column_stack([ids_D, boxes_D4, scores_D, categories_D])
        rows.append(found_D7[categories_D != NO_CATEGORY])
    detector.train(training)
    return np.concatenate(rows) if rows else np.zeros((0, 7))


def _on_cpu(found: Sequence[Detections], scales_B: Tensor) -> Iterator[NDArray[np.float64]]:
    """Yield boxes (D, 4), scores, scales of the image and labels of all images' detections, in one copy from the device."""
    parts = [
        torch.cat(
            [image.boxes_D4, image.scores_D[:, None], scale.expand(len(image.scores_D), 1), image.labels_D[:, None]], 1
        )
        for image, scale in zip(found, scales_B, strict=True)
    ]
    rows_D7 = torch.cat(parts).cpu().double().numpy()
    yield rows_D7[:, :4]
    yield from rows_D7[:, 4:].T


def average_precision(ground_truth: dict[str, Any], detections_D7: NDArray[np.float64]) -> dict[str, Any]:
    """Return COCO's numbers and ap_by_class of detections (D, 7), given a ground truth in COCO's format."""
    truth = COCO(ground_truth)
    evaluation = COCOeval_faster(truth, truth.loadRes(detections_D7), iouType="bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    result: dict[str, Any] = {name: _percent(value) for name, value in zip(SUMMARY, evaluation.stats, strict=False)}
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
    """Return a percentage, or None for COCO's -1, which means no objects."""
    return None if value < 0 else 100.0 * float(value)
