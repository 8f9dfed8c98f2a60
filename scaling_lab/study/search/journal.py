"""Writes Optuna's trials to a file for optuna-dashboard. The file is never read back.

Optuna's own journal writes a line, takes a lock and waits for the disk for each parameter and attribute. Here a trial is
one line at its start and one at its end, or one in total if it never ran.
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

_CONSTRAINT = "constraints:"  # prefix of a constraint's name in Optuna's attributes
# Journal operation that creates a trial.
_HELD = ("params", "distributions", "user_attrs", "system_attrs")


class Journal:
    """Writes a study's trials to a new file at `path`."""

    def __init__(self, path: Path, study: optuna.Study) -> None:
        for old in (path, path.with_name(path.name + ".lock")):
            old.unlink(missing_ok=True)
        self._storage = JournalStorage(_Backend(str(path)))
        self._study = self._storage.create_new_study(study.directions, study.study_name)
        written = optuna.load_study(study_name=study.study_name, storage=self._storage)
        written.set_metric_names(study.metric_names or [])
        for name, value in study.user_attrs.items():
            written.set_user_attr(name, value)
        # For each running trial: its id in the file, and the written values that may change.
        self._running: dict[int, tuple[int, dict[str, Any]]] = {}

    def write(self, number: int, trial: FrozenTrial) -> None:
        """Write the state of a trial; `number` is its number in the study."""
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
    """Convert named constraints of Optuna 5 to the older list, the only form that optuna-dashboard 0.21 reads."""
    named = [value for name, value in attributes.items() if name.startswith(_CONSTRAINT)]
    others = {name: value for name, value in attributes.items() if not name.startswith(_CONSTRAINT)}
    return others | ({"constraints": named} if named else {})


class _Backend(JournalFileBackend):
    """A backend that reads back only the existence of trials, since Optuna keeps in memory what it reads."""

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Yield the lines from a number on, with trials stripped of their contents."""
        for log in super().read_logs(log_number_from):
            yield {name: {} if name in _HELD else value for name, value in log.items()}
