"""Reads image files as RGB, oriented like their annotations. Errors are one line with the file's name.

Orientation. Cameras store the sensor's pixels and note the rotation in EXIF (or XMP, or a TIFF tag). Annotation tools may
show and annotate the rotated image or the stored one. `Reading` sets which is used.

Pixels become uint8 as follows; ICC profiles are not applied.
    1 bit, grey, palette, YCbCr, CMYK    by Pillow's conversion
    with transparency                    composited on white
    grey of 16 bits                      0 .. 65535 becomes 0 .. 255; TIFF of 12 bits and PGM: the file's own range
    colour of 16 bits                    the upper 8 bits
    grey of 32 bits, float               an error, since the range is unknown; `white` sets it
    several frames                       the first one
"""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from scaling_lab.checks import Fields, check_number, near
from scaling_lab.errors import UserError, first_line

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageFile import ImageFile

Size = tuple[int, int]
# How an image with an orientation tag was read; "unasked" where the annotation's size fits either way.
Turn = Literal["", "turned", "turned unasked", "kept"]

ORIENTATIONS = ("auto", "exif", "raw")
_ORIENTATION = 0x0112
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS, _TIFF_PHOTOMETRIC = 256, 257, 258, 262
# The orientations that are not upright, and the first that swaps width and height.
_TURNED, _FIRST_ON_ITS_SIDE = range(2, 9), 5
# Pillow decodes a PNG to find chunks after its pixels; a scan of the last bytes shows whether it must.
_PNG_MARKS, _PNG_TAIL = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp"), 2**18
_DEEP_COLOURS = ("RGB;16", "RGBA;16", "RGBX;16", "RGBXX;16", "LA;16", "CMYK;16")


class BrokenImage(UserError):
    """An image file is missing, truncated or not an image. `skip_broken` skips it."""


class MissingImage(BrokenImage):
    """An image file does not exist."""


@dataclass(frozen=True, kw_only=True)
class Reading(Fields):
    """How image files are read.
    `orientation` "auto": the annotation's width and height decide whether an image is rotated; where they cannot (square,
    mirrored or upside-down images, or no annotation), it is rotated by its tag. "exif": every image is rotated by its tag.
    "raw": none is. `white` is the value of 16-bit, 32-bit and float grey images that becomes 255; 0 becomes 0.
    """

    orientation: str = "auto"
    white: float | None = None

    def __post_init__(self) -> None:
        if self.orientation not in ORIENTATIONS:
            raise UserError(
                f"orientation is {self.orientation!r}{near(self.orientation, ORIENTATIONS)}; "
                f"allowed are {', '.join(ORIENTATIONS)}"
            )
        if self.white is not None:
            check_number("white", self.white, above=0)

    def decide(self, tag: int, stored: Size, wanted: Size | None) -> Turn:
        """Return how to read an image with an orientation of 1 to 8 whose annotated size is `wanted`."""
        if tag not in _TURNED:
            return ""
        upright = stored[::-1] if tag >= _FIRST_ON_ITS_SIDE else stored
        if self.orientation == "raw" or (self.orientation == "auto" and wanted == stored != upright):
            return "kept"
        return "turned unasked" if self.orientation == "auto" and upright == stored else "turned"


@dataclass(frozen=True)
class Look:
    """An image's header: (height, width) as read, its rotation, and whether it has 16 bits or more.

    `exif_fails`: the orientation is unreadable, so the image is read as stored.
    """

    size: Size
    turn: Turn
    deep: bool
    exif_fails: bool


@dataclass(frozen=True)
class Picture:
    """An image as RGB uint8, and its header."""

    image: Image.Image
    look: Look


def look_at_image(path: Path, reading: Reading, size: Size | None = None) -> Look:
    """Read an image's header. `size` is the annotation's (height, width). Raises BrokenImage."""
    with _decoding(path) as file:
        may_be_turned = file.format != "PNG" or "exif" in file.info or _may_turn_at_its_end(path)
        return _look(file, reading, size, may_be_turned=may_be_turned)[0]


def read_picture(path: Path, reading: Reading, size: Size | None = None) -> Picture:
    """Read an image. `size` is the annotated (height, width), which may decide the rotation; the image may differ.

    Raises BrokenImage for any error of a decoder, and UserError for values whose range is unknown or not as given.
    """
    with _decoding(path) as file:
        look, tag = _look(file, reading, size)
        image = _rgb(file, path, reading.white, is_deep=look.deep)
        # Pillow rotates only TIFF files when it decodes them.
        is_turned, shall_be = file.format == "TIFF", look.turn.startswith("turned")
        if tag in _TURNED and is_turned != shall_be:
            image = image.transpose(_transposes()[tag if shall_be else _undo(tag)])
        image.info = _kept(file)
        # The header of an ICO or ICNS file may give another size than the image in it.
        return Picture(image, dataclasses.replace(look, size=(image.height, image.width)))


@contextmanager
def _decoding(path: Path) -> Iterator[ImageFile]:
    """Open an image. Any error, a decoder's included, becomes a BrokenImage."""
    from PIL import Image

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as file:
            yield file
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, FileNotFoundError) and not path.exists():
            raise MissingImage(f"{path} does not exist") from error
        raise BrokenImage(f"{path} cannot be read as an image: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    allowed = "allowed is a complete file in a format that Pillow reads"
    if isinstance(error, UnidentifiedImageError):
        return f"it is damaged or in an unknown format; {allowed}"
    if isinstance(error, Image.DecompressionBombError):
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        return f"it has more than {most:,} pixels; split or shrink it"
    if isinstance(error, MemoryError):
        return "there is not enough memory for it"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    # Messages of these types are informative; others, such as "7" of a KeyError, are not.
    says = isinstance(error, (OSError, SyntaxError, ValueError)) and str(error).strip()
    return f"{first_line(error) if says else f'{type(error).__name__}: {first_line(error)}'}; {allowed}"


# --- orientation -----------------------------------------------------------------------------------------------------


def _orientation(file: ImageFile) -> tuple[int, bool]:
    """Return the orientation (1 if none), and whether it is unreadable, as it may be in an intact image."""
    from PIL.Image import Exif

    if file.format == "PNG":
        file.load()  # otherwise a broken image would look like broken EXIF
    try:
        exif = file.getexif()
        if not exif and file.info.get("exif"):
            Exif().load(file.info["exif"])  # Pillow ignores EXIF errors when it opens the file
        tag = exif.get(_ORIENTATION, 1)
    except Exception:  # damaged EXIF does not affect pixels
        return 1, True
    is_tag = isinstance(tag, int) and 0 <= tag <= _TURNED[-1]  # 0 is written for "unknown"
    return (tag, False) if is_tag else (1, True)


def _look(file: ImageFile, reading: Reading, size: Size | None, *, may_be_turned: bool = True) -> tuple[Look, int]:
    """Return the header's content, and the orientation."""
    is_deep, stored = _is_deep(file), _stored_size(file)  # read first: both are lost once the pixels are decoded
    tag, fails = _orientation(file) if may_be_turned else (1, False)
    turn = reading.decide(tag, stored, size)
    turns_sides = tag >= _FIRST_ON_ITS_SIDE and turn.startswith("turned")
    return Look(stored[::-1] if turns_sides else stored, turn, is_deep, fails), tag


def _stored_size(file: ImageFile) -> Size:
    """Return (height, width) as stored; for TIFF, Pillow gives the rotated size."""
    tags = getattr(file, "tag_v2", {}) if file.format == "TIFF" else {}
    return tags.get(_TIFF_HEIGHT, file.height), tags.get(_TIFF_WIDTH, file.width)


def _transposes() -> dict[int, Image.Transpose]:
    """Return the operation that makes an image upright, by orientation (EXIF 2.32, 4.6.5.1.6, as in PIL.ImageOps)."""
    from PIL.Image import Transpose

    return {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }


def _undo(tag: int) -> int:
    """Return the inverse orientation: each is its own inverse, except quarter turns."""
    return {6: 8, 8: 6}.get(tag, tag)


def _may_turn_at_its_end(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-min(path.stat().st_size, _PNG_TAIL), os.SEEK_END)
        tail = file.read()
    return any(mark in tail for mark in _PNG_MARKS)


def _kept(file: ImageFile) -> dict[Any, Any]:
    """Return the info for a copy of the image, without EXIF, which would rotate it again."""
    profile = file.info.get("icc_profile") if file.mode.startswith("RGB") else None
    return {} if profile is None else {"icc_profile": profile}


# --- pixels ----------------------------------------------------------------------------------------------------------


def _rgb(file: ImageFile, path: Path, white: float | None, *, is_deep: bool) -> Image.Image:
    """Convert the file's pixels to RGB uint8."""
    from PIL import Image

    if _is_deep_grey(file):
        return Image.fromarray(_scaled(file, path, white)).convert("RGB")
    if white is not None and is_deep:
        raise UserError(f"{path} has 16-bit colour, read as its upper 8 bits; white={white:g} is for grey images only")
    if not file.has_transparency_data:
        file.load()
        return file if file.mode == "RGB" else file.convert("RGB")  # conversion of RGB would copy it
    layer = file.convert("RGBA")
    image = Image.new("RGB", layer.size, "white")
    image.paste(layer, mask=layer.getchannel("A"))
    return image


def _scaled(file: ImageFile, path: Path, white: float | None) -> np.ndarray:
    """Scale grey values of any depth to uint8 (height, width)."""
    # Before the pixels are read, since decoding drops TIFF tags.
    most, is_inverted = white or _range(file), _is_inverted(file)
    values = np.asarray(file)
    low, high = float(values.min()), float(values.max())
    if most is None:
        kind = "floating-point numbers" if file.mode == "F" else "32-bit or signed integers"
        raise UserError(
            f"{path} holds {kind} from {low:g} to {high:g}, with unknown white; set white, as in white=1.0, "
            "or convert the images to 8 bits"
        )
    if not (low >= 0 and high <= most):  # also catches NaN
        said = f"white={white:g}" if white else f"its file gives white as {most:g}"
        raise UserError(f"{path} has values from {low:g} to {high:g}, but {said}; allowed are values from 0 to white")
    grey = np.rint(values * np.float32(255 / most)).astype(np.uint8)
    if is_inverted:
        grey = 255 - grey
    transparent = file.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return grey


def _range(file: ImageFile) -> float | None:
    """Return the value of white, if the type or the file defines it."""
    if file.format == "PPM":
        return 65535  # Pillow scales by the file's own largest value
    if not file.mode.startswith("I;16"):
        return None
    bits = getattr(file, "tag_v2", {}).get(_TIFF_BITS, (16,))
    return float(2 ** bits[0] - 1)


def _is_inverted(file: ImageFile) -> bool:
    """Whether 0 is white (TIFF 6.0, PhotometricInterpretation 0): Pillow inverts 8 bits and less, but not 16."""
    return file.mode.startswith("I;16") and getattr(file, "tag_v2", {}).get(_TIFF_PHOTOMETRIC) == 0


def _is_deep_grey(file: ImageFile) -> bool:
    return file.mode in ("I", "F") or file.mode.startswith("I;16")


def _is_deep(file: ImageFile) -> bool:
    """Return whether the file has more than 8 bits a channel; for colours Pillow drops the lower bits."""
    if _is_deep_grey(file):
        return True
    raw = [part for tile in file.tile for part in (tile.args if isinstance(tile.args, tuple) else (tile.args,))]
    return any(isinstance(part, str) and part.startswith(_DEEP_COLOURS) for part in raw)
