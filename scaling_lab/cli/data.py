"""data: what is in a data set, in numbers and in a picture."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_lab.cli.console import text_table
from scaling_lab.cli.parsing import add_verb
from scaling_lab.errors import UserError

if TYPE_CHECKING:
    from scaling_lab.data import Source

SHEET = Path("data_sheet.png")
SPLITS = ("train", "val")
MOST_NAMED = 5

Summaries = Mapping[str, Mapping[str, Any]]


def add_verbs(verbs: Any) -> None:
    """Add it to the parser."""
    data = add_verb(
        verbs,
        "data",
        _data,
        "show what is in a data set; the exit code is 1 where training would stop at it",
        "data shapes",
        "data /data/coco --sheet coco.png",
        "data voc:VOCdevkit/VOC2012,val=trainval --split val --check-images",
        "data coco:/data/mine,train=train,val=valid --no-sheet --json",
    )
    data.add_argument("data", help="a folder, shapes, coco:DIR or voc:DIR; fields follow after commas")
    data.add_argument("--sheet", type=Path, default=SHEET, metavar="FILE", help=f"the contact sheet to write ({SHEET})")
    data.add_argument("--no-sheet", action="store_true", help="write no contact sheet")
    data.add_argument("--split", choices=SPLITS, default="train", help="whose images the sheet shows (train)")
    data.add_argument("--images", type=int, default=12, help="how many images the sheet shows, at most (12)")
    data.add_argument("--image-size", type=int, default=512, metavar="PIXELS", help="what levels are told for (512)")
    data.add_argument(
        "--check-images", action="store_true", help="read every image, and name those that cannot be used"
    )


def _data(options: argparse.Namespace) -> int:
    from scaling_lab.data.recognition import find_source
    from scaling_lab.data.summary import summarize

    for name, value in (("--images", options.images), ("--image-size", options.image_size)):
        if value < 1:
            raise UserError(f"{name} is {value}; allowed are whole numbers from 1")
    source = find_source(options.data)
    summaries = {split: summarize(source, split, options.image_size) for split in SPLITS}
    broken = sorted(_broken(source, options.json)) if options.check_images else []
    sheet = None if options.no_sheet else options.sheet
    if sheet is not None:
        broken += [line for line in _write_sheet(source, options) if line not in broken]
    if options.json:
        print(
            json.dumps(
                {"data": source.to_dict(), **summaries, "broken_images": broken, "sheet": sheet}, indent=1, default=str
            )
        )
    else:
        print(_text(source, summaries, options.image_size))
        remarks = [*_remarks(summaries), *_broken_words(broken, options.check_images)]
        print("\n".join(["", *remarks, *([] if sheet is None else [f"contact sheet: {sheet}"])]))
    outside = any(summary["outside"] for summary in summaries.values()) and not getattr(source, "cut_boxes", False)
    return 1 if broken or outside else 0


def _write_sheet(source: Source, options: argparse.Namespace) -> list[str]:
    from scaling_lab.cli.sheet import contact_sheet

    picture, broken = contact_sheet(source, options.split, options.images)
    try:
        picture.save(options.sheet)
    except (OSError, ValueError) as error:
        raise UserError(f"--sheet is {options.sheet}, which cannot be written: {error}") from None
    return broken


def _broken(source: Source, quiet: bool) -> Iterator[str]:
    """Read every image from disk; give what is wrong with each that is not as it must be."""
    from scaling_lab.data.shapes import Shapes
    from scaling_lab.data.summary import annotations_of

    if isinstance(source, Shapes):
        return
    for split in SPLITS:
        entries = annotations_of(source, split).entries
        for done, entry in enumerate(entries, 1):
            try:
                source.image(split, entry)
            except UserError as error:
                yield str(error)
            if sys.stderr.isatty() and not quiet and (done % 100 == 0 or done == len(entries)):
                end = "\n" if done == len(entries) else ""
                print(f"\r{split}: {done} of {len(entries)} images", end=end, file=sys.stderr, flush=True)


# --- in words --------------------------------------------------------------------------------------------------------


def _text(source: Source, summaries: Summaries, image_size: int) -> str:
    """Write the counts of both splits, and those of the classes."""
    rows = [["", *(getattr(source, split, split) for split in SPLITS)]]

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
    add("objects", "objects")
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
    levels = f"sizes in the images' own pixels, levels at {image_size} px with the default anchors"
    return f"{_title(source, summaries)}\n\n{text_table(rows)}\n({levels})\n\n{text_table(classes)}"


def _title(source: Source, summaries: Summaries) -> str:
    return f"{source.kind} {getattr(source, 'folder', '')}".rstrip() + f", {len(summaries['train']['classes'])} classes"


def _remarks(summaries: Summaries) -> Iterator[str]:
    """Say what a reader should know before training."""
    for split, without in zip(SPLITS, ("cannot be learned", "have no AP"), strict=True):
        empty = summaries[split]["empty_classes"]
        if empty:
            yield f"classes without any object in {split}, which {without}: {', '.join(empty)}"
    ids = summaries["train"]["category_ids"]
    if min(ids) < 1:
        yield (
            f"category ids start at {min(ids)}: class i of a detector is the i-th of them, as long as it has as many classes; "
            "released weights, whose class i is id i + 1, do not fit"
        )
    for split in SPLITS:
        outside = summaries[split]["outside"]
        yield from outside[:MOST_NAMED]
        if len(outside) > MOST_NAMED:
            yield f"{len(outside) - MOST_NAMED} more boxes of {split} are outside their images"
    if any(summaries[split]["outside"] for split in SPLITS):
        yield "training refuses boxes more than a pixel outside their image; cut_boxes cuts them off"


def _broken_words(broken: list[str], checked: bool) -> list[str]:
    more = [f"{len(broken) - MOST_NAMED} more images cannot be used"] if len(broken) > MOST_NAMED else []
    advice = (
        ["training stops at such an image; skip_broken leaves out what is missing or unreadable, among training images"]
        if broken
        else []
    )
    return ["all images can be used"] if checked and not broken else [*broken[:MOST_NAMED], *more, *advice]
