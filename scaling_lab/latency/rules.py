"""The settings of the latency protocol: numbers of runs, and which runs are valid."""

from __future__ import annotations

from dataclasses import dataclass

from scaling_lab.checks import Fields, check_flag, check_whole
from scaling_lab.errors import UserError


class UnsteadyDevice(UserError):
    """The device is busy or its speed drifts, so no measurement would be valid now."""


@dataclass(frozen=True, kw_only=True)
class Protocol(Fields):
    """Numbers of runs of each detector, of processes, and of warm-up runs in each process.

    Runs are valid between two anchors within 3 % of the anchor's median. With `correct`, the two anchors must agree within
    3 %, and times are divided by their relative slowness. `anyway` accepts all runs, on a busy device too. Rows record the
    drift.
    """

    runs: int = 200
    processes: int = 3
    warm_runs: int = 50
    seed: int = 0
    correct: bool = False
    anyway: bool = False

    def __post_init__(self) -> None:
        check_whole("runs", self.runs, least=10)
        check_whole("processes", self.processes, least=1)
        check_whole("warm_runs", self.warm_runs, least=1)
        check_whole("seed", self.seed, least=0)
        check_flag("correct", self.correct)
        check_flag("anyway", self.anyway)
        if self.correct and self.anyway:
            raise UserError("correct and anyway are both set; allowed is one of them")

    @property
    def method(self) -> str:
        """The method in the rows: how drift was handled."""
        return "corrected" if self.correct else "unchecked" if self.anyway else "anchored"
