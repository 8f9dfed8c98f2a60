"""Image files of every kind become the RGB that they show, as their annotations have them turned, or one message."""

from __future__ import annotations

import io
import random
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from scaling_lab.data.images import BrokenImage, MissingImage, Reading, look_at_image, read_picture
from scaling_lab.errors import UserError

T = Image.Transpose
# How a camera stores an upright picture that it marks with each orientation: the turn that EXIF names, undone.
STORED = {
    1: None, 2: T.FLIP_LEFT_RIGHT, 3: T.ROTATE_180, 4: T.FLIP_TOP_BOTTOM,
    5: T.TRANSPOSE, 6: T.ROTATE_90, 7: T.TRANSVERSE, 8: T.ROTATE_270,
}  # fmt: skip
LOSSLESS = {"png": {}, "webp": {"lossless": True}, "tiff": {"compression": "tiff_lzw"}}


def upright(width: int = 48, height: int = 32) -> Image.Image:
    """Give a picture that no turn leaves as it is: its quarters are red, green, blue and black."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[: height // 2, : width // 2, 0] = 250
    pixels[: height // 2, width // 2 :, 1] = 250
    pixels[height // 2 :, : width // 2, 2] = 250
    return Image.fromarray(pixels)


def stored(image: Image.Image, tag: int) -> Image.Image:
    turn = STORED[tag]
    return image if turn is None else image.transpose(turn)


def exif(tag: int) -> Image.Exif:
    found = Image.Exif()
    found[0x0112] = tag
    return found


def size(image: Image.Image) -> tuple[int, int]:
    return image.height, image.width


def same(one: Image.Image, other: Image.Image, most: int = 0) -> bool:
    if one.size != other.size:
        return False
    return int(np.abs(np.asarray(one).astype(int) - np.asarray(other).astype(int)).max()) <= most


# --- turning ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["jpg", *LOSSLESS])
@pytest.mark.parametrize("tag", STORED)
def test_a_marked_image_is_turned_as_its_annotation_is(tmp_path: Path, ending: str, tag: int) -> None:
    picture, path = upright(), tmp_path / f"a.{ending}"
    raw = stored(picture, tag)
    raw.save(path, exif=exif(tag), **(LOSSLESS.get(ending) or {"quality": 100, "subsampling": 0}))
    decides = tag >= 5
    # (setting, the annotation's size): what is read, and what is said of it.
    cases = {
        ("auto", size(picture)): (picture, "turned" if decides else "turned unasked"),
        ("auto", size(raw)): (raw, "kept") if decides else (picture, "turned unasked"),
        ("auto", None): (picture, "turned" if decides else "turned unasked"),
        ("exif", size(raw)): (picture, "turned"),
        ("raw", size(picture)): (raw, "kept"),
    }
    for (orientation, wanted), (expected, turn) in cases.items():
        reading = Reading(orientation=orientation)
        found = read_picture(path, reading, wanted)
        assert same(found.image, expected, most=12)
        assert found.look.turn == ("" if tag == 1 else turn)
        assert found.look.size == size(found.image)
        assert look_at_image(path, reading, wanted) == found.look


@pytest.mark.parametrize("tag", range(2, 9))
def test_a_square_image_is_turned(tmp_path: Path, tag: int) -> None:
    picture = upright(32, 32)
    stored(picture, tag).save(tmp_path / "a.png", exif=exif(tag))
    found = read_picture(tmp_path / "a.png", Reading(), (32, 32))
    assert found.look.turn == "turned unasked"
    assert same(found.image, picture)


def test_the_orientation_is_found_behind_the_pixels_and_in_xmp(tmp_path: Path) -> None:
    picture = upright()
    data = io.BytesIO()
    stored(picture, 6).save(data, "PNG", exif=exif(6))
    content = data.getvalue()
    start = content.index(b"eXIf") - 4
    end = start + 12 + struct.unpack(">I", content[start : start + 4])[0]
    last = content.index(b"IEND") - 4
    (tmp_path / "late.png").write_bytes(content[:start] + content[end:last] + content[start:end] + content[last:])
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    stored(picture, 6).save(tmp_path / "xmp.jpg", quality=100, subsampling=0, xmp=xmp)
    for name in ("late.png", "xmp.jpg"):
        found = read_picture(tmp_path / name, Reading(), size(picture))
        assert found.look.turn == "turned"
        assert same(found.image, picture, most=12)
        assert look_at_image(tmp_path / name, Reading(), size(picture)) == found.look


def ifd(*entries: bytes, extra: bytes = b"") -> bytes:
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(entries) + b"\0\0\0\0" + extra


SIX = struct.pack("<HHII", 0x0112, 3, 1, 6)
# EXIF that cameras and editors have written, and whether it still says how to turn the image.
DAMAGED = {
    "signed rational": (ifd(SIX, struct.pack("<HHII", 0x9204, 10, 1, 38), extra=struct.pack("<ii", -1, 0)), True),
    "negative rational": (ifd(SIX, struct.pack("<HHII", 0x011A, 10, 1, 38), extra=struct.pack("<ii", -72, 1)), True),
    "text for a number": (ifd(SIX, struct.pack("<HHI4s", 0x0100, 2, 4, b"abc\0")), True),
    "far offset": (ifd(SIX, struct.pack("<HHII", 0x010F, 2, 100, 99999)), True),
    "two headers": (b"Exif\0\0" + ifd(SIX), True),
    "pointer to itself": (ifd(SIX, struct.pack("<HHII", 0x8769, 4, 1, 8)), True),
    "orientation as text": (ifd(struct.pack("<HHI4s", 0x0112, 2, 2, b"6\0\0\0")), False),
    "orientation twice": (ifd(struct.pack("<HHIHH", 0x0112, 3, 2, 6, 6)), True),
    "orientation 99": (ifd(struct.pack("<HHII", 0x0112, 3, 1, 99)), False),
    "garbage": (b"Exif\0\0xxxxxxxxxxxxxxxx", False),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_exif_leaves_the_image_whole(tmp_path: Path, name: str) -> None:
    content, is_known = DAMAGED[name]
    raw = stored(upright(), 6)
    raw.save(tmp_path / "a.jpg", quality=100, subsampling=0, exif=content)
    found = read_picture(tmp_path / "a.jpg", Reading())
    assert same(found.image, upright() if is_known else raw, most=12)
    assert found.look.exif_fails == (not is_known)


# --- depth and modes -------------------------------------------------------------------------------------------------

GREY = np.arange(0, 256, dtype=np.uint8).reshape(8, 32)
WIDE = GREY.astype(np.uint16) * 257
TWELVE = GREY.astype(np.uint16) * 16  # up to 4080 of 4095


@pytest.mark.parametrize("ending", ["png", "tif", "pgm", "jp2"])
def test_sixteen_bits_are_scaled_by_their_range(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.{ending}"
    Image.fromarray(WIDE).save(path)
    found = read_picture(path, Reading())
    assert found.look.deep
    assert np.array_equal(np.asarray(found.image), GREY[..., None].repeat(3, axis=2))
    Image.fromarray(TWELVE).save(path)
    assert np.asarray(read_picture(path, Reading()).image).max() == 16
    scaled = np.asarray(read_picture(path, Reading(white=4080)).image)
    assert np.array_equal(scaled[..., 0], GREY)
    with pytest.raises(
        UserError, match=r"has values from 0 to 4080, but white=255; allowed are values from 0 to white"
    ):
        read_picture(path, Reading(white=255))


def test_a_file_that_states_its_range_is_scaled_by_it(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 2 2 4095\n" + struct.pack(">4H", 0, 1000, 2048, 4095))
    assert np.asarray(read_picture(tmp_path / "a.pgm", Reading()).image)[..., 0].ravel().tolist() == [0, 62, 128, 255]
    Image.fromarray(WIDE).save(tmp_path / "a.tif", tiffinfo={262: 0})  # 0 is white
    inverted = np.asarray(read_picture(tmp_path / "a.tif", Reading()).image)[..., 0]
    assert np.array_equal(inverted, 255 - GREY)


def test_a_twelve_bit_tiff_is_scaled_by_its_bits(tmp_path: Path) -> None:
    tags = {256: 2, 257: 1, 258: 12, 259: 1, 262: 1, 273: 0, 277: 1, 278: 1, 279: 3}
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in sorted(tags.items()))
    pixels = bytes([0xFF, 0xF7, 0xFF])  # 4095 and 2047
    head = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0"
    (tmp_path / "a.tif").write_bytes(head + pixels)
    assert np.asarray(read_picture(tmp_path / "a.tif", Reading()).image)[0, :, 0].tolist() == [255, 127]


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_what_has_no_known_range_needs_white(tmp_path: Path, kind: type) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(GREY.astype(kind)).save(path)
    with pytest.raises(UserError, match=r"a.tif holds .* from 0 to 255, .*set white, as in white=1.0") as caught:
        read_picture(path, Reading())
    assert not isinstance(caught.value, BrokenImage)  # skip_broken would skip all of them
    assert np.array_equal(np.asarray(read_picture(path, Reading(white=255)).image)[..., 0], GREY)


def test_not_a_number_and_negative_values_are_refused(tmp_path: Path) -> None:
    for value in (np.nan, -0.5, 1.5):
        Image.fromarray(np.array([[0, value], [1, 1]], dtype=np.float32)).save(tmp_path / "a.tif")
        with pytest.raises(UserError, match="but white=1; allowed are values from 0 to white"):
            read_picture(tmp_path / "a.tif", Reading(white=1.0))


def test_sixteen_bits_of_colour_keep_the_upper_eight(tmp_path: Path) -> None:
    values = np.array([0, 0x1234, 0xFFFF] * 2, dtype=">u2").tobytes()
    rows = b"".join(b"\0" + values[start : start + 6] for start in (0, 6))
    header = struct.pack(">IIBBBBB", 1, 2, 16, 2, 0, 0, 0)
    with (tmp_path / "a.png").open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, content in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
            PngImagePlugin.putchunk(file, name, content)
    found = read_picture(tmp_path / "a.png", Reading())
    assert found.look.deep
    assert np.asarray(found.image)[0, 0].tolist() == [0, 0x12, 255]
    with pytest.raises(UserError, match=r"16-bit colour.*white=4095 is for grey images"):
        read_picture(tmp_path / "a.png", Reading(white=4095))


def _layers(mode: str) -> Image.Image:
    """Give an image whose left half is opaque red or grey, and whose right half is transparent with other values."""
    image = Image.new("RGBA", (8, 4), (10, 200, 10, 0))
    image.paste((250, 0, 0, 255), (0, 0, 4, 4))
    return image.convert(mode)


def _palette() -> Image.Image:
    image = Image.new("P", (8, 4), 1)
    image.putpalette([250, 0, 0, 10, 200, 10])
    image.paste(0, (0, 0, 4, 4))
    return image


RED, WHITE, GREEN = [250, 0, 0], [255, 255, 255], [10, 200, 10]
# A name, what is written, as what, with which options, and what the left and the right half are then.
MODES: list[tuple[str, Callable[[], Image.Image], str, dict[str, object], list[int], list[int]]] = [
    ("rgba", lambda: _layers("RGBA"), "PNG", {}, RED, WHITE),
    ("rgba webp", lambda: _layers("RGBA"), "WEBP", {"lossless": True}, RED, WHITE),
    ("rgba tiff", lambda: _layers("RGBA"), "TIFF", {}, RED, WHITE),
    ("grey and alpha", lambda: _layers("LA"), "PNG", {}, [75] * 3, WHITE),
    ("palette", _palette, "PNG", {}, RED, GREEN),
    ("palette bmp", _palette, "BMP", {}, RED, GREEN),
    ("palette, one transparent", _palette, "PNG", {"transparency": 1}, RED, WHITE),
    ("palette, alpha of each", _palette, "PNG", {"transparency": b"\xff\x00"}, RED, WHITE),
    ("palette gif", _palette, "GIF", {}, RED, GREEN),
    ("palette gif, transparent", _palette, "GIF", {"transparency": 1}, RED, WHITE),
    ("rgb, one transparent", lambda: _palette().convert("RGB"), "PNG", {"transparency": (10, 200, 10)}, RED, WHITE),
    ("cmyk", lambda: Image.new("CMYK", (8, 4), (0, 255, 255, 5)), "TIFF", {}, RED, RED),
    ("cmyk jpeg", lambda: Image.new("CMYK", (8, 4), (0, 255, 255, 5)), "JPEG", {"quality": 100}, RED, RED),
    ("ycbcr", lambda: Image.new("RGB", (8, 4), (250, 0, 0)).convert("YCbCr"), "JPEG", {"quality": 100}, RED, RED),
    ("one bit", lambda: Image.fromarray(np.arange(8)[None].repeat(4, 0) >= 4), "PNG", {}, [0] * 3, WHITE),
    ("one bit tiff", lambda: Image.fromarray(np.arange(8)[None].repeat(4, 0) >= 4), "TIFF", {}, [0] * 3, WHITE),
]


@pytest.mark.parametrize(
    ("make", "form", "options", "left", "right"), [m[1:] for m in MODES], ids=[m[0] for m in MODES]
)
def test_every_mode_becomes_the_colours_that_it_shows(
    tmp_path: Path,
    make: Callable[[], Image.Image],
    form: str,
    options: dict[str, object],
    left: list[int],
    right: list[int],
) -> None:
    make().save(tmp_path / "a", form, **options)
    pixels = np.asarray(read_picture(tmp_path / "a", Reading()).image).astype(int)
    assert pixels.shape == (4, 8, 3)
    assert np.abs(pixels[1, 1] - left).max() <= 3
    assert np.abs(pixels[1, 6] - right).max() <= 3


def test_a_half_transparent_pixel_is_mixed_with_white(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (200, 0, 0, 128)).save(tmp_path / "a.png")
    assert np.asarray(read_picture(tmp_path / "a.png", Reading()).image)[0, 0].tolist() == [227, 127, 127]


def test_a_transparent_value_of_sixteen_bits_is_white(tmp_path: Path) -> None:
    Image.fromarray(WIDE).save(tmp_path / "a.png", transparency=257 * 7)
    pixels = np.asarray(read_picture(tmp_path / "a.png", Reading()).image)[..., 0]
    assert np.array_equal(pixels, np.where(GREY == 7, 255, GREY))


@pytest.mark.parametrize("form", ["GIF", "TIFF", "PNG", "WEBP"])
def test_of_several_frames_the_first_is_read(tmp_path: Path, form: str) -> None:
    frames = [Image.new("RGB", (8, 4), colour) for colour in ((250, 0, 0), (10, 200, 10))]
    options = {"lossless": True} if form == "WEBP" else {}
    frames[0].save(tmp_path / "a", form, save_all=True, append_images=frames[1:], **options)
    assert np.asarray(read_picture(tmp_path / "a", Reading()).image)[1, 1].tolist() == RED


# --- what cannot be read ---------------------------------------------------------------------------------------------


def _of_twice_the_allowed(path: Path) -> None:
    most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
    Image.new("1", (20_000, most // 20_000 + 1)).save(path)


def test_large_images_are_read_and_too_large_ones_named(tmp_path: Path) -> None:
    Image.new("1", (10_000, 9_000)).save(tmp_path / "large.png")  # Pillow warns from 89 million pixels on
    assert look_at_image(tmp_path / "large.png", Reading()).size == (9_000, 10_000)
    _of_twice_the_allowed(tmp_path / "huge.png")
    with pytest.raises(BrokenImage, match=r"huge.png .*more than 178,956,970 pixels; split"):
        read_picture(tmp_path / "huge.png", Reading())


def test_what_is_no_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingImage, match=r"a.png does not exist"):
        read_picture(tmp_path / "a.png", Reading())
    with pytest.raises(BrokenImage, match="cannot be read as an image: Is a directory"):
        read_picture(tmp_path, Reading())
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(BrokenImage, match="it is damaged or in an unknown format"):
        read_picture(tmp_path / "a.png", Reading())


def _samples() -> dict[tuple[str, str], bytes]:
    """Write a small image in every format and mode that Pillow writes here and reads."""
    Image.init()
    pixels = np.random.default_rng(0).integers(0, 255, (12, 16, 3), dtype=np.uint8)
    grey = pixels[..., 0]
    images = {mode: Image.fromarray(pixels).convert(mode) for mode in ("RGB", "RGBA", "L", "P", "CMYK")}
    images |= {"I;16": Image.fromarray(grey.astype(np.uint16) * 257), "F": Image.fromarray(grey.astype(np.float32))}
    found = {}
    for form in sorted(Image.SAVE):
        for mode, image in images.items():
            for options in ({"exif": exif(6)}, {}):
                data = io.BytesIO()
                try:
                    image.save(data, form, **options)
                    Image.open(io.BytesIO(data.getvalue())).load()
                except Exception:  # Pillow does not write this, or needs another program to read it
                    continue
                found[form, mode] = data.getvalue()
                break
    return found


def _damaged(data: bytes, kind: int, chance: random.Random) -> bytes:
    """Cut the file, write other bytes, write extreme bytes into its header, or repeat or drop a part."""
    damaged = bytearray(data)
    if kind == 0:
        return data[: chance.randrange(len(data))]
    if kind == 1:
        for _ in range(chance.choice((1, 3, 10))):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    elif kind == 2:
        for _ in range(chance.choice((1, 3))):
            damaged[chance.randrange(min(len(damaged), 80))] = chance.choice((0, 1, 127, 128, 255))
    else:
        start = chance.randrange(len(damaged))
        end = start + chance.randrange(1, 40)
        damaged[start:end] = damaged[start:end] * 2 if chance.random() < 0.5 else b""
    return bytes(damaged)


def test_no_damage_raises_anything_but_the_projects_error(tmp_path: Path) -> None:
    samples = _samples()
    assert {"JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "DDS"} <= {form for form, _ in samples}
    causes, messages = set(), []
    for (form, mode), data in samples.items():
        path = tmp_path / f"a.{form.lower()}"
        for number in range(8):
            path.write_bytes(_damaged(data, number % 4, random.Random(f"{form} {mode} {number}")))
            for read in (read_picture, look_at_image):
                try:
                    read(path, Reading())
                except UserError as error:
                    causes.add(type(error.__cause__))
                    messages.append((path, str(error)))
    assert len(causes) > 4
    assert all(re.fullmatch(rf"{re.escape(str(path))} .+", message) for path, message in messages)


# --- settings --------------------------------------------------------------------------------------------------------


def test_settings_that_are_not_allowed_are_named() -> None:
    with pytest.raises(
        UserError, match=r"orientation is 'exfi' \(did you mean 'exif'\?\); allowed are auto, exif, raw"
    ):
        Reading(orientation="exfi")
    with pytest.raises(UserError, match="white is 0; allowed are finite numbers above 0"):
        Reading(white=0)
