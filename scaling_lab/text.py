"""Numbers, intervals, lists and plurals as text."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence


def plural(count: int, thing: str, things: str | None = None) -> str:
    """Count things: "1 seed", "3 seeds"."""
    return f"{count:,} {thing if count == 1 else things or thing + 's'}"


def listed(names: Sequence[str], *, most: int = 8) -> str:
    """Write names as a list: "A, B and C"; "A, 1; B and C" where a name has a comma in it."""
    comma = "; " if any("," in name for name in names[:most]) else ", "
    shown = list(names[:most])
    if len(names) > most:
        shown.append(f"{len(names) - most} more")
    return shown[0] if len(shown) == 1 else f"{comma.join(shown[:-1])} and {shown[-1]}" if shown else "none"


def interval(low: float, high: float) -> str:
    """Write an interval, a dash where there is none."""
    # Added to 0, what is rounded to -0.0 is 0.0.
    return "–" if math.isnan(low) else f"[{round(low, 1) + 0.0:.1f}, {round(high, 1) + 0.0:.1f}]"


def signed_interval(low: float, high: float) -> str:
    """Write an interval of a difference, a dash where there is none."""
    return "–" if math.isnan(low) else f"[{signed(low)}, {signed(high)}]"


def number(value: float, digits: int) -> str:
    """Write a number with so many digits after the point and a true minus sign."""
    # Added to 0, what is rounded to -0.0 is 0.0.
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def p_value(p: float) -> str:
    """Write a p, never as nothing at all; a dash where there is none."""
    return "–" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def signed(value: float) -> str:
    """Write a difference with its sign."""
    return f"{value:+.1f}".replace("-", "−")


def significant(value: float, digits: int = 3) -> str:
    """Write a number with so many significant digits, never as a power of ten: 0.0110, 2.49, 1,230."""
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])
    rounded = round(value, digits - 1 - exponent)
    return f"{rounded:,.{max(0, digits - 1 - exponent)}f}".replace("-", "−")


def duration(seconds: float) -> str:
    """Say a time span shortly: 8 s, 3 min, 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def plainly(value: object) -> str:
    """Write a JSON value: "yes", "none", "epochs 5, lr 0.02", with underscores of names as blanks."""
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
