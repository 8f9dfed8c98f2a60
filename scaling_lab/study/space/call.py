"""Calling a search space for a spec, with errors that name the space's file and line."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.errors import UserError
from scaling_lab.study.study import Space
from scaling_lab.user_files import locate


def call_space(space: Space, trial: Any) -> DetectorSpec:
    """Call a space for a spec. Raises UserError with file and line where it fails; optuna.TrialPruned passes through."""
    try:
        spec = space(trial)
    except optuna.TrialPruned:
        raise
    except Exception as error:
        raise point_error(error, space, getattr(trial, "params", {})) from None
    if not isinstance(spec, DetectorSpec):
        name = getattr(space, "__qualname__", space)
        raise UserError(f"the search space {name} returned a {type(spec).__name__}; allowed is a DetectorSpec")
    return spec


def point_error(error: Exception, space: Space, params: Mapping[str, Any]) -> UserError:
    """Return an error at a point of a space, with the space's file and, if known, the line."""
    file = Path(space.__code__.co_filename) if hasattr(space, "__code__") else None
    point = ", ".join(f"{name}={value!r}" for name, value in params.items())
    return UserError(f"{locate(error, otherwise=file)} (in the search space{', at ' + point if point else ''})")
