"""The ways in which a trial fails, each with the kind that the ledger and the report show. Not for mistakes of our own."""

from __future__ import annotations

from scaling_lab.data import Source
from scaling_lab.data.shapes import Shapes
from scaling_lab.errors import UserError


class Failure(UserError):
    """A trial that ends without a result, for a reason that has a name."""

    kind = "error"


class Diverged(Failure):
    """The loss is not finite."""

    kind = "diverged"


class OutOfMemory(Failure):
    """The device has too little memory."""

    kind = "out_of_memory"


class BadCheckpoint(Failure):
    """The checkpoint to go on from cannot be read, or is of another training run."""

    kind = "bad_checkpoint"


def image_names(source: Source, image_ids: list[int]) -> str:
    """Name training images for a message: by their files, those of Shapes by their indices."""
    if isinstance(source, Shapes):
        return ", ".join(str(image_id - 1) for image_id in image_ids)
    files = {entry.image_id: entry.file_name for entry in source.entries("train")}
    return ", ".join(files[image_id] for image_id in image_ids)
