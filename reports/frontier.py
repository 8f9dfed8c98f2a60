"""The frontier report: which architectures are worth their cost, and how far that can be believed.

scaling-lab report runs/<study> --report reports/frontier.py
"""

from __future__ import annotations

from scaling_lab.report import Page, compute_frontier
from scaling_lab.report.sections import (
    architectures,
    explorer,
    finalists,
    overview,
    pictures,
    provenance,
    proxy,
    rungs,
    search,
)
from scaling_lab.runs.reader import Runs


def report(runs: Runs) -> Page:
    """Build the page."""
    frontier = compute_frontier(runs)
    return Page(
        title=str(runs.meta.get("study", runs.path.name)).replace("_", " ").capitalize(),
        question=str(runs.meta.get("question", "")),
        subtitle=str(runs.meta.get("data_description", "")),
        answer=overview.answer(runs, frontier),
        main=("ap_against_gmacs",),
        sections=(
            overview.limits(runs, frontier),
            explorer.explore(runs, frontier),
            finalists.finalists(runs, frontier),
            overview.accuracy_and_cost(runs, frontier),
            architectures.architectures(runs, frontier),
            search.search(runs, frontier),
            rungs.where_stopped(runs, frontier),
            proxy.within(runs, frontier),
            overview.topologies(runs, frontier),
            overview.curves(runs, frontier),
            pictures.detections(runs, frontier),
            provenance.failures(runs, frontier),
            provenance.provenance(runs),
        ),
    )
