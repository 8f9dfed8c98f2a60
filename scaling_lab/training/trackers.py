"""Logs training runs to MLflow and Weights & Biases, through the clients that the user has installed.

A new tracker is a class and a line of TRACKERS.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.checks import check_choice
from scaling_lab.data import Source
from scaling_lab.errors import UserError, first_line
from scaling_lab.files import read_json, write_whole
from scaling_lab.training.recipe import Recipe

# Where the trackers' runs are remembered, in the training run's folder.
FILE = "trackers.json"
# The client's own settings, unless the user has set them: nothing is sent that the user did not ask for, and a server that
# does not answer costs seconds.
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_MODE": "offline",
}
# MLflow's longest texts, and its most numbers in a call.
_KEY, _VALUE, _AT_ONCE = 250, 6000, 1000
# Not allowed in a name at MLflow, or, as / and . are, not in every place of a path.
_FORBIDDEN = re.compile(r"[^\w -]")
_MLFLOW_STATES = {"complete": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


class Tracker(Protocol):
    """One run at a tracker. Every method may raise any error of the client."""

    id: str

    def __init__(self, experiment: str, name: str, folder: Path, *, known: str | None) -> None:
        """Start a run, or continue the one whose id is `known`. Files that the client keeps go to `folder`."""

    @classmethod
    def prepare(cls, experiment: str) -> None:
        """Make what runs of an experiment share, before runs that start at the same time."""

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log the settings of a new run."""

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Log numbers by tag, with the epoch as the step."""

    def end(self, state: str, tags: Mapping[str, str]) -> None:
        """End a run that is complete, stopped or failed; it can be continued."""


class Mlflow:
    """A run at MLflow's tracking server or store: MLFLOW_TRACKING_URI, or MLflow's default."""

    def __init__(self, experiment: str, name: str, folder: Path, *, known: str | None) -> None:
        mlflow = _client("mlflow")
        self._client, self._entities = mlflow.MlflowClient(), mlflow.entities
        if known is None:
            found = self._client.get_experiment_by_name(experiment)
            self.id = self._client.create_run(found.experiment_id, run_name=name).info.run_id
        else:
            self.id = known
            self._client.update_run(known, status="RUNNING")

    @classmethod
    def prepare(cls, experiment: str) -> None:
        """Make the experiment if there is none of its name."""
        client = _client("mlflow").MlflowClient()
        if client.get_experiment_by_name(experiment) is None:
            client.create_experiment(experiment)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log the settings of a new run as params."""
        values = [self._entities.Param(name[:_KEY], str(value)[:_VALUE]) for name, value in params.items()]
        self._client.log_batch(self.id, params=values)

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Log numbers by tag. Names of classes lose characters that MLflow does not allow."""
        now = int(time.time() * 1000)
        metrics = [self._entities.Metric(_allowed(tag), value, now, epoch) for tag, value in values.items()]
        for start in range(0, len(metrics), _AT_ONCE):
            self._client.log_batch(self.id, metrics=metrics[start : start + _AT_ONCE])

    def end(self, state: str, tags: Mapping[str, str]) -> None:
        """End the run, with tags."""
        for name, value in tags.items():
            self._client.set_tag(self.id, name, value)
        self._client.set_terminated(self.id, _MLFLOW_STATES[state])


class Wandb:
    """A run of Weights & Biases, offline unless WANDB_MODE says otherwise. Its files go to the folder wandb in the run's."""

    def __init__(self, experiment: str, name: str, folder: Path, *, known: str | None) -> None:
        wandb = _client("wandb")
        self._run = wandb.init(
            project=experiment,
            name=name,
            id=known,
            resume="allow",
            reinit="create_new",
            dir=str(folder),
            settings=wandb.Settings(silent=True, console="off"),
        )
        self.id = self._run.id

    @classmethod
    def prepare(cls, experiment: str) -> None:
        """Do nothing; a project is made with its first run."""

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log the settings of a new run as its config."""
        self._run.config.update(dict(params))

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Log numbers by tag."""
        self._run.log(dict(values), step=epoch)

    def end(self, state: str, tags: Mapping[str, str]) -> None:
        """End the run, with tags in its summary."""
        self._run.summary.update(dict(tags))
        self._run.finish(exit_code=1 if state == "failed" else 0)


# By the name of the client's module: the tracker, and the package to install.
TRACKERS: dict[str, tuple[type[Tracker], str]] = {"mlflow": (Mlflow, "mlflow-skinny"), "wandb": (Wandb, "wandb")}


def check_trackers(names: Sequence[str], experiment: str) -> None:
    """Make an experiment at the trackers.

    Raises UserError for unknown trackers, for clients that are not installed, and for a store or server that fails.
    """
    for name in names:
        check_choice("--log", name, list(TRACKERS))
        tracker, package = TRACKERS[name]
        try:
            _client(name)
        except ImportError as error:
            raise UserError(f"--log {name} needs its client ({error}): pip install {package}") from None
        try:
            tracker.prepare(experiment)
        except Exception as error:  # the client's own errors and those of its stores
            raise UserError(f"--log {name}: {first_line(error)}") from None


class Trackers:
    """Logs one training run, in `folder`, to the named trackers, as `run` of `experiment`.

    A continued training run continues their runs. Training never fails for them: a tracker that fails is told of once,
    and left alone until the next start.
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        experiment: str,
        run: str,
        folder: Path,
        params: Callable[[], Mapping[str, Any]],
        say: Callable[[str], None],
    ) -> None:
        self._path, self._say = folder / FILE, say
        self._folder, self._params = folder, params
        self._experiment, self._run = experiment, run
        self._names = list(dict.fromkeys(names))
        self._open: dict[str, Tracker] = {}
        # Of each tracker: its run's id, and the last epoch logged.
        self._kept: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> Self:
        if (self._folder / "checkpoint.pt").exists() and self._path.exists():
            self._kept = _read(self._path)
        for name in self._names:
            self._try(name, partial(self._start, name))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        state = "complete" if kind is None else "failed" if issubclass(kind, Exception) else "stopped"
        paths = {"weights": self._folder / "weights.pt", "best_weights": self._folder / "best.pt"}
        tags = {name: str(path.resolve()) for name, path in paths.items() if path.exists()}
        for name, tracker in list(self._open.items()):
            self._try(name, partial(tracker.end, state, tags))

    def epoch(self, metrics: Mapping[str, Any]) -> None:
        """Log the numbers of an epoch, unless they have been logged."""
        for name, tracker in list(self._open.items()):
            if metrics["epoch"] > self._kept[name]["epoch"]:
                self._try(name, partial(self._log, name, tracker, metrics))

    def _start(self, name: str) -> None:
        known = self._kept.get(name, {}).get("run")
        tracker = TRACKERS[name][0](self._experiment, self._run, self._folder, known=known)
        if known is None:
            tracker.log_params(self._params())
            self._keep(name, {"run": tracker.id, "epoch": 0})
        self._open[name] = tracker

    def _log(self, name: str, tracker: Tracker, metrics: Mapping[str, Any]) -> None:
        from scaling_lab.training.curves import scalars

        tracker.log(metrics["epoch"], dict(scalars(metrics)))
        self._keep(name, {"run": tracker.id, "epoch": metrics["epoch"]})

    def _keep(self, name: str, values: dict[str, Any]) -> None:
        self._kept[name] = values
        write_whole(self._path, json.dumps(self._kept) + "\n")

    def _try(self, name: str, what: Callable[[], object]) -> None:
        try:
            what()
        except Exception as error:  # whatever a client or its server fails with
            self._open.pop(name, None)
            self._say(f"{name} fails ({first_line(error)}); training goes on without it")


def run_params(spec: DetectorSpec, source: Source, recipe: Recipe, seed: int) -> dict[str, Any]:
    """Return the settings of a training run by dotted names, for a tracker's table."""
    size = "x".join(map(str, spec.image_size))
    architecture = {
        "architecture": spec.describe(),
        "digest": spec.digest,
        "backbone": spec.backbone,
        "image_size": size,
    }
    return architecture | {"data": source.describe(), "seed": seed} | flat({"recipe": recipe.to_dict()})


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted names such as recipe.epochs."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def _read(path: Path) -> dict[str, dict[str, Any]]:
    """Return the runs and epochs that a file remembers; none where it is damaged, so that runs start anew."""
    try:
        kept = read_json(path)
        return {name: {"run": str(each["run"]), "epoch": int(each["epoch"])} for name, each in kept.items()}
    except (UserError, AttributeError, KeyError, TypeError, ValueError):
        return {}


def _client(name: str) -> Any:
    for setting, value in _ENVIRONMENT.items():
        os.environ.setdefault(setting, value)
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # not each table of a new database
    return importlib.import_module(name)


def _allowed(tag: str) -> str:
    group, _, name = tag.partition("/")
    return f"{group}/{_FORBIDDEN.sub('_', name)}"[:_KEY]
