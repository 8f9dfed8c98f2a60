"""The distinct detectors that `measure` is asked for, by name, run or search space, with the runs they belong to."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_lab.cli.spaces import points_of, read_space
from scaling_lab.cli.specs import CHANGES, read_detector
from scaling_lab.errors import UserError
from scaling_lab.metrics import counted

if TYPE_CHECKING:
    from scaling_lab.architecture.spec import DetectorSpec
    from scaling_lab.cost import Cost


@dataclasses.dataclass(frozen=True)
class Measurable:
    """A detector with its label, costs, and the folders of the runs that trained it."""

    label: str
    spec: DetectorSpec
    cost: Cost
    runs: tuple[Path, ...] = ()

    def columns(self) -> dict[str, Any]:
        """Return the first columns of a latency row."""
        costs = counted(self.spec, self.cost)
        return {"detector": self.label, "description": self.spec.describe(), **costs}


def measurables(options: argparse.Namespace) -> dict[str, Measurable]:
    """Return the detectors that the options name, by digest. Raises UserError."""
    from scaling_lab.cost import count

    if any(Path(thing).is_dir() or thing.endswith(".py") for thing in options.things):
        for name in CHANGES:
            if getattr(options, name) is not None:
                raise UserError(f"--{name.replace('_', '-')} changes a named detector, not those of a run or a space")
    found: dict[str, Measurable] = {}
    for label, spec, run in _named(options):
        before = found.get(spec.digest) or Measurable(label, spec, count(spec))
        runs = before.runs if run is None or run in before.runs else (*before.runs, run)
        found[spec.digest] = dataclasses.replace(before, runs=runs)
    return found


def _named(options: argparse.Namespace) -> Iterator[tuple[str, DetectorSpec, Path | None]]:
    for thing in options.things:
        if Path(thing).is_dir():
            yield from ((Path(thing).name, spec, Path(thing)) for spec in _of_run(Path(thing)))
        elif thing.endswith(".py"):
            yield from ((Path(thing).stem, spec, None) for spec in _of_space(Path(thing), options))
        else:
            yield thing, read_detector(thing, options), None


def _of_space(path: Path, options: argparse.Namespace) -> list[DetectorSpec]:
    space = read_space(path)
    points = [spec for _, spec in points_of(space.space, options.sample, seed=options.seed)]
    if space.classes is not None:
        points = [dataclasses.replace(spec, num_classes=space.classes) for spec in points]
    different = {spec.digest: spec for spec in points}
    if len(different) < len(points):
        print(f"{path}: {len(points)} points give {len(different)} distinct detectors", file=sys.stderr, flush=True)
    return list(different.values())


def _of_run(folder: Path) -> list[DetectorSpec]:
    from scaling_lab.runs.reader import Runs

    runs = Runs(folder)
    table = runs.table()
    complete = set(table.loc[table["state"] == "complete", "architecture"])
    if not complete:
        raise UserError(f"{folder} has no complete trial, so there is nothing to measure")
    return [spec for digest, spec in runs.specs().items() if digest in complete]
