"""The topology ablation: each feature network against the study's baseline, and the paper's comparison.

scaling-lab report runs/<study> --report reports/topology_ablation.py
"""

from __future__ import annotations

from scaling_lab.report import Page, run_page
from scaling_lab.runs.reader import Runs

SECTIONS = (
    "limits",
    "explorer",
    "ablation",
    "finalists",
    "accuracy_and_cost",
    "architectures",
    "search",
    "topologies",
    "beside_the_paper",
    "fusion_weights",
    "curves",
    "detections",
    "failures",
    "provenance",
)


def report(runs: Runs) -> Page:
    """Build the page."""
    return run_page(runs, SECTIONS)
