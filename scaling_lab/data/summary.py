"""Counts of a split: images, objects, classes, sizes, duplicates, and the level of best anchors."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from scaling_lab.architecture import Anchors
from scaling_lab.data import Source
from scaling_lab.data.columns import Images, Objects
from scaling_lab.data.duplicates import Copies, find_copies
from scaling_lab.data.entries import Annotations
from scaling_lab.data.shapes import Shapes

# COCO's area limits, in pixels of the original image (pycocotools, Params.areaRng).
SMALL, MEDIUM = 32**2, 96**2
LEVELS = range(3, 8)
FITS = 0.5


def annotations_of(source: Source, split: str) -> Annotations:
    """Return a split's annotations of any source, without the check for boxes outside their images."""
    if isinstance(source, Shapes):
        return source.annotations(split)
    source.check_categories(split)
    return source.read_split(split)


def copies_of(source: Source) -> Copies:
    """Return the images with identical files; none for Shapes."""
    if isinstance(source, Shapes):
        return Copies({"train": [], "val": []}, [])
    paths = {
        split: [source.image_path(split, entry) for entry in source.read_split(split).entries]
        for split in ("train", "val")
    }
    return find_copies(paths["train"], paths["val"])


def summarize(source: Source, split: str, image_size: int) -> dict[str, Any]:
    """Return counts of a split as plain values; `levels` and `no_anchor` are for inputs of `image_size` a side.

    A level counts the objects whose best default anchor, centred on the object, is of this level. `no_anchor` counts those
    whose best anchor has an IoU below .5.
    """
    found = annotations_of(source, split)
    objects, per_image = found.objects.taken(~found.objects.crowd), found.entries.counts
    by_class = np.bincount(objects.label, minlength=len(found.class_names)).tolist()
    classes = dict(zip(found.class_names, by_class, strict=True))
    return {
        "images": len(found.images),
        "images_without_object": int((per_image == 0).sum()),
        "objects": len(objects),
        "crowds": len(found.objects) - len(objects),
        "most_objects": int(per_image.max()),
        "twice": _twice(found.objects),
        "without_area": found.degenerate,
        "outside": found.outside,
        "misread": found.misread,
        "classes": classes,
        "empty_classes": [name for name, count in classes.items() if not count],
        "category_ids": list(found.category_ids),
        "sizes": _sizes(objects.area),
        **_levels(found, image_size),
        "image_sizes": _image_sizes(found.images),
    }


def _twice(objects: Objects) -> int:
    """Return the number of duplicate boxes: same image, class and box."""
    rows = np.column_stack([objects.image, objects.label, objects.bbox])
    return len(rows) - len(np.unique(rows, axis=0))


def _sizes(areas: np.ndarray) -> dict[str, int]:
    names = ("small", "medium", "large")
    counts = np.bincount(np.digitize(areas, [SMALL, MEDIUM]), minlength=len(names)).tolist()
    return dict(zip(names, counts, strict=True))


def _image_sizes(images: Images) -> dict[str, Any]:
    sizes = [(width, height) for height, width in images.sizes.tolist()]
    by_area = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    places = {"smallest": 0, "median": len(sizes) // 2, "largest": -1}
    return {**{name: list(by_area[place]) for name, place in places.items()}, "different": len(set(sizes))}


def _levels(found: Annotations, image_size: int) -> dict[str, Any]:
    boxes = found.entries.boxes
    scales = (image_size / found.entries.sizes.max(axis=1)).astype(np.float32)
    anchors, levels = anchor_sides(Anchors(), LEVELS)
    best, fit = best_anchors((boxes[:, 2:] - boxes[:, :2]) * scales[:, None], anchors)
    counts = Counter(levels[best].tolist())
    return {"levels": {f"P{level}": counts[level] for level in LEVELS}, "no_anchor": int((fit < FITS).sum())}


def anchor_sides(anchors: Anchors, levels: range) -> tuple[np.ndarray, np.ndarray]:
    """Return (width, height) (A, 2) of the anchors at one position of every level, and their levels (A,)."""
    scales = anchors.scale if isinstance(anchors.scale, tuple) else [anchors.scale] * len(levels)
    sides = [
        (level, scale * 2.0 ** (level + octave / anchors.octave_scales) * np.array(aspect))
        for level, scale in zip(levels, scales, strict=True)
        for octave in range(anchors.octave_scales)
        for aspect in anchors.aspects
    ]
    return np.array([side for _, side in sides]), np.array([level for level, _ in sides])


def best_anchors(sides: np.ndarray, anchors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each object's best anchor (N,) and its IoU (N,) at a common centre. Loops over anchors, as N is large."""
    areas = sides.prod(axis=1)
    best, fit = np.zeros(len(sides), dtype=np.int64), np.full(len(sides), -1.0)
    for place, anchor in enumerate(anchors):
        overlap = np.minimum(sides, anchor).prod(axis=1)
        iou = overlap / (areas + anchor.prod() - overlap)
        better = iou > fit
        best[better], fit[better] = place, iou[better]
    return best, fit
