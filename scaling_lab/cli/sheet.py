"""A contact sheet: images of a data set with their boxes and class names, as one picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.font_manager import findfont, get_font
from PIL import Image, ImageDraw, ImageFont

from scaling_lab.cli.drawn_boxes import draw_boxes
from scaling_lab.data import Source
from scaling_lab.data.columns import Objects
from scaling_lab.data.entries import Annotations
from scaling_lab.data.scenes import NATIVE_SIZE
from scaling_lab.data.shapes import Shapes
from scaling_lab.data.summary import annotations_of
from scaling_lab.errors import UserError, printable
from scaling_lab.report.figures.drawn_boxes import Box

# In pixels.
CELL, GAP, LINE, TEXT = 320, 8, 18, 11
COLUMNS = 4
LONGEST_NAME = 30

_FONT = "DejaVu Sans"
_PAPER, _INK, _BROKEN = "#ffffff", "#10151d", "#dedede"


def contact_sheet(source: Source, split: str, most: int) -> tuple[Image.Image, list[str]]:
    """Draw up to `most` evenly spaced images with objects. Return the sheet and the errors of unusable images."""
    found = annotations_of(source, split)
    full = np.unique(found.objects.image).tolist() or [0]
    chosen = [full[place * len(full) // most] for place in range(most)] if len(full) > most else full
    broken: list[str] = []
    cells: list[tuple[Image.Image, str]] = []
    for index in chosen:
        entry = found.entries[index]
        try:
            objects = found.objects.taken(found.objects.image == index)
            cell = _drawn(_picture(source, split, index, found), objects, found.class_names)
        except UserError as error:
            broken.append(str(error))
            cell = Image.new("RGB", _cell_size((entry.size[1], entry.size[0])), _BROKEN)
            middle = (cell.width / 2, cell.height / 2)
            ImageDraw.Draw(cell).text(middle, "cannot be used", _INK, _font(), anchor="mm")
        cells.append((cell, f"{printable(entry.file_name)}, {entry.size[1]} x {entry.size[0]}"))
    title = f"{len(chosen)} of {len(found.entries)} images of {source.split_name(split)}"
    return _arranged(cells, title), broken


def _arranged(cells: list[tuple[Image.Image, str]], title: str) -> Image.Image:
    """Arrange cells in rows as high as their highest cell, each with a caption below."""
    columns = min(COLUMNS, len(cells))
    rows = [cells[start : start + columns] for start in range(0, len(cells), columns)]
    heights = [max(cell.height for cell, _ in row) + LINE + GAP for row in rows]
    sheet = Image.new("RGB", (GAP + columns * (CELL + GAP), GAP + LINE + sum(heights)), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((GAP, GAP / 2), title, _INK, _font())
    for number, row in enumerate(rows):
        top = GAP + LINE + sum(heights[:number])
        for column, (cell, caption) in enumerate(row):
            left = GAP + column * (CELL + GAP)
            sheet.paste(cell, (left, top))
            pen.text((left, top + cell.height + 2), _shortened(caption), _INK, _font())
    return sheet


def _picture(source: Source, split: str, index: int, found: Annotations) -> Image.Image:
    if not isinstance(source, Shapes):
        return source.image(split, found.entries[index])
    from scaling_lab.data.rendering import render

    return Image.fromarray(render([source.scene(split, index)], NATIVE_SIZE)[0].permute(1, 2, 0).numpy())


def _drawn(image: Image.Image, objects: Objects, class_names: Sequence[str]) -> Image.Image:
    scale, size = CELL / max(image.size), _cell_size(image.size)
    boxes = []
    for bbox, place, is_crowd in zip(objects.bbox.tolist(), objects.label.tolist(), objects.crowd, strict=True):
        x, y, width, height = (side * scale for side in bbox)
        left, top = min(max(0.0, x), size[0] - 1.0), min(max(0.0, y), size[1] - 1.0)
        right, bottom = max(left, min(x + width, size[0])), max(top, min(y + height, size[1]))
        name = _drawable(class_names[place], place + 1)
        text = f"{name} (crowd)" if is_crowd else name
        boxes.append(Box(bbox=(left, top, right - left, bottom - top), name=text, series=place, score=None))
    return draw_boxes(image.resize(size), boxes)


def _cell_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return (width, height) of an image in its cell."""
    scale = CELL / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _shortened(text: str) -> str:
    """Shorten a wide caption from the left, since file names differ at the end."""
    whole, start = text, 0
    while _font().getlength(text) > CELL:
        start += 1
        text = f"…{whole[start:]}"
    return text


def _drawable(name: str, number: int) -> str:
    """Return a class name, shortened if long, or its number where the font lacks a character."""
    if not all(get_font(findfont(_FONT)).get_char_index(ord(letter)) for letter in name):
        return f"id {number}"
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(findfont(_FONT), TEXT)
