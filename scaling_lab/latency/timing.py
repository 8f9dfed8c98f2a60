"""Runs of a call, timed: warm-up, blocks of runs, and what is said of many runs. It knows no detectors."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

Run = Callable[[], Any]


def timed(run: Run) -> float:
    """Run once; give milliseconds."""
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3


def block(run: Run, runs: int) -> list[float]:
    """Run once uncounted, which brings the weights back into the caches, and then so many times; give milliseconds."""
    run()
    return [timed(run) for _ in range(runs)]


def warm_up(run: Run, *, drift: float, block: int, least: int, most: int) -> tuple[float, int]:
    """Run in blocks until the median changes by less than `drift` from one to the next, `least` to `most` runs.

    Gives the last change, a share, and how many runs it took.
    """
    done, before, change = 0, float("inf"), float("inf")
    while done < least or (change >= drift and done < most):
        now = statistics.median(timed(run) for _ in range(block))
        done, change, before = done + block, abs(before - now) / now, now
    return change, done


def summary(times: Sequence[float]) -> dict[str, float]:
    """Give median_ms, p90_ms, spread_ms (interquartile) and the number of runs."""
    quarters = statistics.quantiles(times, n=4)
    return {
        "median_ms": statistics.median(times),
        "p90_ms": statistics.quantiles(times, n=10)[-1],
        "spread_ms": quarters[2] - quarters[0],
        "runs": len(times),
    }
