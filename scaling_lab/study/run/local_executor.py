"""Runs trials one after another in this process, for debugging and for machines without Ray.

A trial past its time limit is ended by an exception, which reaches Python loops but not a C call that hangs. Unlike
Ray's workers, this process cannot be killed, and it does not survive a crash of a trial.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping
from typing import Any

from scaling_lab.errors import UserError
from scaling_lab.machine import hidden_gpus
from scaling_lab.study.run.bookkeeper import Bookkeeper
from scaling_lab.study.run.places import Place
from scaling_lab.study.run.retries import Checkpoints
from scaling_lab.study.run.time_limit import not_now, raising
from scaling_lab.study.run.trial import (
    LOST_WORKER_RETRIES,
    MeasureLatency,
    Objective,
    Outcome,
    Refused,
    Stopped,
    run_trial,
)
from scaling_lab.study.search.proposal import Proposal
from scaling_lab.training.hardware_faults import gpu_is_usable


def run_locally(
    bookkeeper: Bookkeeper,
    objective: Objective,
    *,
    measure: MeasureLatency,
    gpus_per_trial: float = 0,
    trial_seconds: float | None = None,
) -> None:
    """Run all that the bookkeeper proposes; `measure` measures latencies where they are needed.

    Raises UserError where trials cannot run here. KeyboardInterrupt passes through, even in the middle of a trial.
    """
    if gpus_per_trial > 0:
        _check_gpu(gpus_per_trial)
    if trial_seconds is not None and threading.current_thread() is not threading.main_thread():
        raise UserError("trial_seconds needs Ray, or the local executor in a program's main thread")
    place = Place(node="", name="this machine", gpus=("0",) if gpus_per_trial else ())
    while (proposal := bookkeeper.next()) is not None:
        outcome = _run(bookkeeper, objective, measure, proposal, trial_seconds)
        if outcome.state != "refused":
            bookkeeper.ended(proposal.trial, dataclasses.replace(outcome, places=(place,)))
        if outcome.state == "failed" and (bookkeeper.faults.left_out or not gpu_is_usable()):
            raise UserError(
                f"this process cannot go on with its GPU ({outcome.message}); finished work is kept, and the same command "
                "continues"
            )


def _run(
    bookkeeper: Bookkeeper,
    objective: Objective,
    measure: MeasureLatency,
    proposal: Proposal,
    trial_seconds: float | None,
) -> Outcome:
    """Run a trial, again after lost readers, and return its outcome."""

    def report(metrics: Mapping[str, Any]) -> None:
        with not_now():
            goes_on = bookkeeper.reported(proposal.trial, metrics)
        if not goes_on:
            raise Stopped

    def time() -> None:
        for row in measure([proposal.spec]):
            with not_now():
                goes_on = bookkeeper.timed(proposal.trial, row)
            if not goes_on:
                raise Refused

    def run() -> Outcome:
        bookkeeper.started(proposal)
        bookkeeper.tick()  # the only output before the end of the first epoch
        return run_trial(
            objective,
            spec=proposal.spec,
            seed=proposal.seed,
            folder=bookkeeper.folder.trial(proposal.trial),
            report=report,
            before=time if proposal.is_timed else None,
            limit=lambda folder: raising(trial_seconds),
            storage=bookkeeper.storage_of(proposal.trial),
        )

    folder, checkpoints, losses = bookkeeper.folder.trial(proposal.trial), Checkpoints(), 0
    checkpoints.has_changed(folder)
    outcome = run()
    while outcome.kind == "lost_worker":
        losses = 1 if checkpoints.has_changed(folder) else losses + 1
        if losses > LOST_WORKER_RETRIES:
            break
        bookkeeper.lost(proposal.trial, outcome.message)
        outcome = run()
    return outcome


def _check_gpu(gpus_per_trial: float) -> None:
    import torch

    if not torch.cuda.is_available():
        why = hidden_gpus(0, torch.version.cuda) or "install a driver and torch that match the GPU"
        raise UserError(
            f"gpus_per_trial is {gpus_per_trial:g}, but torch sees no GPU on this machine; "
            f"set gpus_per_trial=0 in the study, or: {why}"
        )
