"""The failures of a trial, each with the kind shown in ledger and report."""

from __future__ import annotations

from scaling_lab.data import Source
from scaling_lab.data.shapes import Shapes
from scaling_lab.errors import UserError


class Failure(UserError):
    """A trial ends without a result for a known reason."""

    kind = "error"


class Diverged(Failure):
    """The loss is not finite."""

    kind = "diverged"


class OutOfMemory(Failure):
    """The device is out of memory."""

    kind = "out_of_memory"


class LostProcess(Failure):
    """A training process was killed or suspended. The run continues from its checkpoint."""

    kind = "lost_worker"


class BadCheckpoint(Failure):
    """The checkpoint to continue from cannot be read, or belongs to another training run."""

    kind = "bad_checkpoint"


def image_names(source: Source, image_ids: list[int]) -> str:
    """Return names of training images for a message: their files, or indices for Shapes."""
    if isinstance(source, Shapes):
        return ", ".join(str(image_id - 1) for image_id in image_ids)
    names = source.annotations("train").images.names
    return ", ".join(names[image_id - 1] for image_id in image_ids)
