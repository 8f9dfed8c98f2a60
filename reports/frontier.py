"""The frontier report: which architectures are worth their cost, and how far that can be believed.

scaling-lab report runs/<study> --report reports/frontier.py
"""

from __future__ import annotations

from scaling_lab.report import (
    Page,
    architectures,
    compute_frontier,
    explorer,
    finalists,
    pictures,
    provenance,
    proxy,
    rungs,
    search,
    sections,
)
from scaling_lab.runs import Runs


def report(runs: Runs) -> Page:
    """Build the page."""
    frontier = compute_frontier(runs)
    return Page(
        title=str(runs.meta.get("study", runs.path.name)).replace("_", " ").capitalize(),
        question=str(runs.meta.get("question", "")),
        subtitle=str(runs.meta.get("data_description", "")),
        sections=(
            sections.conclusions(runs, frontier),
            explorer.explore(runs, frontier),
            finalists.finalists(runs, frontier),
            sections.accuracy_and_cost(runs, frontier),
            architectures.architectures(runs, frontier),
            search.search(runs, frontier),
            rungs.where_stopped(runs, frontier),
            proxy.within(runs, frontier),
            sections.topologies(runs, frontier),
            sections.curves(runs, frontier),
            pictures.detections(runs, frontier),
            provenance.failures(runs, frontier),
            provenance.provenance(runs),
        ),
    )
