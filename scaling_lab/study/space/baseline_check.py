"""Whether a study's baseline is a point of its space, found out before anything is trained. It compares no results."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Mapping, Sequence
from typing import Any

import optuna

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.checks import near
from scaling_lab.errors import UserError
from scaling_lab.study.space.call import call_space
from scaling_lab.study.space.enumeration import Suggestions
from scaling_lab.study.study import Study

# Enough to come upon every branch of a conditional space that is not very rare; the baseline itself is mostly the first.
MOST_DRAWN = 2000
MOST_NAMED = 20


def check_baselines(study: Study) -> None:
    """Check a study's baseline, and each that a form sets, in the space beside which it is written.

    A form that sets another space alone may leave the baseline out: reports then say so. Raises UserError with the
    parameters or values there are.
    """
    check_baseline(study)
    for name, changes in study.forms.items():
        if "baseline" in changes:
            try:
                check_baseline(study.form(name))
            except UserError as error:
                raise UserError(f"form {name!r}: {error}") from None


def check_baseline(study: Study) -> None:
    """Raise UserError where no point of the space has all of the baseline's values.

    A space that fails is not judged: the trial that fails says more.
    """
    with contextlib.suppress(_SpaceFails):
        if study.baseline:
            baseline_point(study)


def baseline_point(study: Study) -> tuple[dict[str, Any], DetectorSpec]:
    """Draw points of the space until one has all of the baseline's values; the same one each time.

    Raises UserError where none has, and where the space fails.
    """
    draw = _Draw(study.baseline or {})
    for _ in range(MOST_DRAWN):
        draw.params = {}
        try:
            spec = call_space(study.space, draw)
        except optuna.TrialPruned:
            continue
        except UserError as error:
            raise _SpaceFails(str(error)) from None
        if set(study.baseline or {}) <= set(draw.params):
            return draw.params, spec
    raise UserError(draw.why())


class _SpaceFails(UserError):
    """The space itself has failed."""


class _Draw(Suggestions):
    """Suggests the baseline's values, and anything for the other parameters; prunes where a value is not allowed."""

    def __init__(self, baseline: Mapping[str, Any]) -> None:
        super().__init__()
        self._baseline, self._chance = baseline, random.Random(0)
        self._names: dict[str, None] = {}
        self._refusals: dict[str, str] = {}
        self._looked_up: dict[str, tuple[Sequence[Any], list[Any]]] = {}

    def why(self) -> str:
        """Say why no point has been the baseline."""
        for refusal in self._refusals.values():
            return refusal
        for name in self._baseline:
            if name not in self._names:
                found = f"baseline has {name!r}{near(name, self._names)}, which the space does not suggest"
                others = _point({other: value for other, value in self._baseline.items() if other != name})
                return f"{found}{' at ' + others if others else ''}; allowed are {', '.join(self._names)}"
        return (
            f"baseline is {_point(self._baseline)}; the space has each of these values, but no point with all of them"
        )

    def _choose(self, name: str, choices: Sequence[Any]) -> Any:
        self._names[name] = None
        if name not in self._baseline:
            return self._chance.choice(choices)
        for match in self._matches(name, choices):
            return match
        value = self._baseline[name]
        more = f", … {choices[-1]!r} ({len(choices)} in all)" if len(choices) > MOST_NAMED else ""
        allowed = ", ".join(map(repr, choices[:MOST_NAMED])) + more
        raise self._refusal(name, f"{near(value, choices[:MOST_NAMED])}; allowed are {allowed}")

    def _choose_between(self, name: str, low: float, high: float) -> float:
        self._names[name] = None
        if name not in self._baseline:
            return self._chance.uniform(low, high)
        value = self._baseline[name]
        if isinstance(value, (int, float)) and low <= value <= high:
            return float(value)
        raise self._refusal(name, f"; allowed are numbers from {low} to {high}")

    def _matches(self, name: str, choices: Sequence[Any]) -> list[Any]:
        """Give the choices that reports take for the baseline's value; looked up once, for there may be a million."""
        if name not in self._looked_up or self._looked_up[name][0] != choices:
            value = self._baseline[name]
            found = [choice for choice in choices if choice == value or str(choice) == str(value)]
            self._looked_up[name] = (choices, found)
        return self._looked_up[name][1]

    def _refusal(self, name: str, allowed: str) -> optuna.TrialPruned:
        self._refusals[name] = f"baseline {name} is {self._baseline[name]!r}{allowed}"
        return optuna.TrialPruned()


def _point(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in values.items())
