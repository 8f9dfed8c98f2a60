"""Writes a small data set in Pascal VOC's layout to disk, as JPEG and XML files. It is no test: tests read what it writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from scaling_lab import Voc
from scaling_lab.data.rendering import render
from scaling_lab.data.scenes import NATIVE_SIZE, scene
from scaling_lab.data.shapes import boxes

# Which of VOC's classes each class of Shapes is written as; 17 of the 20 stay empty.
NAMES = ("dog", "dog", "cat", "cat", "sofa", "sofa", "cat", "dog")


def write_voc(folder: Path, train: int = 12, val: int = 8, seed: int = 0) -> Voc:
    """Write both splits under `folder`. No image is square; a split's second shows no object, its third a difficult one."""
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / name).mkdir(parents=True)
    for split, count in (("train", train), ("val", val)):
        names = [f"{(0 if split == 'train' else 500) + 3 * index:06d}" for index in range(count)]
        # A blank line and blanks at an end, as in files that people have.
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text(" \n".join(names) + "\n\n")
        (folder / "ImageSets" / "Main" / f"dog_{split}.txt").write_text("".join(f"{name} -1\n" for name in names))
        for index, name in enumerate(names):
            _write_image(folder, name, seed, split, index)
    return Voc(folder=str(folder))


def _write_image(folder: Path, name: str, seed: int, split: str, index: int) -> None:
    drawn = scene(seed, split, index)
    side = 100 + 10 * (index % 4)
    pixels = np.full((side, side + 30, 3), 120, dtype=np.uint8)
    pixels[:, :side] = render([drawn], side)[0].permute(1, 2, 0).numpy()
    objects = []
    if index != 1:
        for place, (box, label) in enumerate(zip(boxes(drawn) * (side / NATIVE_SIZE), drawn.labels, strict=True)):
            objects.append(_object(NAMES[label], box, difficult=index == 2 and place == 0))
    Image.fromarray(pixels).save(folder / "JPEGImages" / f"{name}.jpg", quality=92)
    (folder / "Annotations" / f"{name}.xml").write_text(annotation(side + 30, side, *objects))


def annotation(width: int, height: int, *objects: str) -> str:
    """Give the text of an XML file; the name of the image in it is wrong, as often."""
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>elsewhere.bmp</filename>{size}{''.join(objects)}</annotation>\n"


def voc_object(name: str, xmin: object, ymin: object, xmax: object, ymax: object, difficult: object = 0) -> str:
    """Give the text of an object, with a part that has a box of its own."""
    part = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    box = f"<bndbox><xmax>{xmax}</xmax><xmin>{xmin}</xmin><ymax>{ymax}</ymax><ymin>{ymin}</ymin></bndbox>"
    head = f"<name>{name}</name><pose>Left</pose><truncated>0</truncated><difficult>{difficult}</difficult>"
    return f"<object>{head}{part}{box}</object>"


def _object(name: str, box: np.ndarray, *, difficult: bool) -> str:
    x0, y0, x1, y1 = (round(float(value)) for value in box)
    return voc_object(name, x0 + 1, y0 + 1, x1, y1, int(difficult))
