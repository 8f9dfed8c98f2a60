"""data: summary of a data set, as numbers and as a contact sheet."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_lab.cli.console import text_table
from scaling_lab.cli.fitted_anchors import as_values, proposal
from scaling_lab.cli.parsing import add_verb
from scaling_lab.cli.specs import DETECTOR_HELP, detector_named
from scaling_lab.errors import UserError, printable
from scaling_lab.files import check_writable, whole_file

if TYPE_CHECKING:
    from scaling_lab.architecture.spec import DetectorSpec
    from scaling_lab.data import Source
    from scaling_lab.data.duplicates import Copies
    from scaling_lab.data.looking import Files

SHEET = Path("data_sheet.png")
SPLITS = ("train", "val")
MOST_NAMED = 5
IMAGE_SIZE, DETECTOR = 512, "d0"
_KINDS = ("BMP", "GIF", "JPEG", "PDF", "PNG", "TIFF", "WEBP")  # formats of a contact sheet, by Pillow's names

Summaries = Mapping[str, dict[str, Any]]


def add_verbs(verbs: Any) -> None:
    """Add the verb to the parser."""
    data = add_verb(
        verbs,
        "data",
        _data,
        "summarise and check a data set; exit code 1 if training on it would fail",
        "data shapes",
        "data /data/coco --sheet coco.png",
        "data /data/export,val_fraction=0.2",
        "data voc:VOCdevkit/VOC2012,val=trainval --split val --check-images",
        "data coco:/data/mine,train=train,val=valid --no-sheet --json",
        "data /data/faces --fit-anchors --image-size 320",
    )
    data.add_argument("data", help="shapes, or a folder, with fields after commas")
    data.add_argument("--sheet", type=Path, default=SHEET, metavar="FILE", help=f"the contact sheet to write ({SHEET})")
    data.add_argument("--no-sheet", action="store_true", help="write no contact sheet")
    data.add_argument("--split", choices=SPLITS, default="train", help="the split shown on the sheet (train)")
    data.add_argument("--images", type=int, default=12, help="the most images on the sheet (12)")
    data.add_argument(
        "--image-size",
        type=int,
        metavar="PIXELS",
        help="input size for the counts by level and for --fit-anchors (the detector's; 512)",
    )
    data.add_argument("--check-images", action="store_true", help="decode every image and list the unusable ones")
    data.add_argument("--fit-anchors", action="store_true", help="propose anchors that fit the training boxes")
    data.add_argument("--detector", help=f"the detector that --fit-anchors is for ({DETECTOR}): {DETECTOR_HELP}")


def _data(options: argparse.Namespace) -> int:
    from scaling_lab.data import parse_source
    from scaling_lab.data.anchor_fitting import compared
    from scaling_lab.data.summary import copies_of, summarize

    for name, value in (("--images", options.images), ("--image-size", options.image_size)):
        if value is not None and value < 1:
            raise UserError(f"{name} is {value}; allowed are whole numbers from 1")
    spec = _detector(options)
    image_size = max(spec.image_size) if spec is not None else options.image_size or IMAGE_SIZE
    source = parse_source(options.data)
    fitted = None if spec is None else compared(source, spec)
    summaries = {split: summarize(source, split, image_size) for split in SPLITS}
    copies = copies_of(source)
    for split, groups in copies.within.items():
        summaries[split]["images_twice"] = sum(len(group) - 1 for group in groups)
    files = _files(source, options)
    broken = sorted(line for each in files.values() for line in each.unusable) if options.check_images else []
    sheet = None if options.no_sheet else options.sheet
    if sheet is not None:
        broken += [line for line in _write_sheet(source, options) if line not in broken]
    if options.json:
        print(
            json.dumps(
                {
                    "data": source.to_dict(),
                    "remarks": source.remarks(),
                    **summaries,
                    "files": {split: dataclasses.asdict(each) for split, each in files.items()},
                    "images_in_both": len(copies.across),
                    "broken_images": broken,
                    "sheet": sheet,
                    **({} if fitted is None else {"fitted_anchors": as_values(*fitted)}),
                },
                indent=1,
                default=str,
            )
        )
    else:
        print(_text(source, summaries, image_size))
        remarks = [
            *source.remarks(),
            *_remarks(source, summaries),
            *_copy_words(source, copies),
            *_file_remarks(source, files, options.check_images),
            *_broken_words(source, broken, options.check_images),
        ]
        print("\n".join(["", *remarks, *([] if sheet is None else [f"contact sheet: {sheet}"])]))
        if fitted is not None:
            detector = [options.detector or DETECTOR]
            if options.image_size is not None:
                detector += ["--image-size", str(options.image_size)]
            print(f"\n{proposal(*fitted, detector=detector, data=options.data)}")
    refused = any(summary["misread"] for summary in summaries.values())
    refused |= any(summary["outside"] for summary in summaries.values()) and not getattr(source, "cut_boxes", False)
    return 1 if broken or refused else 0


def _detector(options: argparse.Namespace) -> DetectorSpec | None:
    """Return the detector that anchors are to be fitted for, at the chosen image size; None without --fit-anchors."""
    if not options.fit_anchors:
        if options.detector is not None:
            raise UserError(
                f"--detector is {options.detector}, which is used by --fit-anchors alone; add --fit-anchors"
            )
        return None
    spec = detector_named(options.detector or DETECTOR)
    size = options.image_size
    return spec if size is None else dataclasses.replace(spec, image_size=(size, size))


def _write_sheet(source: Source, options: argparse.Namespace) -> list[str]:
    from scaling_lab.cli.sheet import contact_sheet

    _check_sheet(options.sheet)
    picture, broken = contact_sheet(source, options.split, options.images)
    with whole_file(options.sheet) as made:
        picture.save(made)
    return broken


def _check_sheet(path: Path) -> None:
    """Check that Pillow can write the file's format. Raises UserError."""
    from PIL import Image

    endings = sorted(ending for ending, kind in Image.registered_extensions().items() if kind in _KINDS)
    if path.suffix.lower() not in endings:
        raise UserError(f"--sheet is {path}; allowed is an image file that ends in {', '.join(endings)}")
    check_writable(path)


def _files(source: Source, options: argparse.Namespace) -> dict[str, Files]:
    """Check each split's image files, or only their headers. Empty for data generated on the fly."""
    from scaling_lab.data.looking import look_through
    from scaling_lab.data.on_disk import OnDisk
    from scaling_lab.data.summary import annotations_of

    if not isinstance(source, OnDisk):
        return {}
    found = {}
    for split in SPLITS:

        def tick(done: int, count: int, split: str = split) -> None:
            if sys.stderr.isatty() and not options.json and (done % 100 == 0 or done == count):
                end = "\n" if done == count else ""
                print(f"\r{split}: {done} of {count} images", end=end, file=sys.stderr, flush=True)

        entries = annotations_of(source, split).entries
        found[split] = look_through(source, split, entries, decode=options.check_images, tick=tick)
    return found


# --- text ------------------------------------------------------------------------------------------------------------


def _text(source: Source, summaries: Summaries, image_size: int) -> str:
    """Format the counts of both splits and of the classes."""
    rows = [["", *map(source.split_name, SPLITS)]]

    def add(words: str, *path: str) -> None:
        row = [words]
        for split in SPLITS:
            value: Any = summaries[split]
            for name in path:
                value = value[name]
            row.append(f"{len(value) if isinstance(value, list) else value:,}")
        rows.append(row)

    add("images", "images")
    add("  without an object", "images_without_object")
    add("  duplicates within the split", "images_twice")
    add("objects", "objects")
    add("  most in one image", "most_objects")
    add("  duplicates, same box and class", "twice")
    add("  small, below 32 x 32 px", "sizes", "small")
    add("  medium", "sizes", "medium")
    add("  large, from 96 x 96 px", "sizes", "large")
    for level in summaries["train"]["levels"]:
        add(f"  best anchor at {level}", "levels", level)
    add("  no anchor with IoU .5", "no_anchor")
    add("  without area, not trained on", "without_area")
    add("crowds, not trained on", "crowds")
    add("boxes outside their image", "outside")
    for words in ("smallest", "median", "largest"):
        sizes = [summaries[split]["image_sizes"][words] for split in SPLITS]
        rows.append([f"{words} image, px", *(f"{width} x {height}" for width, height in sizes)])
    classes = [["id", "class", *rows[0][1:]]]
    for id_, name in zip(summaries["train"]["category_ids"], summaries["train"]["classes"], strict=True):
        classes.append([str(id_), name, *(f"{summaries[split]['classes'][name]:,}" for split in SPLITS)])
    levels = f"sizes in the images' own pixels, levels at {image_size} px with the default anchors; points have none"
    return f"{source.describe()}\n\n{text_table(rows)}\n({levels})\n\n{text_table(classes)}"


def _remarks(source: Source, summaries: Summaries) -> Iterator[str]:
    """Yield warnings about the data set."""
    from scaling_lab.data.accuracies import MOST_DETECTIONS

    for split in SPLITS:
        if summaries[split]["misread"]:
            yield f"{source.split_name(split)}: {summaries[split]['misread']}; training refuses them"
    for split, without in zip(SPLITS, ("cannot be learned", "have no AP"), strict=True):
        empty = summaries[split]["empty_classes"]
        if empty:
            yield f"classes without any object in {split}, which {without}: {', '.join(empty)}"
    for split in SPLITS:
        if summaries[split]["twice"]:
            yield f"{source.split_name(split)} has {summaries[split]['twice']:,} duplicate boxes: same image, class and sides"
    ids = summaries["train"]["category_ids"]
    if min(ids) < 1:
        yield (
            f"category ids start at {min(ids)}: class i of a detector is the i-th id if the number of classes matches; "
            "released weights expect id i + 1 for class i and do not fit"
        )
    most = summaries["val"]["most_objects"]
    if most > MOST_DETECTIONS:
        yield (
            f"an image of {source.split_name('val')} has {most:,} objects: a detector gives {MOST_DETECTIONS} detections "
            f"an image and COCO's AP counts {MOST_DETECTIONS} a class, so not all can be found"
        )
    if any(summary["misread"] for summary in summaries.values()):
        return
    for split in SPLITS:
        outside = summaries[split]["outside"]
        yield from outside[:MOST_NAMED]
        if len(outside) > MOST_NAMED:
            yield f"{len(outside) - MOST_NAMED} more boxes of {source.split_name(split)} lie outside their images"
    if any(summaries[split]["outside"] for split in SPLITS) and not getattr(source, "cut_boxes", False):
        yield (
            f"training refuses boxes more than a pixel outside their image; {_with(source, 'cut_boxes')} cuts them off"
        )


def _file_remarks(source: Source, files: Mapping[str, Files], checked: bool) -> Iterator[str]:
    for split, each in files.items():
        yield from each.remarks(source.split_name(split))
        if each.unusable and not checked:
            yield f"{len(each.unusable):,} images of {source.split_name(split)} cannot be used; --check-images names them"


def _copy_words(source: Source, copies: Copies) -> Iterator[str]:
    """Yield a warning for duplicate images within and across splits, each with an example."""

    from scaling_lab.data.summary import annotations_of

    def name(split: str, place: int) -> str:
        return printable(annotations_of(source, split).images.names[place])

    for split, groups in copies.within.items():
        if groups:
            first, second = groups[0][:2]
            count = sum(len(group) - 1 for group in groups)
            example = f"{name(split, first)} and {name(split, second)}"
            yield f"{source.split_name(split)} holds {count:,} duplicate images, such as {example}"
    if copies.across:
        train, val = copies.across[0]
        yield (
            f"{len(copies.across):,} held-out images are also in {source.split_name('train')}, such as {name('val', val)} "
            f"(there {name('train', train)}): their AP does not measure generalisation"
        )


def _broken_words(source: Source, broken: list[str], checked: bool) -> list[str]:
    if not broken:
        return ["all images can be used"] if checked else []
    more = [f"{len(broken) - MOST_NAMED} more images cannot be used"] if len(broken) > MOST_NAMED else []
    advice = f"training stops at such an image; {_with(source, 'skip_broken')} skips them in training"
    return [*broken[:MOST_NAMED], *more, advice]


def _with(source: Source, flag: str) -> str:
    """Return the --data text with a flag set."""
    return f"--data {source.kind}:{getattr(source, 'folder', '')},{flag}=true"
