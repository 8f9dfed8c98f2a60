"""Compares two lists of classes by name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

_SHOWN = 5


def places_by_name(wanted: Sequence[str], there: Sequence[str]) -> list[int] | None:
    """Return the index of each wanted name in the other list; None for a missing name, or one that is ambiguous.

    Equal lists are matched by position.
    """
    if list(wanted) == list(there):
        return list(range(len(wanted)))
    place = {name: index for index, name in enumerate(there)}
    if len(place) < len(there) or len(set(wanted)) < len(wanted) or not set(wanted) <= set(place):
        return None
    return [place[name] for name in wanted]


def difference(weights: Sequence[str], data: Sequence[str]) -> str:
    """Return why the data's classes do not match the weights' by name."""
    missing = [name for name in data if name not in weights]
    idle = [name for name in weights if name not in data]
    said = []
    if missing:
        said.append(f"in the data, but not in the weights: {_some(missing)}")
    if idle:
        said.append(f"in the weights, but not in the data: {_some(idle)}")
    alike = [f"{a!r} and {b!r}" for a in missing for b in idle if _folded(a) == _folded(b)]
    if alike:
        said.append(f"{', '.join(alike[:_SHOWN])} differ only in case, spaces or hyphens")
    for names, words in ((weights, "weights"), (data, "data")):
        twice = [name for name, times in Counter(names).items() if times > 1]
        if twice:
            said.append(f"more than once in the {words}: {_some(twice)}")
    return "; ".join(said)


def unused_words(weights: Sequence[str], data: Sequence[str]) -> str:
    """Return a note on the weights' classes that the data lack, or ""."""
    idle = [name for name in weights if name not in data]
    return f"{len(idle)} of the weights' {len(weights)} classes are not in the data ({_some(idle)})" if idle else ""


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:_SHOWN])) + (", …" if len(names) > _SHOWN else "")


def _folded(name: str) -> str:
    return "".join(c for c in name.casefold() if not c.isspace() and c not in "_-")
