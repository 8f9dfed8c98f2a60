"""Finds the largest detector of a scaling rule within a budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from scaling_lab.architecture.compound_scaling import CompoundScaling
from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.checks import check_number
from scaling_lab.cost import count
from scaling_lab.errors import UserError
from scaling_lab.metrics import COUNTED, counted

LOWEST, HIGHEST = -256.0, 256.0
# Steps in a unit of phi. With latencies they are coarser, since a latency varies by more than a finer step.
COUNTED_ALONE, TIMED = 1000, 20

# Returns milliseconds.
Measure = Callable[[DetectorSpec], float]


@dataclass(frozen=True, kw_only=True)
class Solution:
    """The largest phi within the budget, its detector, and the detector's costs."""

    phi: float
    spec: DetectorSpec
    costs: Mapping[str, float]


def solve(rule: CompoundScaling, budget: Mapping[str, float], *, measure: Measure | None = None) -> Solution:
    """Return the largest phi, to three decimals, at which a rule's detector is within the budget.

    `budget` maps counted metrics (scaling_lab.metrics) to upper limits; also latency_ms where `measure` returns a detector's
    latency, and then phi is found to 0.05. Costs must increase with phi. Raises UserError where no phi from -256 to 256
    is within the budget, or every one is.
    """
    allowed = (*COUNTED, "latency_ms") if measure else COUNTED
    for name, most in budget.items():
        if name not in allowed:
            raise UserError(f"budget {name!r} is unknown; allowed are {', '.join(allowed)}")
        check_number(f"budget {name!r}", most, above=0)
    if not budget:
        raise UserError(f"budget is empty; allowed are {', '.join(allowed)}")
    search = _Search(rule, budget, measure)
    within, above = search.bracket()
    while above - within > 1:
        middle = (within + above) // 2
        within, above = (middle, above) if search.at(middle) else (within, middle)
    return search.solution(within)


class _Search:
    def __init__(self, rule: CompoundScaling, budget: Mapping[str, float], measure: Measure | None) -> None:
        self._rule, self._budget, self._measure = rule, budget, measure
        self._a_unit = TIMED if "latency_ms" in budget else COUNTED_ALONE
        self._known: dict[DetectorSpec, dict[str, float]] = {}

    def bracket(self) -> tuple[int, int]:
        """Return two steps, the first within the budget and the second not. Raises UserError."""
        low, high, stride = 0, self._a_unit, self._a_unit
        while not self.at(low):
            if stride == 0 or self._phi(low - stride) < LOWEST:
                raise UserError(f"no phi down to {self._phi(low):g} is within {self._words()}{self._at_least()}")
            if self._exists(low - stride):
                low, high = low - stride, low
            else:
                stride //= 2
        stride = self._a_unit
        while self.at(high):
            low, high, stride = high, high + stride, 2 * stride
            if self._phi(high) > HIGHEST or not self._exists(high):
                raise UserError(
                    f"phi = {self._phi(low):g} is still within {self._words()}; scaling {', '.join(self._rule.scaled)} "
                    "does not reach the budget: scale other dimensions too"
                )
        return low, high

    def at(self, step: int) -> bool:
        """Return whether the detector at a step is within the budget."""
        costs = self._costs(self._rule.spec(self._phi(step)))
        return all(costs[name] <= most for name, most in self._budget.items())

    def solution(self, step: int) -> Solution:
        """Return the solution at a step."""
        phi = self._phi(step)
        spec = self._rule.spec(phi)
        return Solution(phi=phi, spec=spec, costs=self._costs(spec))

    def _phi(self, step: int) -> float:
        return round(step / self._a_unit, 3)

    def _exists(self, step: int) -> bool:
        """Return whether the rule has a detector at a step, with no vanished dimension."""
        try:
            self._rule.spec(self._phi(step))
        except UserError:
            return False
        return True

    def _costs(self, spec: DetectorSpec) -> dict[str, float]:
        if spec not in self._known:
            cost = count(spec)
            costs = counted(spec, cost)
            # A detector above a counted budget needs no measurement.
            is_within = all(costs[name] <= most for name, most in self._budget.items() if name in costs)
            if self._measure is not None:
                costs["latency_ms"] = self._measure(spec) if is_within else float("inf")
            self._known[spec] = costs
        return self._known[spec]

    def _words(self) -> str:
        return ", ".join(f"{name} {most:g}" for name, most in self._budget.items())

    def _at_least(self) -> str:
        least = {name: min(costs[name] for costs in self._known.values()) for name in self._budget}
        return f"; the lowest found was {', '.join(f'{name} {value:.4g}' for name, value in least.items())}"
