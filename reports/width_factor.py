"""The width factor's grid search: AP by factor, each factor's probability of being the best, and the frontier's sections.

scaling-lab report runs/width_factor --report reports/width_factor.py
"""

from __future__ import annotations

from functools import partial

from scaling_lab.report import Page, run_page
from scaling_lab.report.sections import grid
from scaling_lab.runs.reader import Runs

PAPERS = 1.35  # arXiv:1911.09070v7, section 4.2

SECTIONS = (
    "limits",
    "explorer",
    partial(grid.grid, parameter="width_factor", paper=PAPERS),
    "accuracy_and_cost",
    "architectures",
    "curves",
    "detections",
    "failures",
    "provenance",
)


def report(runs: Runs) -> Page:
    """Build the page."""
    answer = partial(grid.answer, parameter="width_factor")
    return run_page(runs, SECTIONS, answer=answer, main=("ap_by_width_factor", "ap_against_gmacs"))
