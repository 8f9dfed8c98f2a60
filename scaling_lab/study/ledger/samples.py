"""The held-out images that reports show, written once into a run's folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from scaling_lab.files import whole_file, write_whole
from scaling_lab.runs.reader import RunFolder

if TYPE_CHECKING:
    from scaling_lab.data import Source

SAMPLES = 8


def write_samples(source: Source, folder: RunFolder) -> None:
    """Write the source's sample images as PNG and their objects, unless they exist."""
    if folder.ground_truth.exists():
        return
    from PIL import Image

    images = source.samples(SAMPLES)
    ids = {image_id: source.file_image_id("val", image_id) for image_id, _ in images}
    for image_id, pixels in images:
        with whole_file(folder.sample(ids[image_id])) as made:
            Image.fromarray(pixels).save(made)
    truth = source.ground_truth("val")
    categories = dict(zip(source.category_ids, source.file_category_ids, strict=True))
    chosen = {
        "images": [{**image, "id": ids[image["id"]]} for image in truth["images"] if image["id"] in ids],
        "annotations": [
            {**each, "image_id": ids[each["image_id"]], "category_id": categories[each["category_id"]]}
            for each in truth["annotations"]
            if each["image_id"] in ids
        ],
        "categories": [{**each, "id": categories[each["id"]]} for each in truth["categories"]],
    }
    write_whole(folder.ground_truth, json.dumps(chosen))  # written last: its presence means that all are complete
