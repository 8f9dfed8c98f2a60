"""The population of a space: how AP is distributed at matched cost, which choice matters, what fusion learned; the frontier.

scaling-lab report runs/<study> --report reports/population.py
"""

from __future__ import annotations

from scaling_lab.report import Page, compute_frontier
from scaling_lab.report.sections import explorer, learned_weights, overview, population, provenance, search
from scaling_lab.runs.reader import Runs


def report(runs: Runs) -> Page:
    """Build the page."""
    frontier = compute_frontier(runs)
    return Page(
        title=str(runs.meta.get("study", runs.path.name)).replace("_", " ").capitalize(),
        question=str(runs.meta.get("question", "")),
        subtitle=str(runs.meta.get("data_description", "")),
        answer=population.answer(frontier),
        main=("importance", "ap_against_gmacs"),
        sections=(
            overview.limits(runs, frontier),
            explorer.explore(runs, frontier),
            population.population(runs, frontier),
            learned_weights.fusion_weights(runs, frontier),
            search.search(runs, frontier),
            overview.accuracy_and_cost(runs, frontier),
            provenance.failures(runs, frontier),
            provenance.provenance(runs),
        ),
    )
