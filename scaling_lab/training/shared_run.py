"""Trains weights that all detectors of a search space share, and reads single detectors from them.

Each step trains the largest detector, the smallest and some between on the same batch (the sandwich rule, arXiv:1903.05134),
and takes one optimizer step along their mean gradient. Loop, schedule, averaging, checkpoints and evaluation are train.py's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.checks import check_whole
from scaling_lab.cost import count
from scaling_lab.data import Source
from scaling_lab.data.batches import Batch
from scaling_lab.data.readers import readers_kept
from scaling_lab.errors import UserError
from scaling_lab.model import Detector
from scaling_lab.model.weight_store import new_store, store_like
from scaling_lab.training import group
from scaling_lab.training.checkpoint import read_state, write_whole
from scaling_lab.training.evaluation import average_precision
from scaling_lab.training.fair_paths import FairList, Paths
from scaling_lab.training.kernels import timed_kernels
from scaling_lab.training.recalibration import recalibrate
from scaling_lab.training.recipe import Recipe
from scaling_lab.training.train import Progress, Report, Run, check_fits, nothing, to_the_end

# Batches of training images from which a detector's norms get their statistics.
RECALIBRATED = 8


@timed_kernels()
@readers_kept()
def train_shared(
    specs: Sequence[DetectorSpec],
    source: Source,
    recipe: Recipe,
    *,
    seed: int,
    folder: Path,
    between: int = 2,
    paths: Paths | None = None,
    report: Report = nothing,
    progress: Progress = nothing,
    **places: Any,
) -> SharedRun:
    """Train one set of weights for all specs and return the finished run, from which detectors are read.

    They may differ in topology, width, repeats and head repeats. A step trains the one with the most multiply-adds, the one
    with the fewest, and `between` that `paths` draws (by default each of the specs equally often). `places` are train's
    device, workers, features and say. `folder` has train's files: weights.pt and best.pt hold the shared weights. Metrics are the
    mean loss of the step's detectors, the AP of the largest detector ("ap" and the others) and that of the smallest
    ("ap_smallest").

    A folder with a checkpoint is continued, on a CPU to the bit. Raises UserError for specs and settings that do not fit, and
    what `train` raises.
    """
    check_whole("between", between, least=0)
    paths = paths or FairList(specs, seed)
    largest, smallest = ends(specs)
    say = places.pop("say", nothing)
    make = partial(
        _Training, largest, source, recipe, seed=seed, folder=folder, **{"device": "cpu", "workers": 0, **places}
    )

    def start(too_large: Sequence[int]) -> _Training:
        run = make(specs=specs, smallest=smallest, between=between, paths=paths, too_large=too_large)
        run.tell(say, progress)
        run.check_norms()
        return run

    check_fits(largest, source, recipe)
    for spec in specs:
        if spec.image_size != largest.image_size:
            raise UserError(
                f"the detectors have image sizes {spec.image_size} and {largest.image_size}; allowed is one for all"
            )
    if recipe.compile or (recipe.sync_norm and group.size() > 1):
        name = "compile" if recipe.compile else "sync_norm"
        raise UserError(f"recipe.{name} is True; allowed is False for shared weights")
    return to_the_end(start, report)


class SharedRun(Run):
    """A run of shared weights, from which detectors are read. Its own spec is the largest detector's."""

    def make_model(self, *, pretrained: bool | str, **backbone_options: Any) -> nn.Module:
        """Return weights of the checkpoint's shapes."""
        return store_like(self.spec, read_state(self.checkpoint, ("model",), torch.device("cpu"))["model"])

    def make_forward(self) -> None:
        """Prepare nothing: each detector has its own call."""

    def learned(self) -> dict[str, Any]:
        """Return no fusion weights: each detector has its own."""
        return {}

    def detector(self, spec: DetectorSpec) -> Detector:
        """Return a detector with the averaged weights and its own norm statistics; the backbone is the run's.

        Raises UserError for a spec that the weights do not have.
        """
        found = self.average.model.detector(spec)
        batches = islice(self.batches("train", self.epoch), RECALIBRATED)
        recalibrate(found, batches, precision=self.recipe.precision)
        return found  # type: ignore[no-any-return]

    def measure(self, spec: DetectorSpec) -> dict[str, Any]:
        """Return COCO's numbers of a detector on the held-out images, as read from the shared weights."""
        return average_precision(self.source.ground_truth("val"), self.detections(self.detector(spec)))

    def write(self, spec: DetectorSpec, path: Path) -> None:
        """Write a detector with its own norm statistics as an ordinary weights file. Raises WriteError."""
        write_whole(path, self.file_of(self.detector(spec)))


def read_shared(folder: Path, source: Source, recipe: Recipe, *, seed: int, **places: Any) -> SharedRun:
    """Return the finished run in a folder of `train_shared`, to read detectors from; `places` are as there.

    Raises UserError where there is none, and BadCheckpoint.
    """
    path = folder / "checkpoint.pt"
    if not path.exists():
        raise UserError(f"{folder} has no shared weights; allowed is a folder that train_shared wrote")
    spec = DetectorSpec.from_dict(read_state(path, ("spec",), torch.device("cpu"))["spec"])
    run = SharedRun(spec, source, recipe, seed=seed, folder=folder, **{"device": "cpu", "workers": 0, **places})
    if run.epoch < recipe.epochs:
        raise UserError(f"{folder} holds {run.epoch} of {recipe.epochs} epochs; train_shared continues them")
    return run


class _Training(SharedRun):
    """A run that trains."""

    def __init__(
        self,
        largest: DetectorSpec,
        *settings: Any,
        specs: Sequence[DetectorSpec],
        smallest: DetectorSpec,
        between: int,
        paths: Paths,
        **places: Any,
    ) -> None:
        self.specs, self.smallest, self.between, self.paths = specs, smallest, between, paths
        self.paths.restore({})
        super().__init__(largest, *settings, **places)

    def make_model(self, *, pretrained: bool | str, **backbone_options: Any) -> nn.Module:
        """Return new shared weights."""
        return new_store(self.specs, pretrained=pretrained, **backbone_options)

    def add_gradients(self, batch: Batch) -> Tensor:
        """Add the mean gradient of the step's detectors and return their mean losses (3,)."""
        chosen = [self.spec, self.smallest, *(self.paths.draw() for _ in range(self.between))]
        losses_3 = torch.zeros(3, dtype=torch.float64, device=self.device)
        for spec in chosen:
            run = partial(self.model.run, spec, are_features=batch.are_features)
            losses_3 += self.gradients_of(spec, run, batch)
        gradients = [weight.grad for weight in self.model.parameters() if weight.grad is not None]
        torch._foreach_div_(gradients, len(chosen))
        return losses_3 / len(chosen)

    def evaluate(self) -> dict[str, Any]:
        """Return COCO's numbers of the largest detector, and the AP of the smallest; nothing in workers other than 0."""
        found = [self.detections(self.detector(spec)) for spec in (self.spec, self.smallest)]
        if group.rank() > 0:
            return {}
        if self.epoch == self.recipe.epochs:
            write_whole(self.folder / "weights.pt", self.weights())
        largest, smallest = (average_precision(self.source.ground_truth("val"), each) for each in found)
        return {**largest, "ap_smallest": smallest["ap"]}

    def state(self, random: dict[str, Tensor], *other_random: dict[str, Tensor]) -> dict[str, Any]:
        """Return the content of a checkpoint."""
        return {**super().state(random, *other_random), "paths": self.paths.state()}

    def take_over(self, state: Mapping[str, Any]) -> None:
        """Restore the state of a checkpoint."""
        super().take_over(state)
        self.paths.restore(state["paths"])


def ends(specs: Sequence[DetectorSpec]) -> tuple[DetectorSpec, DetectorSpec]:
    """Return the specs with the most and the fewest multiply-adds, the first of equals. Raises UserError for none."""
    if not specs:
        raise UserError("there are no detectors to share weights; allowed is at least one")
    gmacs = np.array([count(spec).gmacs for spec in specs])
    return specs[int(gmacs.argmax())], specs[int(gmacs.argmin())]
