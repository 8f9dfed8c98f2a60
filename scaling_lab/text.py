"""Numbers, intervals, lists and plurals as text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence


def plural(count: int, thing: str, things: str | None = None) -> str:
    """Return a count with its noun: "1 seed", "3 seeds"."""
    return f"{count:,} {thing if count == 1 else things or thing + 's'}"


def listed(names: Sequence[str], *, most: int = 8) -> str:
    """Return names as a list: "A, B and C"; "A, 1; B and C" where a name contains a comma."""
    comma = "; " if any("," in name for name in names[:most]) else ", "
    shown = list(names[:most])
    if len(names) > most:
        shown.append(f"{len(names) - most} more")
    return shown[0] if len(shown) == 1 else f"{comma.join(shown[:-1])} and {shown[-1]}" if shown else "none"


def interval(low: float, high: float) -> str:
    """Return an interval as text, a dash for nan."""
    # Adding 0 turns -0.0 into 0.0.
    return "–" if math.isnan(low) else f"[{round(low, 1) + 0.0:.1f}, {round(high, 1) + 0.0:.1f}]"


def signed_interval(low: float, high: float) -> str:
    """Return the interval of a difference as text, a dash for nan."""
    return "–" if math.isnan(low) else f"[{signed(low)}, {signed(high)}]"


def number(value: float, digits: int) -> str:
    """Return a number with `digits` decimals and a true minus sign."""
    # Adding 0 turns -0.0 into 0.0.
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def p_value(p: float) -> str:
    """Return a p value as text, never as 0; a dash for nan."""
    return "–" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def signed(value: float) -> str:
    """Return a difference with its sign."""
    return f"{value:+.1f}".replace("-", "−")


def significant(value: float, digits: int = 3) -> str:
    """Return a number with `digits` significant digits, without exponent: 0.0110, 2.49, 1,230."""
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])
    rounded = round(value, digits - 1 - exponent)
    return f"{rounded:,.{max(0, digits - 1 - exponent)}f}".replace("-", "−")


def duration(seconds: float) -> str:
    """Return a duration in short form: 8 s, 3 min, 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def plainly(value: object) -> str:
    """Return a JSON value as text: "yes", "none", "epochs 5, lr 0.02", with spaces for underscores in names."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{name.replace('_', ' ')} {plainly(each)}" for name, each in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(plainly(each) for each in value) or "none"
    return "none" if value is None else str(value)


def identifier(text: str) -> str:
    """Make an id of HTML out of a title: lower case, its words joined by hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "section"
