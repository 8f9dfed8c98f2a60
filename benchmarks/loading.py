"""How long does a training step wait for images? One epoch on COCO-format JPEGs, with as many workers as cores.

    python benchmarks/loading.py                                D0 at 512 px and the demonstration's detector at 128 px: 3 minutes
    python benchmarks/loading.py --device cuda --batch 32 --images 4096

The images are 640 x 480 with as much detail as photographs (about 100 kB each). They are written to a temporary folder
first, so that they are in the disk cache. Printed: the workers' own reading rate, the training rate, and the share of time that
training waited, as `scaling-lab train` prints it. This includes the wait for the first batch.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from scaling_lab import Coco, DetectorSpec, Recipe, efficientdet
from scaling_lab.data.augmentation import Augmentation
from scaling_lab.data.batches import batches
from scaling_lab.training.train import train
from search_spaces.compound import SMALL

WIDTH, HEIGHT = 640, 480
OBJECTS = 7


def write_images(folder: Path, images: int) -> Coco:
    """Write `images` JPEGs of noise at several scales with seven boxes each, for both splits."""
    chance = np.random.default_rng(0)
    content: dict[str, list[dict[str, object]]] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "thing"}],
    }
    (folder / "train2017").mkdir()
    (folder / "annotations").mkdir()
    for number in range(images):
        pixels = np.zeros((HEIGHT, WIDTH, 3))
        for step, strength in ((160, 60), (40, 40), (8, 20), (2, 12), (1, 6)):
            coarse = chance.normal(0, strength, (HEIGHT // step, WIDTH // step, 3))
            pixels += coarse.repeat(step, axis=0).repeat(step, axis=1)
        image = Image.fromarray((pixels + 128).clip(0, 255).astype(np.uint8))
        image.save(folder / "train2017" / f"{number}.jpg", quality=90)
        content["images"].append({"id": number, "file_name": f"{number}.jpg", "width": WIDTH, "height": HEIGHT})
        for _ in range(OBJECTS):
            (x, y), side = chance.uniform(0, 400, 2).round(1).tolist(), float(chance.uniform(10, 80).__round__(1))
            own = {"id": len(content["annotations"]) + 1, "image_id": number, "category_id": 1, "iscrowd": 0}
            content["annotations"].append({**own, "bbox": [x, y, side, side], "area": side * side})
    (folder / "annotations" / "instances_train2017.json").write_text(json.dumps(content))
    few = {**content, "images": content["images"][:2], "annotations": content["annotations"][: 2 * OBJECTS]}
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps(few))
    (folder / "val2017").symlink_to("train2017")
    return Coco(folder=str(folder))


def measure(name: str, spec: DetectorSpec, source: Coco, options: argparse.Namespace, *, batch_size: int) -> None:
    """Print the rates of reading alone and of training, in images/s, and the share of waiting."""
    batch_size = options.batch or batch_size
    recipe = Recipe.paper(epochs=1, batch_size=batch_size, precision=options.precision, lr=1e-3)
    jitter = Augmentation(jitter=recipe.jitter, flip=recipe.flip)
    loader = batches(
        source,
        "train",
        image_size=spec.image_size,
        batch_size=batch_size,
        augmentation=jitter,
        workers=options.workers,
    )
    start = time.perf_counter()
    read = sum(len(batch.image_ids) for batch in loader)
    alone = read / (time.perf_counter() - start)
    with tempfile.TemporaryDirectory() as folder:
        metrics = train(
            spec, source, recipe, seed=0, folder=Path(folder), report=lambda _: None, device=options.device,
            workers=options.workers,
        )  # fmt: skip
    print(
        f"{name:28} reading alone {alone:7.1f} images/s   training {metrics['images_per_second']:7.1f} images/s   "
        f"waiting {100 * metrics['waiting']:.1f} %",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--images", type=int, default=96, help="images for D0; 32 times as many for the small detector (96)"
    )
    parser.add_argument("--batch", type=int, help="batch size (4 for D0, the recipe's 16 for the small detector)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    print(f"torch {torch.__version__}, {options.device}, {torch.get_num_threads()} threads, {options.workers} workers")
    with tempfile.TemporaryDirectory() as few, tempfile.TemporaryDirectory() as many:
        d0 = dataclasses.replace(efficientdet("d0"), num_classes=1)
        measure("D0, 512 px", d0, write_images(Path(few), options.images), options, batch_size=4)
        small = dataclasses.replace(SMALL.base, num_classes=1)
        source = write_images(Path(many), 32 * options.images)
        measure("the demonstration's, 128 px", small, source, options, batch_size=Recipe.short().batch_size)


if __name__ == "__main__":
    main()
