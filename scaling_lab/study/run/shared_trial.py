"""Trials on shared weights: the training before them, and the objective that reads a detector instead of training it."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.data.readers import LostReader
from scaling_lab.errors import UserError
from scaling_lab.study.run.trial import Report, Training
from scaling_lab.study.space.enumeration import TooMany, enumerate_space, random_points
from scaling_lab.study.space.fair_draws import FairDraws
from scaling_lab.study.study import Study
from scaling_lab.training.failures import Failure

# The run that this process reads from, by its checkpoint's path and date.
_OPEN: dict[tuple[Path, int], Any] = {}


@dataclass(frozen=True, kw_only=True)
class SharedReading:
    """The objective that reads a detector's AP from the shared weights in `folder`, trained with `seed`.

    `training` has data, recipe and device. A trial's own seed has no effect.
    """

    training: Training
    folder: str
    seed: int

    def __call__(self, spec: DetectorSpec, seed: int, folder: Path, report: Report) -> Mapping[str, Any]:
        """Read one detector."""
        from scaling_lab.training.shared_run import read_shared

        settings = self.settings()
        path = settings["folder"] / "checkpoint.pt"
        key = (path, path.stat().st_mtime_ns if path.exists() else 0)
        if key not in _OPEN:
            _OPEN.clear()
            _OPEN[key] = read_shared(**settings)
        metrics = {"epoch": settings["recipe"].epochs, **_OPEN[key].measure(spec)}
        report(metrics)
        return metrics

    def settings(self) -> dict[str, Any]:
        """Return the settings of `train_shared` that are not the space's, and set the number of threads."""
        import torch

        from scaling_lab.data import source_from_dict
        from scaling_lab.data.readers import readers_beside
        from scaling_lab.features.build import FeatureFolder
        from scaling_lab.training import out_of_memory
        from scaling_lab.training.recipe import Recipe

        own = self.training
        torch.set_num_threads(own.threads)
        if own.device == "cuda":
            out_of_memory.limit_to(own.gpu_share)
        limits: Any = {"limit_gb": own.features_gb, "data_digest": own.data_digest}
        return {
            "source": source_from_dict(own.data),
            "recipe": Recipe.from_dict(own.recipe),
            "seed": self.seed,
            "folder": Path(self.folder),
            "device": own.device,
            "workers": readers_beside(own.threads),
            "features": FeatureFolder(root=Path(own.features), **limits) if own.features else None,
        }


def train_first(study: Study, reading: SharedReading, *, say: Callable[[str], None]) -> None:
    """Train a study's shared weights, or what they lack. Raises UserError, also where the training fails."""
    from scaling_lab.training.shared_run import train_shared

    assert study.shared is not None
    space = partial(_as_trained, study)
    specs = _points(space, study.shared.points, study.seeds[0])
    epochs = study.recipe.epochs

    def told(metrics: Mapping[str, Any]) -> None:
        ap = f", AP of the largest detector {metrics['ap']:.1f}" if metrics.get("ap") is not None else ""
        say(f"shared weights: epoch {metrics['epoch']} of {epochs}, loss {metrics['loss']:.3f}{ap}")

    paths = FairDraws(space, study.seeds[0])
    try:
        train_shared(specs, between=study.shared.between, paths=paths, report=told, say=say, **reading.settings())
    except (Failure, LostReader) as error:
        raise UserError(f"the shared weights cannot be trained: {error}") from error


def _as_trained(study: Study, trial: Any) -> DetectorSpec:
    """Return the spec of a point, with the data's number of classes."""
    return dataclasses.replace(study.space(trial), num_classes=len(study.data.class_names))


def _points(space: Callable[[Any], DetectorSpec], most: int, seed: int) -> list[DetectorSpec]:
    """Return the specs of all points of a space, or of random ones where it has more than `most`."""
    with contextlib.suppress(TooMany):
        found = [spec for _, spec in islice(enumerate_space(space), most + 1)]
        if len(found) <= most:
            return found
    return [spec for _, spec in random_points(space, most, seed=seed)]
