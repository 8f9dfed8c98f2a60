"""Checks of single user values; each message names the thing, its value and what is allowed."""

from __future__ import annotations

import dataclasses
import difflib
import json
import operator
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self, TypeGuard

from scaling_lab.errors import UserError

_LONGEST = 80  # characters of a value in a message


class Fields:
    """Base of settings dataclasses: an unknown keyword raises UserError with the known fields."""

    def __new__(cls, *values: object, **named: object) -> Self:
        """Check the names before __init__, whose TypeError does not name the fields."""
        check_fields(cls.__name__, named, [f.name for f in dataclasses.fields(cls)])  # type: ignore[arg-type]
        return super().__new__(cls)


def check_fields(thing: str, names: Iterable[str], allowed: Sequence[str]) -> None:
    """Raise UserError for a name that is not allowed."""
    for name in names:
        if name not in allowed:
            raise UserError(f"{thing} has no field {name!r}{near(name, allowed)}; allowed are {', '.join(allowed)}")


def near(name: object, allowed: Iterable[object]) -> str:
    """Return " (did you mean 'x'?)" for the most similar allowed text, or ""."""
    found = nearest(name, allowed)
    return "" if found is None else f" (did you mean {found!r}?)"


def nearest(name: object, allowed: Iterable[object]) -> str | None:
    """Return the most similar allowed text, or None."""
    words = [each for each in allowed if isinstance(each, str)]
    found = difflib.get_close_matches(name, words, n=1) if isinstance(name, str) else []
    return found[0] if found else None


def check_whole(name: str, value: object, *, least: int | None = None, most: int | None = None) -> None:
    """Raise UserError unless the value is a whole number within the bounds; True and False are not."""
    if not is_whole(value) or (least is not None and value < least) or (most is not None and value > most):
        bounds = "".join(f" {word} {bound}" for word, bound in (("from", least), ("to", most)) if bound is not None)
        raise UserError(f"{name} is {shown(value)}; allowed are whole numbers{bounds}")


def check_number(
    name: str,
    value: object,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
) -> None:
    """Raise UserError unless the value is a finite number within the bounds; True and False are not."""
    bounds = (
        (above, "above", operator.gt),
        (least, "from", operator.ge),
        (below, "to below", operator.lt),
        (most, "to", operator.le),
    )
    given = [(bound, words, holds) for bound, words, holds in bounds if bound is not None]
    if not is_number(value) or not all(holds(value, bound) for bound, _, holds in given):
        words = "".join(f" {words} {bound}" for bound, words, _ in given)
        raise UserError(f"{name} is {shown(value)}; allowed are finite numbers{words}")


def check_choice(name: str, value: object, allowed: Sequence[str]) -> None:
    """Raise UserError unless the value is one of the allowed texts."""
    if value not in allowed:
        raise UserError(f"{name} is {value!r}; allowed are {', '.join(allowed)}")


def check_flag(name: str, value: object) -> None:
    """Raise UserError unless the value is True or False."""
    if not isinstance(value, bool):
        raise UserError(f"{name} is {value!r}; allowed are True and False")


def check_text(name: str, value: object, allowed: str) -> None:
    """Raise UserError unless the value is non-blank text; `allowed` describes it."""
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{name} is {value!r}; allowed is {allowed}")


def check_items(name: str, value: object, allowed: str) -> tuple[Any, ...]:
    """Return the items of a list or similar, unchecked. Raises UserError for a single value or a text."""
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes, Mapping)):
        raise UserError(f"{name} is {value!r}; allowed is {allowed}")
    return tuple(value)


def check_json(name: str, value: object) -> dict[str, Any]:
    """Return a mapping as JSON would return it. Raises UserError for values that JSON cannot hold."""
    if not isinstance(value, Mapping):
        raise UserError(f"{name} is {value!r}; allowed is a mapping of JSON values")
    try:
        return dict(json.loads(json.dumps(dict(value), allow_nan=False)))
    except (TypeError, ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else error
        raise UserError(f"{name} is {shown(value)}; allowed is a mapping of JSON values ({why})") from None


def shown(value: object) -> str:
    """Return a value as text for a message, shortened if long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python refuses to print very long numbers
        return "a value that is too long to be shown"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"


def is_whole(value: object) -> TypeGuard[int]:
    """Return whether a value is a whole number; True and False are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value is a finite number; True and False are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
