"""Sentences on measured latencies: their conditions and cautions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from scaling_lab.text import plural

QUIET = 1.5  # times the median; a higher 90th percentile means that the device was busy
METHODS = {
    "quick": ", measured quickly by the run itself",
    "anchored": "",
    "corrected": ", corrected by the anchor",
    "unchecked": ", drift not checked",
}


def condition_words(row: Any) -> str:
    """Return the device and the conditions of a row of latencies in words."""
    scope = "with post-processing" if row["scope"] == "end_to_end" else "network alone"
    threads = f", {plural(int(row['threads']), 'thread')}" if row["threads"] else ""
    method = METHODS[row["method"]]
    return f"{row['device']}{threads}, batch {row['batch']}, {row['dtype']}, {row['backend']}, {scope}{method}"


def not_quiet(latencies: pd.DataFrame) -> str:
    """Warn of a busy device if a 90th percentile is far above its median; else ""."""
    most = float((latencies["p90_ms"] / latencies["median_ms"]).max())
    return f" The device was not quiet: a 90th percentile reaches {most:.1f} times its median." if most > QUIET else ""


def quick_caution(group: pd.DataFrame, meta: Mapping[str, Any]) -> str:
    """Return a caution on latencies of method "quick"; "" for latencies measured by the protocol.

    A run times architectures after its trials, or at the start of each trial if latency is an objective or a limit.
    """
    if group["method"].iloc[0] != "quick":
        return ""
    is_timed = any("latency_ms" in (meta.get(part) or {}) for part in ("objectives", "limits"))
    when = "as the first step of a trial, beside other trials" if is_timed else "after the trials"
    return (
        f" Measured quickly, once each, {when}, on a possibly busy machine. Small differences are not reliable, so no "
        "front is drawn. `scaling-lab measure RUN` measures by the protocol."
    )
