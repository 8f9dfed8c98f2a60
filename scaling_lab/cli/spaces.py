"""A search space named on the command line: a space or study file, enumerated or sampled."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from scaling_lab.errors import UserError

if TYPE_CHECKING:
    from scaling_lab.architecture.spec import DetectorSpec
    from scaling_lab.study.study import Space


class Found(NamedTuple):
    """A file's space; for a study also its limits, number of classes and latency model's path."""

    space: Space
    limits: Mapping[str, float]
    classes: int | None = None
    latency_model: str | None = None


def read_space(path: Path) -> Found:
    """Read a file's `space`, or its STUDY's. Raises UserError."""
    from scaling_lab.study.space.study_file import load_study
    from scaling_lab.user_files import import_file, locate

    if not path.is_file():
        raise UserError(f"there is no file {path}; allowed are a search-space file and a study file")
    try:
        module = import_file(path)
    except Exception as error:
        raise UserError(locate(error, otherwise=path)) from None
    if hasattr(module, "STUDY"):
        study = load_study(path).study
        classes: int | None = None
        try:
            classes = len(study.data.class_names)
        except UserError as error:
            print(f"the space's own number of classes is used: {error}", file=sys.stderr)
        return Found(study.space, study.limits, classes, study.latency_model)
    space = getattr(module, "space", None)
    if not callable(space):
        raise UserError(f"{path} has neither a function `space` nor a STUDY")
    return Found(space, {})


def points_of(space: Space, sample: int | None, *, seed: int) -> Iterator[tuple[dict[str, Any], DetectorSpec]]:
    """Yield all points of a space, or a sample. Raises UserError where there are too many to enumerate."""
    from scaling_lab.study.space.enumeration import TooMany, enumerate_space, random_points

    if sample is None:
        try:
            yield from enumerate_space(space)
        except TooMany as error:
            raise TooMany(f"{error}; use --sample") from None
    elif sample < 1:
        raise UserError(f"--sample is {sample}; allowed are 1 and above")
    else:
        yield from random_points(space, sample, seed=seed)
