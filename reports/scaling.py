"""Scaling laws, one for each value of the space's parameter `dimension` if it has one, and the frontier's sections.

scaling-lab report runs/<study> --report reports/scaling.py
"""

from __future__ import annotations

from functools import partial

from scaling_lab.report import Page, run_page
from scaling_lab.report.sections import scaling
from scaling_lab.runs.reader import Runs

SECTIONS = (
    "limits",
    "explorer",
    partial(scaling.scaling, family="dimension"),
    "accuracy_and_cost",
    "architectures",
    "failures",
    "provenance",
)


def report(runs: Runs) -> Page:
    """Build the page."""
    answer = partial(scaling.answer, family="dimension")
    return run_page(runs, SECTIONS, answer=answer, main=("scaling", "ap_against_gmacs"))
