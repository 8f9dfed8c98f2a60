"""Which of COCO's APs a split can measure: each needs a non-crowd object of its sizes."""

from __future__ import annotations

from collections.abc import Iterable

from scaling_lab.data import Source
from scaling_lab.data.summary import MEDIUM, SMALL
from scaling_lab.errors import UserError

# Object areas of each AP, both ends included, in pixels of the original image, as in pycocotools.
_LARGEST = 1e10
# A detector gives at most this many detections an image, and COCO's AP counts at most this many a class.
MOST_DETECTIONS = 100
AREAS = {
    "ap": (0, _LARGEST),
    "ap50": (0, _LARGEST),
    "ap75": (0, _LARGEST),
    "ap_small": (0, SMALL),
    "ap_medium": (SMALL, MEDIUM),
    "ap_large": (MEDIUM, _LARGEST),
}
_SIZES = {
    "ap_small": "of at most 32 x 32 px",
    "ap_medium": "of 32 x 32 to 96 x 96 px",
    "ap_large": "of at least 96 x 96 px",
}


def objects_for(source: Source, split: str = "val") -> dict[str, int]:
    """Return the number of objects in a split for each AP, by the AP's name."""
    objects = source.annotations(split).objects
    areas = objects.area[~objects.crowd]
    return {name: int(((areas >= least) & (areas <= most)).sum()) for name, (least, most) in AREAS.items()}


def check_measurable(source: Source, names: Iterable[str], what: str) -> None:
    """Raise UserError where the held-out split has no object for one of these APs, called `what`, such as "objective"."""
    counts = objects_for(source)
    for name in names:
        if counts[name]:
            continue
        allowed = [other for other, count in counts.items() if count]
        hint = f"allowed are {', '.join(allowed)}" if allowed else "every AP needs a non-crowd object"
        raise UserError(f"{what} {name} cannot be measured: {held_out_words(source, name)}; {hint}")


def check_trainable(source: Source) -> None:
    """Raise UserError where the training split has no object to train on."""
    if not objects_for(source, "train")["ap"]:
        raise UserError(
            f"nothing to train on: {_words(source, 'train', 'ap')}; allowed is at least one non-crowd object"
        )


def held_out_words(source: Source, name: str = "ap") -> str:
    """Return the message that the held-out split has no object for an AP."""
    return _words(source, "val", name)


def _words(source: Source, split: str, name: str) -> str:
    """Return the message that a split has no object for an AP, with its name, images and other objects."""
    objects = source.annotations(split).objects
    crowds = int(objects.crowd.sum())
    kind = "training" if split == "train" else "held-out"
    place = f" {getattr(source, split)} of {source.folder}" if hasattr(source, "folder") else ""
    others = len(objects) - crowds
    there = [_counted(count, what) for count, what in ((others, "other object"), (crowds, "crowd")) if count]
    size = f" {_SIZES[name]}" if name in _SIZES else ""
    beside = f", but {' and '.join(there)}" if there else ""
    return f"the {kind} split{place} has no object{size} in its {_counted(source.length(split), 'image')}{beside}"


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}" + ("" if count == 1 else "s")
