"""The architecture of a study's baseline, or why the run has none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from scaling_lab.errors import UserError
from scaling_lab.report.tables import records
from scaling_lab.text import listed

if TYPE_CHECKING:
    from scaling_lab.report.analysis.frontier import Frontier
    from scaling_lab.runs.reader import Runs


def find_baseline(runs: Runs, frontier: Frontier) -> tuple[str | None, str]:
    """Return the digest of the study's baseline, or None and the reason.

    Raises UserError if the baseline names a parameter that no point of the run has.
    """
    point = runs.meta.get("baseline")
    if not point:
        return (
            None,
            "The study names no baseline. Give it one (Study(baseline={...}), a point of its space) to compare with.",
        )
    known = _points(runs)
    _check_names(point, known)
    wanted = ", ".join(f"{name} = {value}" for name, value in point.items())
    rows = records(_with_params(frontier.trials, "architecture"))
    digests = list(dict.fromkeys(row["architecture"] for row in rows if _fits(_point(row), point)))
    if len(digests) == 1:
        return str(digests[0]), ""
    if digests:
        return None, (
            f"The baseline ({wanted}) fits {len(digests)} architectures; "
            "name every parameter of its point to choose one."
        )
    if any(_fits(found, point) for found in known):
        return None, f"The baseline ({wanted}) has no complete trial, so nothing can be compared with it yet."
    return (
        None,
        f"The baseline ({wanted}) is not a point of this run, so nothing can be compared with it. {_values(point, known)}",
    )


def _points(runs: Runs) -> list[dict[str, Any]]:
    """Return the points of all trials in any state, and those rejected by the limits."""
    return [_point(row) for row in records(_with_params(runs.table()))] + [
        dict(p) for p in runs.rejections().get("params", ())
    ]


def _with_params(trials: pd.DataFrame, *names: str) -> pd.DataFrame:
    """Return only these columns and the parameters', to convert little of a table of thousands of trials."""
    return trials[[name for name in trials.columns if name in names or str(name).startswith("param_")]]


def _point(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters in a row of trials, without missing values, which belong to other branches of the space."""
    point = {name.removeprefix("param_"): value for name, value in row.items() if name.startswith("param_")}
    return {name: value for name, value in point.items() if not pd.isna(value)}


def _fits(found: Mapping[str, Any], point: Mapping[str, Any]) -> bool:
    return all(_same(found.get(name), value) for name, value in point.items())


def _same(found: object, value: object) -> bool:
    """Compare two values of a parameter; a table may have turned an integer into a float."""
    return bool(found == value) or str(found) == str(value)


def _check_names(point: Mapping[str, Any], known: list[dict[str, Any]]) -> None:
    allowed = list(dict.fromkeys(name for found in known for name in found))
    for name in point:
        if allowed and name not in allowed:
            raise UserError(f"the study's baseline names {name!r}; allowed are the space's {', '.join(allowed)}")


def _values(point: Mapping[str, Any], known: list[dict[str, Any]]) -> str:
    """List the run's values of the baseline's parameters."""
    sentences = []
    for name in point:
        values = list(dict.fromkeys(_written(found[name]) for found in known if name in found))
        sentences.append(f"Its values of {name}: {listed(values)}.")
    return " ".join(sentences) if known else ""


def _written(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
