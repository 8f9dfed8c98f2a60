"""Times the reading of training images from disk in one process, as an image reader does it."""

from __future__ import annotations

import itertools
import time

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.data.augmentation import Augmentation
from scaling_lab.data.batches import batches
from scaling_lab.data.coco import Coco
from scaling_lab.data.reading import read_batches
from scaling_lab.data.voc import Voc
from scaling_lab.data.yolo import Yolo
from scaling_lab.training.recipe import Recipe

# Bounds on the timed batches and their time in seconds, and the images of a batch.
MOST_BATCHES, SECONDS, IMAGES = 16, 2.0, 8


def reading_speed(spec: DetectorSpec, source: Coco | Voc | Yolo, recipe: Recipe) -> float:
    """Return the images/s of one process that reads images and places them for the spec's image size.

    Raises UserError for a file that cannot be read.
    """
    loader = batches(
        source,
        "train",
        image_size=spec.image_size,
        batch_size=min(IMAGES, source.length("train")),
        epoch=1,
        augmentation=Augmentation(jitter=recipe.jitter, flip=recipe.flip, colour=recipe.colour),
    )
    for _ in itertools.islice(read_batches(loader, source), 1):  # reads annotations, and imports what decodes images
        pass
    done, began = 0, time.perf_counter()
    for _, examples in itertools.islice(read_batches(loader, source), MOST_BATCHES):
        done += len(examples)
        if time.perf_counter() - began > SECONDS:
            break
    return done / (time.perf_counter() - began)
