"""The topology ablation: each feature network against the study's baseline, beside the paper's own comparison.

scaling-lab report runs/<study> --report reports/topology_ablation.py
"""

from __future__ import annotations

from scaling_lab.report import Page, compute_frontier
from scaling_lab.report.sections import (
    ablation,
    architectures,
    beside_paper,
    explorer,
    finalists,
    learned_weights,
    overview,
    pictures,
    provenance,
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
            ablation.ablation(runs, frontier),
            finalists.finalists(runs, frontier),
            overview.accuracy_and_cost(runs, frontier),
            architectures.architectures(runs, frontier),
            search.search(runs, frontier),
            overview.topologies(runs, frontier),
            beside_paper.beside_the_paper(runs, frontier),
            learned_weights.fusion_weights(runs, frontier),
            overview.curves(runs, frontier),
            pictures.detections(runs, frontier),
            provenance.failures(runs, frontier),
            provenance.provenance(runs),
        ),
    )
