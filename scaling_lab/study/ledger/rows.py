"""The trials of a study in memory, kept in step with the ledger."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from scaling_lab.runs.reader import ENDED
from scaling_lab.study.ledger.database import Architecture, Ledger, TrialRow


class Rows:
    """Trials by id, and by architecture and seed. `searched` counts the trials of the search, without finalists."""

    def __init__(self, ledger: Ledger, *, protocol: str, epochs: int) -> None:
        self._ledger, self._protocol, self._epochs = ledger, protocol, epochs
        self._rows = {row.id: row for row in ledger.trials()}
        self._by_architecture: dict[str, dict[int, int]] = {}
        for row in self:
            self._by_architecture.setdefault(row.architecture, {})[row.seed] = row.id
        self.searched = sum(row.role == "search" for row in self)

    def __iter__(self) -> Iterator[TrialRow]:
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, trial: int) -> TrialRow:
        return self._rows[trial]

    def of(self, architecture: str) -> dict[int, TrialRow]:
        """Return an architecture's trials by seed."""
        return {seed: self._rows[trial] for seed, trial in self._by_architecture.get(architecture, {}).items()}

    def planned(self, *, is_search: bool) -> list[TrialRow]:
        """Return the planned trials of the search, or of finalists."""
        return [row for row in self if row.state == "planned" and (row.role == "search") == is_search]

    def is_searching(self) -> bool:
        """Return whether a trial of the search has yet to end."""
        return any(row.role == "search" and row.state not in ENDED for row in self)

    def plan(self, architecture: Architecture, seed: int, params: dict[str, Any], *, role: str = "search") -> TrialRow:
        """Add a trial to the ledger and to these rows."""
        with self._ledger.transaction():
            self._ledger.add_architecture(architecture)
            trial = self._ledger.plan(
                architecture=architecture.digest,
                protocol=self._protocol,
                seed=seed,
                params=params,
                epochs=self._epochs,
                role=role,
            )
        self._by_architecture.setdefault(architecture.digest, {})[seed] = trial
        self._rows[trial] = TrialRow(
            id=trial,
            architecture=architecture.digest,
            seed=seed,
            params=params,
            epochs=self._epochs,
            epochs_done=0,
            state="planned",
            seconds=0.0,
            metrics={},
            role=role,
        )
        self.searched += role == "search"
        return self._rows[trial]

    def end(self, trial: int, state: str, metrics: Mapping[str, Any]) -> None:
        """Record how a trial ended; the ledger has it already."""
        self._rows[trial] = dataclasses.replace(self._rows[trial], state=state, metrics=dict(metrics))

    def forget(self, trials: Iterable[int]) -> None:
        """Remove trials without an epoch."""
        gone = list(trials)
        self._ledger.forget(gone)
        for trial in gone:
            row = self._rows.pop(trial)
            del self._by_architecture[row.architecture][row.seed]
            self.searched -= row.role == "search"

    def forget_all_but(self, wanted: set[tuple[str, int]], *, is_search: bool) -> None:
        """Remove planned trials without an epoch whose (architecture, seed) is not wanted."""
        planned = self.planned(is_search=is_search)
        self.forget(row.id for row in planned if not row.epochs_done and (row.architecture, row.seed) not in wanted)
