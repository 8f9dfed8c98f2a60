"""Optuna's trials as a file for optuna-dashboard. Nothing is read back: the sampler's own are in memory.

Optuna's journal takes a line, a lock and a wait for the disk for every parameter and attribute of a trial. Here a trial is
one line when it starts and one when it ends, or one in all where it never ran.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

_CONSTRAINT = "constraints:"  # before a constraint's name in Optuna's own attributes
# Of the line of a trial that is new.
_HELD = ("params", "distributions", "user_attrs", "system_attrs")


class Journal:
    """Write a study's trials to `path`, which is made anew."""

    def __init__(self, path: Path, study: optuna.Study) -> None:
        for old in (path, path.with_name(path.name + ".lock")):
            old.unlink(missing_ok=True)
        self._storage = JournalStorage(_Backend(str(path)))
        self._study = self._storage.create_new_study(study.directions, study.study_name)
        written = optuna.load_study(study_name=study.study_name, storage=self._storage)
        written.set_metric_names(study.metric_names or [])
        for name, value in study.user_attrs.items():
            written.set_user_attr(name, value)
        # For each trial that runs: its id in the file, and what of it may change and stands there.
        self._running: dict[int, tuple[int, dict[str, Any]]] = {}

    def write(self, number: int, trial: FrozenTrial) -> None:
        """Write how a trial stands; `number` is the study's for it."""
        known = self._running.pop(number, None)
        attributes = _listed(trial.system_attrs)
        if known is None:
            trial = copy.copy(trial)
            trial.system_attrs = attributes
            written = self._storage.create_new_trial(self._study, template_trial=trial)
            if not trial.state.is_finished():
                self._running[number] = written, attributes
            return
        written, before = known
        for name, value in attributes.items():
            if name not in before or before[name] != value:
                self._storage.set_trial_system_attr(written, name, value)
        self._storage.set_trial_state_values(written, trial.state, trial.values)


def _listed(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Put the named constraints of Optuna 5 into the list that they were before: optuna-dashboard 0.21 reads no other."""
    named = [value for name, value in attributes.items() if name.startswith(_CONSTRAINT)]
    others = {name: value for name, value in attributes.items() if not name.startswith(_CONSTRAINT)}
    return others | ({"constraints": named} if named else {})


class _Backend(JournalFileBackend):
    """Optuna keeps in memory what it reads back: here only that there are such trials, for the study has the rest."""

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Give the lines from a number on, trials without what they hold."""
        for log in super().read_logs(log_number_from):
            yield {name: {} if name in _HELD else value for name, value in log.items()}
