"""What is said of measured latencies: their conditions, and what they are not worth. It computes and draws nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from scaling_lab.text import plural

QUIET = 1.5  # times the median: a 90th percentile beyond it means that something else ran on the device
METHODS = {
    "quick": ", measured quickly by the run itself",
    "anchored": "",
    "corrected": ", corrected by the anchor",
    "unchecked": ", drift not checked",
}


def condition_words(row: Any) -> str:
    """Name the device and the conditions of a row of latencies."""
    scope = "with post-processing" if row["scope"] == "end_to_end" else "network alone"
    threads = f", {plural(int(row['threads']), 'thread')}" if row["threads"] else ""
    method = METHODS[row["method"]]
    return f"{row['device']}{threads}, batch {row['batch']}, {row['dtype']}, {row['backend']}, {scope}{method}"


def not_quiet(latencies: pd.DataFrame) -> str:
    """Say that a device was not quiet, where a 90th percentile lies far above its median; else nothing."""
    most = float((latencies["p90_ms"] / latencies["median_ms"]).max())
    return f" The device was not quiet: a 90th percentile reaches {most:.1f} times its median." if most > QUIET else ""


def quick_caution(group: pd.DataFrame, meta: Mapping[str, Any]) -> str:
    """Say what latencies of method "quick" are worth; nothing of those that were measured by the protocol.

    A run times what is complete after its trials, and where latency is an objective or a limit each as a trial begins.
    """
    if group["method"].iloc[0] != "quick":
        return ""
    is_timed = any("latency_ms" in (meta.get(part) or {}) for part in ("objectives", "limits"))
    when = "as the first step of a trial, beside other trials" if is_timed else "after the trials"
    return (
        f" Measured quickly, once each, {when}, on a machine that may have been busy: differences of this size are no "
        "finding, so no front is drawn. `scaling-lab measure RUN` measures by the protocol."
    )
