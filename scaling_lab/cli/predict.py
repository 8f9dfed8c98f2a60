"""predict: draws a detector's boxes on image files."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_lab.checks import check_number
from scaling_lab.cli.class_names_option import read_names
from scaling_lab.cli.loaded_weights import load_and_say
from scaling_lab.cli.parsing import add_verb, image_size, usable_device
from scaling_lab.cli.specs import MODEL_HELP
from scaling_lab.errors import UserError
from scaling_lab.files import make_folder, whole_file
from scaling_lab.runs.lock import only_writer

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from scaling_lab.data import Source
    from scaling_lab.data.images import Reading
    from scaling_lab.detection import Detections
    from scaling_lab.model import Detector

LOCK = ".predict.lock"
ENDINGS = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def add_verbs(verbs: Any) -> None:
    """Add the verb to the parser."""
    predict = add_verb(
        verbs,
        "predict",
        _predict,
        "draw a detector's detections on images",
        "predict runs/train/d0/weights.pt photo.jpg",
        "predict tf_efficientdet_d0_34-f153e0cf.pth photos/ --out found --min-score 0.5",
        "predict mine.safetensors photos/*.jpg --model d1 --names cat,dog --json",
    )
    predict.add_argument("weights", type=Path, help="a .pth, .pt or .safetensors file")
    predict.add_argument("images", nargs="+", type=Path, metavar="image", help="an image file, or a folder of images")
    predict.add_argument("--model", help=MODEL_HELP)
    predict.add_argument("--out", type=Path, default=Path("predictions"), help="folder for the PNGs (predictions)")
    predict.add_argument("--min-score", type=float, default=0.3, help="the lowest score to draw (0.3)")
    names = predict.add_mutually_exclusive_group()
    names.add_argument("--names", help="class names, comma-separated, or a file with one a line (the weights')")
    names.add_argument("--data", help="data set for class names and image reading: shapes, or a folder")
    predict.add_argument(
        "--white",
        type=float,
        metavar="VALUE",
        help="the white level of 16-bit, 32-bit and float grey images (the file's)",
    )
    predict.add_argument(
        "--image-size", type=image_size, metavar="PIXELS", help="one number, or HEIGHTxWIDTH (the model's)"
    )
    predict.add_argument("--device", help="cpu, cuda, cuda:1, … (a GPU if available)")


def _predict(options: argparse.Namespace) -> int:
    from scaling_lab.data import parse_source
    from scaling_lab.data.images import read_picture

    check_number("--min-score", options.min_score, least=0, most=1)
    files = image_files(options.images)
    pictures = picture_files(files, options.out)
    device = usable_device(options.device)
    detector = load_and_say(options.model, options.weights).to(device).eval()
    names = class_names(options, detector.spec.num_classes, detector.class_names)
    size = options.image_size or detector.spec.image_size
    source = None if options.data is None else parse_source(options.data)
    reading, sizes = reading_of(source, options.white), _annotated_sizes(source, files)
    found: list[dict[str, Any]] = []
    make_folder(options.out)
    with only_writer(options.out / LOCK):
        for file, picture in zip(files, pictures, strict=True):
            try:
                image = read_picture(file, reading, sizes.get(file)).image
            except UserError as error:  # the other images are still processed
                print(f"scaling-lab: {error}", file=sys.stderr, flush=True)
                continue
            rows = _rows(detections(detector, image, size, device), names, options.min_score)
            _write(_drawn(image, rows), picture)
            found.append({"image": str(file), "picture": str(picture), "width": image.width, "height": image.height})
            found[-1]["detections"] = rows
            if not options.json:
                counts = Counter(row["name"] for row in rows)
                words = ", ".join(f"{count} {name}" for name, count in counts.items())
                print(f"{picture}: {words or 'nothing'}", flush=True)
    if options.json:
        print(json.dumps(found, indent=1))
    return 0 if len(found) == len(files) else 1


# --- files -----------------------------------------------------------------------------------------------------------


def image_files(paths: Sequence[Path]) -> list[Path]:
    """Return the files, and the folders' files with image endings. Raises UserError for an empty or missing path."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix.lower() in ENDINGS and file.is_file())
            if not inside:
                raise UserError(f"the folder {path} holds no image; image names end in {', '.join(ENDINGS)}")
            files += inside
        elif path.exists():
            files.append(path)
        else:
            raise UserError(f"{path} does not exist; allowed are images and folders with images")
    return files


def picture_files(files: Sequence[Path], folder: Path) -> list[Path]:
    """Return a distinct PNG path for each image. Raises UserError where a PNG would overwrite an input image."""
    pictures: list[Path] = []
    for file in files:
        picture, number = folder / f"{file.stem}.png", 2
        while picture in pictures:
            picture, number = folder / f"{file.stem}_{number}.png", number + 1
        pictures.append(picture)
    images = {file.resolve() for file in files}
    for picture in pictures:
        if picture.resolve() in images:
            raise UserError(f"{picture} is an input image and would be overwritten; choose another folder with --out")
    return pictures


def reading_of(source: Source | None, white: float | None) -> Reading:
    """Return how images are read: as in the data set, if one is given."""
    from scaling_lab.data.images import Reading
    from scaling_lab.data.on_disk import OnDisk

    reading = source.reading if isinstance(source, OnDisk) else Reading()
    return reading if white is None else dataclasses.replace(reading, white=white)


def _annotated_sizes(source: Source | None, files: Sequence[Path]) -> dict[Path, tuple[int, int]]:
    """Return the annotated (height, width) of images of the data set, the pixels of its boxes."""
    from scaling_lab.data.on_disk import OnDisk

    return source.sizes_of(files) if isinstance(source, OnDisk) else {}


def _write(picture: Image.Image, file: Path) -> None:
    with whole_file(file) as made:
        picture.save(made)


# --- classes ---------------------------------------------------------------------------------------------------------


def class_names(options: argparse.Namespace, num_classes: int, own: Sequence[str] | None = None) -> list[str]:
    """Return a name for each class: from the options, else the weights, else COCO's for 90 classes, else numbers.

    Raises UserError for a data set whose classes are not all among the weights' own.
    """
    if options.names is not None:
        return read_names(options.names, num_classes)
    if options.data is not None:
        return _names_of_data(options.data, num_classes, own)
    if own is not None:
        return _shown(own)
    if num_classes == 90:  # released models: class i is COCO's id i + 1
        from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

        return list(FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"])[1:]
    return [f"class {index}" for index in range(num_classes)]


def _names_of_data(text: str, num_classes: int, own: Sequence[str] | None) -> list[str]:
    from scaling_lab.data import parse_source
    from scaling_lab.training.evaluation import class_categories, file_category_id

    source = parse_source(text)
    names = dict(enumerate(source.class_names, 1))
    numbers = class_categories(num_classes, source, own).tolist()
    return _shown(own or [names.get(number) or f"id {file_category_id(number, source)}" for number in numbers])


def _shown(names: Sequence[str]) -> list[str]:
    from scaling_lab.model.weights_file import in_short

    return [in_short(name) for name in names]


# --- one image -------------------------------------------------------------------------------------------------------


def detections(detector: Detector, image: Image.Image, size: tuple[int, int], device: torch.device) -> Detections:
    """Detect objects in an image resized to `size` (height, width). Boxes are in the image's own pixels."""
    import numpy as np
    import torch

    from scaling_lab.data.augmentation import letterbox
    from scaling_lab.data.batches import normalised
    from scaling_lab.detection import detect

    placement = letterbox((image.height, image.width), size)
    height, width = placement.filled
    pixels_BHWC = np.zeros((1, *size, 3), dtype=np.uint8)
    pixels_BHWC[0, :height, :width] = placement.pixels(image)
    pixels_BCHW = torch.from_numpy(pixels_BHWC.transpose(0, 3, 1, 2))
    images_BCHW = normalised(pixels_BCHW, [placement], detector.spec.pixels, device)
    limits_B2 = torch.tensor([[image.height, image.width]], device=device) * placement.scale
    with torch.inference_mode():
        class_logits, box_deltas = detector(images_BCHW)
        (found,) = detect(class_logits, box_deltas, detector.spec, size, limits_B2=limits_B2)
    return dataclasses.replace(found, boxes_D4=found.boxes_D4 / placement.scale)


def _rows(found: Detections, names: Sequence[str], least: float) -> list[dict[str, Any]]:
    rows = []
    values = (found.boxes_D4.tolist(), found.scores_D.tolist(), found.labels_D.tolist())
    for (x0, y0, x1, y1), score, label in zip(*values, strict=True):
        if score >= least:
            rows.append({"bbox": [x0, y0, x1 - x0, y1 - y0], "score": score, "class": label, "name": names[label]})
    return rows


def _drawn(image: Image.Image, rows: Sequence[dict[str, Any]]) -> Image.Image:
    from scaling_lab.cli.drawn_boxes import draw_boxes
    from scaling_lab.report.figures.drawn_boxes import Box

    boxes = [Box(bbox=tuple(row["bbox"]), name=row["name"], series=row["class"], score=row["score"]) for row in rows]
    return draw_boxes(image, boxes)
