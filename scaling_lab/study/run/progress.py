"""The progress display of a running study: what each trial does, and the time left.

On a terminal, running trials are shown below the ended ones and updated in place; elsewhere they are printed every few
seconds.
"""

from __future__ import annotations

import math
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

from scaling_lab.study.run.trial import Outcome
from scaling_lab.study.search.proposal import Proposal
from scaling_lab.text import duration, plural

LINES_EVERY, TABLE_EVERY = 5.0, 0.5


@dataclass
class _Running:
    proposal: Proposal
    started: float
    epochs_before: int
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def epochs_done(self) -> int:
        return max(int(self.metrics.get("epoch", 0)), self.epochs_before)


class Progress:
    """The progress of all trials, written to `stream`; None writes nothing.

    `planned`, `states` (complete, stopped, failed) and the failures' `kinds` count the trials of the whole study.
    """

    def __init__(
        self,
        stream: TextIO | None,
        *,
        planned: int,
        states: Mapping[str, int],
        kinds: Mapping[str, int] | None = None,
        concurrency: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self._clock = stream, clock
        self.planned, self.concurrency = planned, concurrency
        self._states = {state: states.get(state, 0) for state in ("complete", "stopped", "failed")}
        self._kinds = Counter(kinds or {})
        self._running: dict[int, _Running] = {}
        self._table = stream is not None and stream.isatty()
        self._drawn = 0
        self._next = 0.0
        # Number and total seconds of this session's ended epochs.
        self._epochs, self._seconds = 0, 0.0
        self._epochs_per_trial = 0

    def started(self, proposal: Proposal) -> None:
        """Record a start. A trial restarted after losing its worker reports its epochs again."""
        self._epochs_per_trial = proposal.epochs
        before = self._running.get(proposal.trial)
        done = proposal.epochs_done if before is None else before.epochs_done
        self._running[proposal.trial] = _Running(proposal, self._clock(), done)

    def reported(self, trial: int, metrics: Mapping[str, Any]) -> None:
        """Record an epoch."""
        running = self._running[trial]
        if metrics["epoch"] > running.epochs_done:
            self._epochs += 1
            elapsed = self._clock() - running.started
            # Epochs reported again after a resume took no time.
            self._seconds += elapsed - running.metrics.get("elapsed", 0.0)
            running.metrics = {**running.metrics, **metrics, "elapsed": elapsed}
        self.tick()

    def ended(self, trial: int, outcome: Outcome) -> None:
        """Print how a trial ended."""
        running = self._running.pop(trial)
        self._states[outcome.state] += 1
        running.metrics.update(outcome.metrics)
        self._erase()
        self._write(self._line(running, outcome.state, left=""))
        if outcome.kind is not None:
            self._kinds[outcome.kind] += 1
            self._write(f"{'':>10}{outcome.kind.replace('_', ' ')}: {outcome.message}")
        self._draw()

    def refused(self, trial: int, reason: str) -> None:
        """Print that a limit rejected a trial before training."""
        running = self._running.pop(trial)
        self._erase()
        self._write(self._line(running, "rejected", left=""))
        self._write(f"{'':>10}{reason}")
        self._draw()

    def say(self, text: str) -> None:
        """Print a line above the running trials."""
        self._erase()
        self._write(text)

    def tick(self) -> None:
        """Print the running trials again, if it is time."""
        if self._running and self._clock() >= self._next:
            self._erase()
            self._draw(always=True)

    def close(self) -> None:
        """Erase the running trials from the screen."""
        self._erase()

    # --- the time left -----------------------------------------------------------------------------------------------

    def seconds_left(self) -> float | None:
        """Estimate the time until all planned trials have ended, or None before the first epoch."""
        if not self._epochs:
            return None
        per_epoch = self._seconds / self._epochs
        work = [self._trial_left(running, per_epoch) for running in self._running.values()]
        waiting = max(0, self.planned - sum(self._states.values()) - len(self._running))
        whole = sum(work) + waiting * self._epochs_per_trial * per_epoch
        # At least the time of the longest running trial.
        return float(max([*work, whole / self.concurrency]))

    def _trial_left(self, running: _Running, per_epoch: float) -> float:
        done = running.epochs_done - running.epochs_before
        elapsed = self._clock() - running.started
        own = running.metrics["elapsed"] / done if done > 0 else per_epoch
        since = elapsed - running.metrics.get("elapsed", 0.0)
        return float(max(0.0, (running.proposal.epochs - running.epochs_done) * own - since))

    # --- writing -----------------------------------------------------------------------------------------------------

    def _draw(self, *, always: bool = False) -> None:
        if not (self._table or always):
            return
        per_epoch = self._seconds / self._epochs if self._epochs else None
        lines = []
        for running in self._running.values():
            seconds = 0.0 if per_epoch is None else self._trial_left(running, per_epoch)
            # The last epoch includes an evaluation, so a trial may outlast its estimate; then the rest is unknown.
            left = f"{duration(seconds)} left" if seconds >= 0.5 else ""
            lines.append(self._line(running, "running", left=left))
        lines.append(self.summary())
        for line in lines:
            self._write(line)
        columns = shutil.get_terminal_size().columns
        self._drawn = sum(-(-len(line) // columns) for line in lines) if self._table else 0
        self._next = self._clock() + (TABLE_EVERY if self._table else LINES_EVERY)

    def summary(self) -> str:
        """Return the study's progress as one line."""
        ended = sum(self._states.values())
        counts = ", ".join(f"{count} {state}" for state, count in self._states.items() if count and state != "complete")
        counts += f": {by_kind(self._kinds)}" if self._kinds else ""
        words = f"{ended} of {plural(self.planned, 'trial')} ended" + (f" ({counts})" if counts else "")
        words += f", {len(self._running)} running" if self._running else ""
        left = self.seconds_left() if ended < self.planned else None
        return words + (f", about {duration(left)} left" if left is not None and left >= 0.5 else "")

    def _line(self, running: _Running, state: str, *, left: str) -> str:
        proposal, metrics = running.proposal, running.metrics
        # The values that trials share come last.
        backbone, _, words = proposal.spec.describe().partition(", ")
        parts = [
            f"trial {proposal.trial:>3} {state:<8}",
            f"epoch {running.epochs_done:>3}/{proposal.epochs}",
            f"loss {_number(metrics.get('loss'), 6, 3)}",
            f"ap {_number(metrics.get('ap'), 4, 1)}",
            f"{proposal.gmacs:>4.3g} gmacs",
            f"seed {proposal.seed}",
            f"{left:>11}",
            f"{words}, {backbone}",
        ]
        return "  ".join(parts)

    def _erase(self) -> None:
        if self._drawn and self._stream is not None:
            self._stream.write(f"\033[{self._drawn}F\033[J")
        self._drawn = 0

    def _write(self, line: str) -> None:
        if self._stream is not None:
            self._stream.write(line + "\n")
            self._stream.flush()


def by_kind(kinds: Mapping[str, int]) -> str:
    """Format failures by kind: 2 diverged, 1 time limit."""
    return ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in sorted(kinds.items()))


def _number(value: object, width: int, digits: int) -> str:
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return " " * (width - 1) + "-"
    return f"{value:{width}.{digits}f}"
