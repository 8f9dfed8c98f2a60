"""A report's tables, figures and statistics under one name, for notebooks and scripts.

from scaling_lab import Runs
from scaling_lab.report.notebook import compute_frontier, cost_figure

frontier = compute_frontier(Runs("runs/x"))
cost_figure(frontier.trials[frontier.trials["gmacs"] < 0.02]).savefig("small.pdf")

A figure is a function of a table and a width in inches (8.0 by default; up to 3.7 it is drawn for a narrow column).
Its docstring lists the columns that it needs, so the table may come from anywhere. These functions return such tables:

    cost_figure             compute_frontier(runs).trials; with_front for another cost or after filtering
    parts_figure            compute_frontier(runs).architectures
    difference_figure       compare(frontier, baseline, runs.specs())
    curves_figure           curves_table(runs, frontier)
    topology_figure         topology_table(topology)
    grid_figure             grid_table(frontier, parameter); best_figure: best_values(frontier, that table)
    distribution_figure     distributions(population_table(frontier).assign(group=…)).edf
    importance_figure       found.table.assign(chance=found.chance, rest_chance=found.rest_chance) of choice_importance(…)
    fusion_weights_figure   weights_table(runs, frontier, specs)
    scaling_figure          family_points(frontier, parameter) and law_curves(points, pooled)
    search_figure           progress({"tpe": runs, "random": other})
    beliefs_figure          search_beliefs(runs, frontier).trials; search_beliefs gives None without a search

`summarise` makes a Frontier from any table of trials, such as a subset of another Frontier's.
"""

from __future__ import annotations

from scaling_lab.report.analysis.choice_importance import choice_importance
from scaling_lab.report.analysis.distributions import distributions, population_table
from scaling_lab.report.analysis.frontier import Frontier, compute_frontier, summarise, with_front
from scaling_lab.report.analysis.grid_values import best_values, grid_table
from scaling_lab.report.analysis.learned_fusion import last_weights, weights_table
from scaling_lab.report.analysis.scaling_points import family_points, law_curves
from scaling_lab.report.analysis.search_beliefs import search_beliefs
from scaling_lab.report.analysis.search_progress import progress
from scaling_lab.report.figures.beliefs_figure import beliefs_figure
from scaling_lab.report.figures.cost_figures import cost_figure, difference_figure, latency_figure, parts_figure
from scaling_lab.report.figures.curves_figure import curves_figure
from scaling_lab.report.figures.grid_figures import best_figure, grid_figure
from scaling_lab.report.figures.learned_weights_figure import fusion_weights_figure
from scaling_lab.report.figures.population_figures import distribution_figure, importance_figure
from scaling_lab.report.figures.scaling_figure import scaling_figure
from scaling_lab.report.figures.search_figure import search_figure
from scaling_lab.report.figures.topology_figure import topology_figure, topology_table
from scaling_lab.report.sections.ablation import compare
from scaling_lab.report.sections.overview import curves_table
from scaling_lab.stats.estimates import estimate, expected_best_of, pooled_sd
from scaling_lab.stats.fronts import pareto_front
from scaling_lab.stats.hypotheses import holm, welch
from scaling_lab.stats.power import seeds_needed, smallest_detectable

__all__ = [
    "Frontier",
    "beliefs_figure",
    "best_figure",
    "best_values",
    "choice_importance",
    "compare",
    "compute_frontier",
    "cost_figure",
    "curves_figure",
    "curves_table",
    "difference_figure",
    "distribution_figure",
    "distributions",
    "estimate",
    "expected_best_of",
    "family_points",
    "fusion_weights_figure",
    "grid_figure",
    "grid_table",
    "holm",
    "importance_figure",
    "last_weights",
    "latency_figure",
    "law_curves",
    "pareto_front",
    "parts_figure",
    "pooled_sd",
    "population_table",
    "progress",
    "scaling_figure",
    "search_beliefs",
    "search_figure",
    "seeds_needed",
    "smallest_detectable",
    "summarise",
    "topology_figure",
    "topology_table",
    "weights_table",
    "welch",
    "with_front",
]
