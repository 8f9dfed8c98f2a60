"""The table of named topologies. The package topologies fills it; to add one, add a line there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# A Topology by (min_level, max_level) and, by keyword, its fusion.
PUBLISHED: dict[str, Callable[..., Any]] = {}
