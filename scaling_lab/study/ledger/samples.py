"""The held-out images that reports show, written once into a run's folder. It draws no boxes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from scaling_lab.files import write_whole
from scaling_lab.runs.reader import RunFolder

if TYPE_CHECKING:
    from scaling_lab.data import Source

SAMPLES = 8


def write_samples(source: Source, folder: RunFolder) -> None:
    """Write the source's sample images as PNG, and their objects; nothing where they are written already."""
    if folder.ground_truth.exists():
        return
    from PIL import Image

    images = source.samples(SAMPLES)
    for image_id, pixels in images:
        Image.fromarray(pixels).save(folder.samples / f"{image_id}.png")
    ids = {image_id for image_id, _ in images}
    truth = source.ground_truth("val")
    chosen = {
        "images": [image for image in truth["images"] if image["id"] in ids],
        "annotations": [annotation for annotation in truth["annotations"] if annotation["image_id"] in ids],
        "categories": truth["categories"],
    }
    write_whole(folder.ground_truth, json.dumps(chosen))  # the last file: it says that all are there
