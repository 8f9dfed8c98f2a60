"""Parses --data: a location, and fields after commas."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Mapping
from typing import Any

from scaling_lab.errors import UserError

_READ = {"int": int, "float": float}


def place_and_fields(text: str, kinds: Collection[str]) -> tuple[str, dict[str, str | bool]]:
    """Split at commas outside the name of an existing folder, the longest such name. A field without a value is True.

    One of the `kinds` and a colon may precede the folder. Raises UserError for a repeated field.
    """
    parts = text.split(",")
    number = next((number for number in range(len(parts), 1, -1) if _is_there(parts[:number], kinds)), 1)
    fields: dict[str, str | bool] = {}
    for part in parts[number:]:
        name, equals, value = (each.strip() for each in part.partition("="))
        if name in fields:
            raise UserError(f"--data names the field {name!r} twice; allowed is once")
        fields[name] = value if equals else True
    return ",".join(parts[:number]), fields


def values_of(source: type[Any], fields: Mapping[str, str | bool]) -> dict[str, Any]:
    """Convert each field to its type. Text that cannot be converted is kept, for the source to reject."""
    types = {field.name: str(field.type).partition(" | ")[0] for field in dataclasses.fields(source)}
    return {name: _value(types.get(name, ""), text) for name, text in fields.items()}


def _is_there(parts: list[str], kinds: Collection[str]) -> bool:
    whole = ",".join(parts)
    kind, colon, folder = whole.partition(":")
    # os.path, unlike Path, returns False for a text that is too long for a file name.
    return any(
        os.path.exists(os.path.expanduser(each)) for each in (whole, folder if colon and kind in kinds else whole)
    )


def _value(kind: str, text: str | bool) -> Any:
    if isinstance(text, bool):
        return text
    if kind in ("bool", *_READ) and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return _READ[kind](text)
    except (KeyError, ValueError):
        return text
