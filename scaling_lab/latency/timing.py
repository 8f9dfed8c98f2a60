"""Times runs of a call: warm-up, blocks of runs, their order, and a summary.

The script of `measure --export` contains this module, so it imports the standard library alone.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

BLOCK = 5  # runs in a block
EVERY = 4  # number of contestants between two anchors
DRIFT = 0.03  # largest relative deviation of an anchor
MOST_PROCESSES = 3  # at most this many times the requested processes are run
WARM_UP = {"drift": 0.01, "block": 10, "most": 200}

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


def protocol_warm_up(run: Run, least: int) -> tuple[float, int]:
    """Warm up by WARM_UP, with at most four times `least` runs; return as `warm_up` does."""
    most = min(int(WARM_UP["most"]), 4 * least)
    return warm_up(run, drift=WARM_UP["drift"], block=min(int(WARM_UP["block"]), least), least=least, most=most)


def turns(contestants: int, rounds: int, draw: random.Random) -> Iterator[tuple[int, Sequence[int]]]:
    """Yield the round, and the contestants between two anchors."""
    order = list(range(contestants))
    for number in range(rounds):
        if number % 2 == 0:
            draw.shuffle(order)
        else:
            order.reverse()
        yield from ((number, order[start : start + EVERY]) for start in range(0, contestants, EVERY))


def summary(times: Sequence[float]) -> dict[str, float]:
    """Return median_ms, p90_ms, spread_ms (interquartile range) and the number of runs."""
    quarters = statistics.quantiles(times, n=4)
    return {
        "median_ms": statistics.median(times),
        "p90_ms": statistics.quantiles(times, n=10)[-1],
        "spread_ms": quarters[2] - quarters[0],
        "runs": len(times),
    }
