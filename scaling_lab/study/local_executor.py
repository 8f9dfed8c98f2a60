"""Trials one after the other in this very process: for debugging, and for machines without Ray. It imports no ray."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scaling_lab.errors import UserError
from scaling_lab.study.bookkeeper import Bookkeeper
from scaling_lab.study.proposal import Proposal
from scaling_lab.study.trial import MeasureLatency, Objective, Refused, Stopped, run_trial


def run_locally(
    bookkeeper: Bookkeeper, objective: Objective, *, measure: MeasureLatency, gpus_per_trial: float = 0
) -> None:
    """Run all that the bookkeeper proposes; `measure` gives latencies where they are wanted.

    KeyboardInterrupt passes, in the middle of a trial.
    """
    if gpus_per_trial > 0:
        _check_gpu(gpus_per_trial)
    while (proposal := bookkeeper.next()) is not None:
        _run(bookkeeper, objective, measure, proposal)


def _run(bookkeeper: Bookkeeper, objective: Objective, measure: MeasureLatency, proposal: Proposal) -> None:
    def report(metrics: Mapping[str, Any]) -> None:
        if not bookkeeper.reported(proposal.trial, metrics):
            raise Stopped

    def time() -> None:
        for row in measure([proposal.spec]):
            if not bookkeeper.timed(proposal.trial, row):
                raise Refused

    bookkeeper.started(proposal)
    bookkeeper.tick()  # nothing else is said before the first epoch has ended
    outcome = run_trial(
        objective,
        spec=proposal.spec,
        seed=proposal.seed,
        folder=bookkeeper.folder.trial(proposal.trial),
        report=report,
        before=time if proposal.is_timed else None,
    )
    if outcome.state != "refused":
        bookkeeper.ended(proposal.trial, outcome)


def _check_gpu(gpus_per_trial: float) -> None:
    import torch

    if not torch.cuda.is_available():
        raise UserError(
            f"gpus_per_trial is {gpus_per_trial:g}, but torch sees no GPU on this machine; "
            "set gpus_per_trial=0 in the study, or install a driver and a torch that fit the GPU"
        )
