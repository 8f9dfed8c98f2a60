"""The width factor's grid search: AP by factor, how probable each is to be the best, and the frontier report's sections.

scaling-lab report runs/width_factor --report reports/width_factor.py
"""

from __future__ import annotations

from scaling_lab.report import Page, compute_frontier
from scaling_lab.report.sections import architectures, explorer, grid, overview, pictures, provenance
from scaling_lab.runs.reader import Runs

PAPERS = 1.35  # arXiv:1911.09070v7, section 4.2


def report(runs: Runs) -> Page:
    """Build the page."""
    frontier = compute_frontier(runs)
    return Page(
        title=str(runs.meta.get("study", runs.path.name)).replace("_", " ").capitalize(),
        question=str(runs.meta.get("question", "")),
        subtitle=str(runs.meta.get("data_description", "")),
        answer=grid.answer(frontier, "width_factor"),
        main=("ap_by_width_factor", "ap_against_gmacs"),
        sections=(
            overview.limits(runs, frontier),
            explorer.explore(runs, frontier),
            grid.grid(runs, frontier, "width_factor", paper=PAPERS),
            overview.accuracy_and_cost(runs, frontier),
            architectures.architectures(runs, frontier),
            overview.curves(runs, frontier),
            pictures.detections(runs, frontier),
            provenance.failures(runs, frontier),
            provenance.provenance(runs),
        ),
    )
