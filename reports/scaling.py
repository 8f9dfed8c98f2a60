"""Scaling: a law for each way of scaling (the space's parameter `dimension`, where it has one), and the frontier's sections.

scaling-lab report runs/<study> --report reports/scaling.py
"""

from __future__ import annotations

from scaling_lab.report import Page, compute_frontier
from scaling_lab.report.sections import architectures, explorer, overview, provenance, scaling
from scaling_lab.runs.reader import Runs


def report(runs: Runs) -> Page:
    """Build the page."""
    frontier = compute_frontier(runs)
    return Page(
        title=str(runs.meta.get("study", runs.path.name)).replace("_", " ").capitalize(),
        question=str(runs.meta.get("question", "")),
        subtitle=str(runs.meta.get("data_description", "")),
        answer=scaling.answer(runs, frontier, family="dimension"),
        main=("scaling", "ap_against_gmacs"),
        sections=(
            overview.limits(runs, frontier),
            explorer.explore(runs, frontier),
            scaling.scaling(runs, frontier, family="dimension"),
            overview.accuracy_and_cost(runs, frontier),
            architectures.architectures(runs, frontier),
            provenance.failures(runs, frontier),
            provenance.provenance(runs),
        ),
    )
