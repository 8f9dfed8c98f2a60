"""Times runs of a call: warm-up, blocks of runs, and a summary."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

Run = Callable[[], Any]


def timed(run: Run) -> float:
    """Run once and return milliseconds."""
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3


def block(run: Run, runs: int) -> list[float]:
    """Run once untimed, to warm caches, then `runs` times. Return milliseconds."""
    run()
    return [timed(run) for _ in range(runs)]


def warm_up(run: Run, *, drift: float, block: int, least: int, most: int) -> tuple[float, int]:
    """Run in blocks until the median changes by less than `drift` between blocks, `least` to `most` runs.

    Returns the last relative change and the number of runs.
    """
    done, before, change = 0, float("inf"), float("inf")
    while done < least or (change >= drift and done < most):
        now = statistics.median(timed(run) for _ in range(block))
        done, change, before = done + block, abs(before - now) / now, now
    return change, done


def summary(times: Sequence[float]) -> dict[str, float]:
    """Return median_ms, p90_ms, spread_ms (interquartile range) and the number of runs."""
    quarters = statistics.quantiles(times, n=4)
    return {
        "median_ms": statistics.median(times),
        "p90_ms": statistics.quantiles(times, n=10)[-1],
        "spread_ms": quarters[2] - quarters[0],
        "runs": len(times),
    }
