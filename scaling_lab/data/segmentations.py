"""The bounding box of a COCO segmentation: polygons, or a run-length mask."""

from __future__ import annotations

from typing import Any

from scaling_lab.checks import is_number
from scaling_lab.errors import UserError

_ALLOWED = "allowed are polygons, or an object with size and counts"


def box_of_segmentation(segmentation: Any) -> list[float]:
    """Return x, y, width, height of a segmentation's box. Raises UserError for an invalid one."""
    if isinstance(segmentation, dict):
        return _box_of_runs(segmentation)
    polygons = segmentation if isinstance(segmentation, list) else [segmentation]
    if polygons and all(map(is_number, polygons)):
        polygons = [polygons]  # a single polygon, without a list around it
    if not all(isinstance(each, list) and len(each) >= 4 and len(each) % 2 == 0 for each in polygons):
        raise UserError(f"its segmentation cannot be read; {_ALLOWED}")
    numbers = [number for polygon in polygons for number in polygon]
    if not numbers or not all(map(is_number, numbers)):
        raise UserError("its segmentation holds a non-finite number; allowed are finite numbers")
    return box_of_points([point for polygon in polygons for point in zip(polygon[::2], polygon[1::2], strict=True)])


def box_of_points(points: list[tuple[float, float]]) -> list[float]:
    """Return x, y, width, height of the box around points."""
    xs, ys = zip(*points, strict=True)
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _box_of_runs(runs: dict[str, Any]) -> list[float]:
    from faster_coco_eval.core import mask

    try:
        size = [int(side) for side in runs["size"]]
        counts = runs["counts"]
        encoded = mask.frPyObjects({"size": size, "counts": counts}, *size) if isinstance(counts, list) else runs
        return [float(number) for number in mask.toBbox(encoded)]
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise UserError(f"its segmentation cannot be read ({type(error).__name__}); {_ALLOWED}") from None
