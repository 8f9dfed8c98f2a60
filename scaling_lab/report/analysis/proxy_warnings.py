"""Warnings about a proxy and its full protocol, in sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scaling_lab.report.analysis.frontier import Frontier
from scaling_lab.text import significant

if TYPE_CHECKING:
    from scaling_lab.runs.reader import Runs

ROUND = "are the runs in the wrong order?"


def between_protocols(proxy: Frontier, full: Frontier) -> str:
    """Warn of equal protocols, or of a proxy whose trials took longer; "" without a warning."""
    if proxy.trials.empty or full.trials.empty:
        return ""
    epochs = [int(each.trials["epochs"].iloc[0]) for each in (proxy, full)]
    # Different specs under one protocol, such as smaller images, are not a repeat.
    shared = [set(proxy.trials[name]) & set(full.trials[name]) for name in ("protocol", "architecture")]
    if all(shared) and epochs[0] == epochs[1]:
        return "Both runs have the same protocol: this is a repeat, not a test of a proxy."
    seconds = _seconds(proxy, full)
    if seconds[0] > seconds[1]:
        one, other = (significant(each, 2 if each < 100 else 3) for each in seconds)
        return f"A trial took {one} s as proxy and {other} s in full: {ROUND}"
    return ""


def between_runs(proxy: Runs, full: Runs) -> list[str]:
    """Warn of runs with different images, and of a proxy whose trials train on more images."""
    found, digests = [], [runs.meta.get("data_digest") for runs in (proxy, full)]
    if all(digests) and digests[0] != digests[1]:
        one, other = (str(digest)[:12] for digest in digests)
        found.append(f"The runs have different images (digests {one}, {other}), which may explain differences in rank.")
    seen = [_images_seen(runs) for runs in (proxy, full)]
    if seen[0] > seen[1]:
        found.append(
            f"A trial trains on {seen[0]:,} images (epochs × images) as proxy and on {seen[1]:,} in full: {ROUND}"
        )
    return found


def _seconds(proxy: Frontier, full: Frontier) -> tuple[float, float]:
    """Return a trial's mean seconds under both protocols, over shared architectures if there are any."""
    shared = set(proxy.trials["architecture"]) & set(full.trials["architecture"])
    tables = [
        each.trials[each.trials["architecture"].isin(shared)] if shared else each.trials for each in (proxy, full)
    ]
    return float(tables[0]["seconds"].mean()), float(tables[1]["seconds"].mean())


def _images_seen(runs: Runs) -> float:
    """Return epochs times training images of the longest complete trial; nan if not recorded."""
    images, trials = (runs.meta.get("data") or {}).get("train_images"), runs.table()
    epochs = trials.loc[trials["state"] == "complete", "epochs_done"]
    if not isinstance(images, int) or epochs.empty or math.isnan(epochs.max()):
        return math.nan
    return int(epochs.max()) * images
