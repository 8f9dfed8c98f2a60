"""A study with its ledger and its proposals, without an executor. It holds no tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna

from scaling_lab import DetectorSpec, Study, topologies
from scaling_lab.study.ledger.database import Ledger
from scaling_lab.study.search.proposal import Proposal
from scaling_lab.study.search.proposals import Proposals
from tests.study.engine import count, make_study, spec


class Desk:
    """A study with its ledger, as one session after the other sees them."""

    def __init__(self, path: Path, **changes: Any) -> None:
        self.path, self.study = path, make_study(**changes)
        self.said: list[str] = []
        self.restart()

    def restart(self, study: Study | None = None) -> None:
        self.study = study or self.study
        self.ledger = Ledger(self.path / "ledger.sqlite")
        self.proposals = Proposals(
            self.study, self.ledger, name="s", protocol="p", count=count,
            journal=self.path / "journal", say=self.said.append,
        )  # fmt: skip

    def run(self, proposal: Proposal, *, ap: float | None = None, state: str = "complete") -> None:
        metrics = {"ap": float(proposal.spec.width) if ap is None else ap} if state == "complete" else {}
        if state == "complete":
            self.ledger.complete(proposal.trial, metrics, seconds=1.0, device=None)
        else:
            self.ledger.end_trial(proposal.trial, state, kind="error", message="m", seconds=1.0, device=None)
        self.proposals.result(proposal.trial, state, metrics)

    def run_all(self) -> list[Proposal]:
        found = []
        while (proposal := self.proposals.next()) is not None:
            found.append(proposal)
            self.run(proposal)
        return found

    def told(self) -> list[optuna.trial.FrozenTrial]:
        return self.proposals.sampling.trials


def wide(trial: Any) -> DetectorSpec:
    """Twelve points, six architectures: the mirror changes nothing."""
    topology = getattr(topologies, trial.suggest_categorical("topology", ["none", "fpn"]))
    trial.suggest_categorical("mirror", [False, True])
    return spec(topology(3, 7), width=trial.suggest_int("width", 8, 24, step=8))
