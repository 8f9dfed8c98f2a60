"""Checks the image files of a split: which are rotated, have more than 8 bits, or cannot be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from scaling_lab.data.entries import Entry
from scaling_lab.data.images import Look
from scaling_lab.data.on_disk import OnDisk
from scaling_lab.errors import UserError

# The most headers that are read of a split where images are not decoded.
MOST_HEADERS = 2000


@dataclass(frozen=True, kw_only=True)
class Files:
    """Counts of a split's image files.

    `turned` are rotated by EXIF, `turned_unasked` those among them whose annotated size does not decide it, `kept` those
    read as stored despite EXIF. `exif_fails` have an unreadable orientation. `deep` have more than 8 bits a channel;
    `brightest` is their largest value after conversion, 0 to 255, where decoded. `unusable` has a line for each image that
    cannot be used.
    """

    images: int
    looked_at: int
    turned: int
    turned_unasked: int
    kept: int
    exif_fails: int
    deep: int
    brightest: int | None
    unusable: list[str]

    def remarks(self, split: str) -> Iterator[str]:
        """Yield warnings about the image files."""
        of = f"of {self.looked_at:,} images of {split}"
        if self.looked_at < self.images:
            of += f" (checked, of {self.images:,})"
        if self.turned:
            unasked = f", {self.turned_unasked:,} of them although the annotated size fits both ways"
            yield f"{self.turned:,} {of} are rotated by their EXIF tag{unasked if self.turned_unasked else ''}"
        if self.kept:
            yield f"{self.kept:,} {of} have a rotation in EXIF but are read as stored, as annotated or by orientation=raw"
        if self.kept and self.turned_unasked:
            yield f"{split} seems to be annotated as stored; orientation=raw rotates no image"
        if self.exif_fails:
            yield f"{self.exif_fails:,} {of} have unreadable EXIF and are read as stored"
        if self.brightest is not None and self.brightest <= 64:
            yield (
                f"{self.deep:,} {of} have 16 bits or more and become almost black, at most {self.brightest} of 255; if "
                "they use fewer bits, set white: white=4095 for 12 bits"
            )


def look_through(
    source: OnDisk, split: str, entries: Sequence[Entry], *, decode: bool, tick: Callable[[int, int], None]
) -> Files:
    """Decode all images of a split, or read up to MOST_HEADERS evenly spaced headers.

    `tick` is called with the number done and the total.
    """
    count = len(entries) if decode else min(len(entries), MOST_HEADERS)
    looks: list[Look] = []
    brightest: list[int] = []
    unusable: list[str] = []
    for place in range(count):
        entry = entries[place * len(entries) // count]
        try:
            if decode:
                picture = source.picture(split, entry)
                looks.append(picture.look)
                if picture.look.deep:
                    brightest.append(int(np.asarray(picture.image).max()))
            else:
                looks.append(source.look(split, entry))
        except UserError as error:
            unusable.append(str(error))
        tick(place + 1, count)
    turns = Counter(look.turn for look in looks)
    return Files(
        images=len(entries),
        looked_at=count,
        turned=turns["turned"] + turns["turned unasked"],
        turned_unasked=turns["turned unasked"],
        kept=turns["kept"],
        exif_fails=sum(look.exif_fails for look in looks),
        deep=sum(look.deep for look in looks),
        brightest=max(brightest, default=None),
        unusable=unusable,
    )
