"""Anchors fitted to a data set's boxes at an image size: scale, octaves and aspects by recall.

Shapes: N boxes, P points of a sample, K clusters. Boxes are (x0, y0, x1, y1) in the network's pixels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from scaling_lab.architecture.spec import Anchors, DetectorSpec
from scaling_lab.data.augmentation import letterbox
from scaling_lab.data.sources import Source
from scaling_lab.data.summary import FITS, anchor_sides, annotations_of, best_anchors
from scaling_lab.errors import UserError

MOST_PER_POSITION = 12
MOST_OCTAVES, MOST_ASPECTS = 4, 5
# A proposal may have this much less recall than the best one found, with fewer anchors at a position.
TOLERANCE = 0.01
# Scales from 0.5 to 8, with a step that every number of octave scales divides.
STEPS = 12
SCALES = range(-STEPS, 3 * STEPS + 1)
# Boxes that the search looks at, evenly spaced over the split; the result is counted on all of them.
MOST_BOXES = 10_000
# Quantiles of the aspects that are clustered.
POINTS = 64

Pair = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Anchors, and the number of objects whose best anchor has an IoU below .5.

    `missed` is for the positions of anchors and objects in the network's input. `missed_centred` is for anchors centred on
    the object, as in `scaling-lab data`. `objects` is the number of all.
    """

    anchors: Anchors
    objects: int
    missed: int
    missed_centred: int

    @property
    def recall(self) -> float:
        """The share of objects whose best anchor has an IoU of at least .5, 0 to 1."""
        return 1 - self.missed / self.objects


def fit_anchors(source: Source, spec: DetectorSpec) -> Anchors:
    """Return anchors that fit the training boxes of `source` at the spec's image size and levels.

    They have the fewest anchors per position, at most 12, whose recall is within 1 percentage point of the best found.
    Recall is the share of objects whose best anchor has an IoU of at least .5. The spec's own anchors are returned where
    they are within that point. The result depends on the boxes only, so a study fits once for all its architectures.
    Raises UserError for a split without objects.

        BASE = efficientdet("d0")
        SPEC = dataclasses.replace(BASE, anchors=fit_anchors(DATA, BASE))

    The aspects are medoids under the distance 1 - IoU (Redmon and Farhadi 2017, arXiv:1612.08242, section 2).
    """
    return compared(source, spec)[1].anchors


def compared(source: Source, spec: DetectorSpec) -> tuple[Coverage, Coverage]:
    """Return the coverage of the spec's own anchors and of the fitted ones, on all training boxes.

    Raises UserError for a head without anchors.
    """
    if spec.head != "anchors":
        raise UserError(f"anchors cannot be fitted: the detector's head is {spec.head!r}; allowed is 'anchors'")
    boxes_N4 = training_boxes(source, spec.image_size)
    levels = range(spec.topology.min_level, spec.topology.max_level + 1)
    places = np.linspace(0, len(boxes_N4) - 1, min(len(boxes_N4), MOST_BOXES)).round().astype(np.int64)
    fitted = _fit(_Placed(boxes_N4[places], spec.image_size, levels), spec.anchors)
    placed = _Placed(boxes_N4, spec.image_size, levels)
    own, new = (_coverage(placed, anchors, levels) for anchors in (spec.anchors, fitted))
    return own, new


def training_boxes(source: Source, image_size: tuple[int, int]) -> np.ndarray:
    """Return all training boxes (N, 4) as they lie in the letterboxed input. Raises UserError for none."""
    found = []
    for entry in annotations_of(source, "train").entries:
        boxes, kept = letterbox(entry.size, image_size).boxes(entry.boxes)
        found.append(boxes[kept].astype(np.float64))
    boxes_N4 = np.concatenate(found) if found else np.zeros((0, 4))
    if not len(boxes_N4):
        raise UserError(
            f"anchors cannot be fitted: {source.split_name('train')} has no objects; at least one is needed"
        )
    return boxes_N4


class _Placed:
    """Boxes, and at each level their distances to the nearest position of anchors.

    Among anchors of one shape the nearest has the largest IoU, since the overlap falls with the distance on either axis.
    """

    def __init__(self, boxes_N4: np.ndarray, image_size: tuple[int, int], levels: range) -> None:
        corners = boxes_N4.T
        self.sides = [corners[2] - corners[0], corners[3] - corners[1]]
        self.centres = [(corners[0] + corners[2]) / 2, (corners[1] + corners[3]) / 2]
        counts = [[-(-side // 2**level) for side in image_size[::-1]] for level in levels]  # x, then y
        self.strides = [[side / n for side, n in zip(image_size[::-1], pair, strict=True)] for pair in counts]
        self.distances = [
            [
                np.abs(centre - (np.clip(np.floor(centre / stride), 0, n - 1) + 0.5) * stride)
                for centre, stride, n in zip(self.centres, strides, pair, strict=True)
            ]
            for strides, pair in zip(self.strides, counts, strict=True)
        ]

    def iou(self, size: float, aspect: Pair, level: int) -> np.ndarray:
        """Return the largest IoU (N,) with an anchor of `size` strides and this aspect, at the level of this index."""
        sides = [size * stride * part for stride, part in zip(self.strides[level], aspect, strict=True)]
        overlap, area = np.ones_like(self.sides[0]), sides[0] * sides[1] + self.sides[0] * self.sides[1]
        for own, side, distance in zip(self.sides, sides, self.distances[level], strict=True):
            overlap *= np.minimum(np.minimum(own, side), (own + side) / 2 - distance).clip(min=0)
        iou: np.ndarray = overlap / (area - overlap)
        return iou

    def best(self, anchors: Anchors) -> np.ndarray:
        """Return each box's largest IoU (N,) with any anchor."""
        best = np.zeros(len(self.sides[0]))
        for level in range(len(self.strides)):
            scale = anchors.scale[level] if isinstance(anchors.scale, tuple) else anchors.scale
            for octave in range(anchors.octave_scales):
                for aspect in anchors.aspects:
                    np.maximum(best, self.iou(scale * 2 ** (octave / anchors.octave_scales), aspect, level), out=best)
        return best


def _coverage(placed: _Placed, anchors: Anchors, levels: range) -> Coverage:
    _, centred = best_anchors(np.stack(placed.sides, axis=1), anchor_sides(anchors, levels)[0])
    missed, missed_centred = (int((fit < FITS).sum()) for fit in (placed.best(anchors), centred))
    return Coverage(anchors=anchors, objects=len(centred), missed=missed, missed_centred=missed_centred)


def _fit(placed: _Placed, own: Anchors) -> Anchors:
    """Return the best anchors for the boxes, or `own` where they are as good."""
    tried = [(anchors, float((fit >= FITS).mean()), float(fit.mean())) for anchors, fit in _candidates(placed, own)]
    own_recall = float((placed.best(own) >= FITS).mean())
    enough = max(own_recall, *(recall for _, recall, _ in tried)) - TOLERANCE
    if own_recall >= enough:
        return own
    good = [each for each in tried if each[1] >= enough]
    fewest = min(anchors.per_position for anchors, _, _ in good)
    # By recall, then by mean IoU.
    return max((each for each in good if each[0].per_position == fewest), key=lambda each: each[1:])[0]


def _candidates(placed: _Placed, own: Anchors) -> Iterator[tuple[Anchors, np.ndarray]]:
    """Yield anchors and each box's largest IoU (N,) with them."""
    shapes = [own.aspects, *_aspects(np.log(placed.sides[0] / placed.sides[1]) / 2)]
    sizes = range(SCALES.start, SCALES.stop + STEPS)
    for aspects in dict.fromkeys(shapes):
        most = min(MOST_OCTAVES, MOST_PER_POSITION // len(aspects))
        if not most:
            continue
        of_size = {size: _best_of_size(placed, 2 ** (size / STEPS), aspects) for size in sizes}
        for octaves in range(1, most + 1):
            for scale in SCALES:
                fit = np.max([of_size[scale + octave * STEPS // octaves] for octave in range(octaves)], axis=0)
                anchors = Anchors(scale=round(2 ** (scale / STEPS), 3), octave_scales=octaves, aspects=aspects)
                yield anchors, fit


def _best_of_size(placed: _Placed, size: float, aspects: tuple[Pair, ...]) -> np.ndarray:
    ious = [placed.iou(size, each, level) for each in aspects for level in range(len(placed.strides))]
    best: np.ndarray = np.max(ious, axis=0)
    return best


def _aspects(logs_N: np.ndarray) -> Iterator[tuple[Pair, ...]]:
    """Yield the aspects of 1, 2, … clusters, of area 1, from half the logarithms of width over height.

    The clusters minimise the sum of 1 - IoU to their medoids exactly: on a line they are intervals, found by dynamic
    programming. At equal areas and a common centre, overlap is exp(-distance) of a box's area.
    """
    points_P = np.quantile(logs_N, (np.arange(POINTS) + 0.5) / POINTS, method="nearest")
    overlap_PP = np.exp(-np.abs(points_P[:, None] - points_P))
    sums = np.concatenate([np.zeros((1, POINTS)), np.cumsum(1 - overlap_PP / (2 - overlap_PP), axis=0)])
    # Cost of a cluster from one point up to, not including, another, for each medoid.
    costs = sums[None] - sums[:, None]
    cost, medoid = costs.min(axis=2), costs.argmin(axis=2)
    cost[np.tril_indices(len(cost))] = np.inf
    total, chosen = cost[0], [(place,) for place in medoid[0]]
    for _ in range(MOST_ASPECTS):
        yield tuple(dict.fromkeys(_pair(points_P[place]) for place in chosen[-1]))
        totals = total[:, None] + cost
        firsts = totals.argmin(axis=0)
        total, chosen = totals.min(axis=0), [(*chosen[i], medoid[i, end]) for end, i in enumerate(firsts)]


def _pair(log: float) -> Pair:
    width, height = (float(f"{math.exp(each):.4g}") for each in (log, -log))
    return width, height
