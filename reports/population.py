"""The population of a space: distributions of AP at matched cost, important choices, fusion weights, the frontier.

scaling-lab report runs/<study> --report reports/population.py
"""

from __future__ import annotations

from scaling_lab.report import Page, run_page
from scaling_lab.report.sections import population
from scaling_lab.runs.reader import Runs

SECTIONS = (
    "limits",
    "explorer",
    "population",
    "fusion_weights",
    "search",
    "accuracy_and_cost",
    "failures",
    "provenance",
)


def report(runs: Runs) -> Page:
    """Build the page."""
    return run_page(runs, SECTIONS, answer=population.answer, main=("importance", "ap_against_gmacs"))
