"""Round numbers in a range, for ticks of an axis and bands of a cost."""

from __future__ import annotations

import math

from matplotlib.ticker import MaxNLocator


def log_ticks(low: float, high: float) -> list[float]:
    """Return round numbers in a range for a log axis: 1, 2, 5, …, or evenly spaced ones in a short range."""
    if high / low < 3.5:
        even = MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
        return [float(tick) for tick in even if low <= tick <= high]
    steps = (1, 1.5, 2, 3, 5, 7) if high / low < 10 else (1, 2, 5) if high / low < 200 else (1,)
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
