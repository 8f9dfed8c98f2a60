"""Checks that a study's baseline is a point of its space, before any training."""

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

# Enough samples to reach all but rare branches of a conditional space; the first one is usually the baseline.
MOST_DRAWN = 2000
MOST_NAMED = 20


def check_baselines(study: Study) -> None:
    """Check the baseline of a study, and of each form that sets one, in the space that applies to it.

    A form that sets another space only may lack the baseline; reports then say so. Raises UserError with the parameters or
    values that exist.
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

    A space that fails passes the check; the failing trial gives more detail.
    """
    with contextlib.suppress(_SpaceFails):
        if study.baseline:
            baseline_point(study)


def baseline_point(study: Study) -> tuple[dict[str, Any], DetectorSpec]:
    """Sample points of the space until one has all of the baseline's values; the result is deterministic.

    Raises UserError where no point matches, and where the space fails.
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
    """The search space itself failed."""


class _Draw(Suggestions):
    """Suggests the baseline's values, and random ones for other parameters; prunes where a value is not allowed."""

    def __init__(self, baseline: Mapping[str, Any]) -> None:
        super().__init__()
        self._baseline, self._chance = baseline, random.Random(0)
        self._names: dict[str, None] = {}
        self._refusals: dict[str, str] = {}
        self._looked_up: dict[str, tuple[Sequence[Any], list[Any]]] = {}

    def why(self) -> str:
        """Return why no point matched the baseline."""
        for refusal in self._refusals.values():
            return refusal
        for name in self._baseline:
            if name not in self._names:
                found = f"baseline has {name!r}{near(name, self._names)}, which the space does not suggest"
                others = _point({other: value for other, value in self._baseline.items() if other != name})
                return f"{found}{' at ' + others if others else ''}; allowed are {', '.join(self._names)}"
        return f"baseline is {_point(self._baseline)}; the space has each of these values but no point with all of them"

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
        """Return the choices that match the baseline's value in reports. Cached, since there may be a million."""
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
