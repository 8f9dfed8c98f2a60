"""How carefully latencies are measured, and which runs count: a value. It runs nothing."""

from __future__ import annotations

from dataclasses import dataclass

from scaling_lab.checks import Fields, check_flag, check_whole
from scaling_lab.errors import UserError

DRIFT = 0.03  # so far an anchor may be off


@dataclass(frozen=True, kw_only=True)
class Protocol(Fields):
    """How many runs of each detector, in how many processes, after how many runs of warm-up in each.

    With `correct` what ran between two anchors that agree within 3 % counts, divided by how slow they were; else they have
    to lie within 3 % of the anchor's median. `anyway` counts all there is, on a busy device too; the rows tell the drift.
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
        """What the rows say of how drift was met."""
        return "corrected" if self.correct else "unchecked" if self.anyway else "anchored"
