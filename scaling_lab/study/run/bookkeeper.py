"""Records what happens to trials, in one place and order: in the ledger, then in Optuna, then on the screen.

All executors report here, so their ledgers are the same.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from scaling_lab.errors import UserError
from scaling_lab.files import write_whole
from scaling_lab.runs.reader import RunFolder
from scaling_lab.storage import Storage
from scaling_lab.study.ledger.database import Ledger
from scaling_lab.study.run.places import Faults
from scaling_lab.study.run.progress import Progress
from scaling_lab.study.run.run_copies import RunCopies
from scaling_lab.study.run.time_limit import GRACE
from scaling_lab.study.run.trial import DEVICE_FAULT, DISK_FULL, LOST_WORKER_RETRIES, Outcome
from scaling_lab.study.search.judges import make_judge
from scaling_lab.study.search.proposal import Proposal
from scaling_lab.study.search.proposals import Proposals


class Bookkeeper:
    """Hands out trials and records what happens to them."""

    def __init__(
        self,
        *,
        folder: RunFolder,
        ledger: Ledger,
        proposals: Proposals,
        progress: Progress,
        session: int,
        copies: RunCopies | None = None,
    ) -> None:
        self.folder, self.progress, self._copies = folder, progress, copies
        self._ledger, self._proposals, self._session = ledger, proposals, session
        self._running: dict[int, _Running] = {}
        self.faults = Faults()
        self._put_off: deque[Proposal] = deque()
        self._is_overtaken = self._is_exhausted = False
        self._judge = make_judge(proposals.study, proposals.values, lambda trial: proposals.architecture(trial).digest)
        for trial, epoch, metrics in ledger.results_at(self._judge.epochs, protocol=proposals.protocol):
            self._judge.note(trial, epoch, metrics)

    def next(self) -> Proposal | None:
        """Return the next trial to run, or None. One that was put off by a fault of hardware comes after another trial."""
        proposal = None
        if not self._put_off or self._is_overtaken:
            proposal, self._is_overtaken = self._propose(), False
        if proposal is None and self._put_off:
            proposal = self._put_off.popleft()
        return proposal

    def _propose(self) -> Proposal | None:
        """Return the next trial that has not started in this session."""
        if self._is_exhausted:
            return None
        proposal = self._proposals.next()
        self._is_exhausted = proposal is None and not self._proposals.waits
        self.progress.planned = self._proposals.planned
        if proposal is not None:
            self._write_spec(proposal)
        return proposal

    @property
    def waits(self) -> bool:
        """Whether a next trial may appear once the running ones have ended."""
        return self._proposals.waits

    def started(self, proposal: Proposal) -> None:
        """Record that a trial is running, or running again after its worker was lost."""
        self._running.setdefault(proposal.trial, _Running(proposal)).begin()
        self._ledger.start_trial(proposal.trial, self._session)
        self.progress.started(proposal)

    def timed(self, trial: int, latency: Mapping[str, Any]) -> bool:
        """Record a trial's latency, a row of `latencies`. Return whether it may train; otherwise it is removed."""
        reason = self._proposals.timed(trial, latency)
        if reason is None:
            self._running[trial].is_timed()
        else:
            del self._running[trial]
            self.progress.refused(trial, reason)
        return reason is None

    def reported(self, trial: int, metrics: Mapping[str, Any]) -> bool:
        """Record an epoch and return whether the trial continues."""
        running, epoch = self._running[trial], metrics["epoch"]
        self._ledger.add_epoch(trial, epoch, metrics, seconds=running.seconds)
        self.progress.reported(trial, metrics)
        if epoch > running.epoch:
            running.faults = 0
        is_retold, running.epoch = epoch < running.epoch, max(epoch, running.epoch)
        if not self._proposals.is_searched(trial):  # stopping finalists early would bias their results
            return True
        # A trial with later epochs was judged at this one; one without may have been killed before it was stopped.
        return not self._judge.note(trial, epoch, metrics) or is_retold or self._judge.goes_on(trial, epoch)

    def ended(self, trial: int, outcome: Outcome) -> None:
        """Record how a trial ended. One without a value of an objective has failed.

        After a fault of hardware, unless it is one too many, the trial has not ended: `next` returns it again.
        Raises UserError where it could not write to disk; the trial then continues once there is space.
        """
        if outcome.kind == DISK_FULL:
            raise UserError(
                f"{self.folder.trial(trial)}: {outcome.message}; finished work is kept, and the same command continues"
            )
        if outcome.kind == DEVICE_FAULT and self._goes_on(trial, outcome):
            return
        outcome = self._checked(trial, outcome)
        seconds = self._running.pop(trial).seconds
        if outcome.state == "complete":
            self._ledger.complete(trial, outcome.metrics, seconds=seconds, device=outcome.device)
        else:
            self._ledger.end_trial(
                trial,
                outcome.state,
                kind=outcome.kind,
                message=outcome.message,
                seconds=seconds,
                device=outcome.device,
            )
        self._proposals.result(trial, outcome.state, outcome.metrics)
        self.progress.ended(trial, outcome)
        if self._copies is not None:
            self._copies.trial_ended(trial)

    def _goes_on(self, trial: int, outcome: Outcome) -> bool:
        """Count a fault of hardware where it happened, and return whether the trial is put off."""
        running = self._running[trial]
        running.faults += 1
        messages = self.faults.note(trial, outcome.places)
        goes_on = running.faults <= LOST_WORKER_RETRIES
        if goes_on:
            self.put_off(trial)
            self._is_overtaken = True
            where = ", ".join(place.words for place in outcome.places)
            what = f"trial {trial:>3} met a fault of hardware on {where} ({outcome.message})"
            self.progress.say(f"{what}; it will continue from its last checkpoint")
        for message in messages:
            self.progress.say(message)
        return goes_on

    def put_off(self, trial: int) -> None:
        """Record that a trial waits for its next start, perhaps elsewhere; `next` returns it again."""
        self._running[trial].pause()
        self._put_off.append(self._running[trial].proposal)

    def lost(self, trial: int, reason: str | None = None) -> None:
        """Record that a trial's worker was lost, perhaps before its start, and that the trial restarts."""
        if trial in self._running:
            self._running[trial].pause()
        what = f"trial {trial:>3} lost its worker" + (f" ({reason})" if reason else "")
        self.progress.say(f"{what}; restarting from its last checkpoint")

    def overdue(self) -> list[int]:
        """Return the trials past their time limit."""
        limit = self._proposals.study.trial_seconds
        if limit is None:
            return []
        return [trial for trial, running in self._running.items() if running.since > limit + GRACE]

    def tick(self) -> None:
        """Refresh the screen; call it several times a second if possible."""
        self.progress.tick()
        if self._copies is not None:
            self._copies.tick()

    def storage_of(self, trial: int) -> Storage | None:
        """Return where a trial's files are copied to, if anywhere."""
        return None if self._copies is None else self._copies.storage_of(trial)

    def _checked(self, trial: int, outcome: Outcome) -> Outcome:
        if outcome.state != "complete":
            return outcome
        values = zip(self._proposals.study.objectives, self._proposals.values(trial, outcome.metrics), strict=True)
        for name, value in values:
            if name not in outcome.metrics and value is None:
                message = f"the objective gave no {name}"
                return Outcome(state="failed", kind="error", message=message, device=outcome.device)
            if value is None or not math.isfinite(value):
                message = f"{name} is {value} at the end"
                return Outcome(state="failed", kind="diverged", message=message, device=outcome.device)
        return outcome

    def _write_spec(self, proposal: Proposal) -> None:
        path = self.folder.specs / f"{proposal.spec.digest}.json"
        if not path.exists():
            write_whole(path, proposal.spec.to_json())


class _Running:
    """A trial's proposal, its seconds over all its sessions, and its last epoch in the ledger."""

    def __init__(self, proposal: Proposal) -> None:
        self.proposal = proposal
        self.faults = 0  # of hardware, since the last epoch
        self._start = time.monotonic() - proposal.seconds
        self.epoch = proposal.epochs_done

    def begin(self) -> None:
        """Record a start, the first or after a lost worker."""
        self._begun = time.monotonic()

    def is_timed(self) -> None:
        """Record that its latency is known, so that another start does not measure it again."""
        self.proposal = dataclasses.replace(self.proposal, is_timed=False)

    def pause(self) -> None:
        """Record that it waits for its next start."""
        self._begun = math.inf

    @property
    def since(self) -> float:
        """The seconds since the last start; minus infinity while it waits for the next."""
        return time.monotonic() - self._begun

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self._start, 3)
