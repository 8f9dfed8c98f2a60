"""The frontier report: the accuracy–cost front of a run, with its uncertainty.

scaling-lab report runs/<study> --report reports/frontier.py
"""

from __future__ import annotations

from scaling_lab.report import Page, run_page
from scaling_lab.runs.reader import Runs

SECTIONS = (
    "limits",
    "explorer",
    "finalists",
    "accuracy_and_cost",
    "architectures",
    "search",
    "beliefs",
    "rungs",
    "proxy",
    "topologies",
    "curves",
    "detections",
    "failures",
    "provenance",
)


def report(runs: Runs) -> Page:
    """Build the page."""
    return run_page(runs, SECTIONS)
