"""The section Fusion weights: the weights that nodes learned over training, for fast and softmax fusion.

The paper's Figure 5 (arXiv:1911.09070v7) shows for three nodes of one detector that fast normalised fusion learns similar
weights to softmax. Here all nodes of the run's detectors are shown, and differences are compared with the seed spread.
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scaling_lab.report.analysis.learned_fusion import fast_and_softmax, fusions_in, last_weights, weights_table
from scaling_lab.report.figures.learned_weights_figure import MOST_NODES, fusion_weights_figure
from scaling_lab.report.page.blocks import Block, Bullets, Figure, Section
from scaling_lab.report.tables import records
from scaling_lab.text import listed, plural

if TYPE_CHECKING:
    from scaling_lab.report.analysis.frontier import Frontier
    from scaling_lab.runs.reader import Runs

TITLE = "Fusion weights"
EDGE = ["cell", "node", "level", "input", "input_name"]


def fusion_weights(runs: Runs, frontier: Frontier) -> Section:
    """Show the learned weights of the best architecture that has them, and fast beside softmax if the run has both."""
    specs = {digest: spec for digest, spec in runs.specs().items() if fusions_in(spec)}
    ranked = [str(digest) for digest in frontier.architectures["architecture"] if digest in specs]
    if not ranked:
        return Section(title=TITLE, blocks=())
    best, pair = ranked[0], fast_and_softmax(ranked, specs)
    blocks: list[Block] = []
    for digests in [[best]] if pair is None else [pair] if best in pair else [[best], pair]:
        table = weights_table(runs, frontier, {digest: specs[digest] for digest in digests})
        if table["architecture"].nunique() == len(digests):
            blocks += _shown(table, [str(frontier.labels[digest]) for digest in digests])
    return Section(title=TITLE, blocks=tuple(blocks))


# --- tables ----------------------------------------------------------------------------------------------------------


# --- words and blocks ------------------------------------------------------------------------------------------------


def _shown(table: pd.DataFrame, labels: list[str]) -> list[Block]:
    together = len(labels) > 1
    several = plural(table["trial"].nunique(), "training run")
    seeds = (
        "bold is the mean over seeds, thin the seeds"
        if table.groupby("architecture")["seed"].nunique().max() > 1
        else "one seed"
    )
    nodes = len(table[["cell", "node"]].drop_duplicates())
    caption = (
        f"Normalised weights of each node's inputs by epoch, EMA model: {seeds} ({several} of {listed(labels)}). "
        "“P4 in” is the cell's input at P4, “P4 (7)” the output of node 7."
    )
    if nodes > MOST_NODES:
        caption += f" The first {MOST_NODES} of {nodes} nodes are drawn; the table has all."
    if together:
        caption += " Like the paper's Figure 5, for all nodes: solid is fast fusion, dashed softmax."
    name = "fusion_weights_fast_and_softmax" if together else "fusion_weights"
    title = "Fast and softmax fusion" if together else f"Fusion weights of {labels[0]}"
    figure = Figure(
        name=name,
        table=table,
        draw=functools.partial(fusion_weights_figure, together=together),
        title=title,
        caption=caption,
        alt=f"Normalised fusion weights by epoch of each node of {listed(labels)}",
    )
    sentences = [*_differences(table)] if together else []
    return [Bullets(items=(_moved(table), *sentences)), figure]


def _moved(table: pd.DataFrame) -> tuple[str, str]:
    """Return the mean change of the weights from their equal start."""
    last = last_weights(table)
    means = last.groupby(["architecture", *EDGE], sort=True)["weight"].mean().reset_index()
    inputs = means.groupby(["architecture", "cell", "node"])["weight"].transform("size")
    bounded = not last["fusion"].str.contains("unbounded").any()
    distance = means["weight"] - (1.0 / inputs if bounded else 1.0)
    row = records(means)[int(distance.abs().to_numpy().argmax())]
    start = "equal shares" if bounded else "1"
    return (
        f"Mean change from {start}:",
        f"{distance.abs().mean():.3f}; largest in {_place(row)}, to {row['weight']:.2f}.",
    )


def _differences(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the final differences of weights between fast and softmax, and between seeds of one fusion."""
    last = last_weights(table)
    is_softmax = last["fusion"].str.contains("softmax")
    fast, softmax = last[~is_softmax], last[is_softmax]
    sides = [each.pivot_table(index=EDGE, columns="trial", values="weight") for each in (fast, softmax)]
    both = sides[0].index.intersection(sides[1].index)  # non-finite weights are missing
    if both.empty:
        return []
    sides = [side.loc[both] for side in sides]
    means = [side.mean(axis=1) for side in sides]
    gaps = means[0] - means[1]
    place = int(gaps.abs().to_numpy().argmax())
    at = records(gaps.index.to_frame(index=False))[place]
    texts = [_with_spread(side.iloc[place].to_numpy(dtype=float)) for side in sides]
    text = f"{abs(gaps.iloc[place]):.2f}, {_place(at)}: {texts[0]} against {texts[1]}" + (
        " (± SD over seeds)." if min(side.shape[1] for side in sides) > 1 else "."
    )
    found = [("Largest difference, fast against softmax:", text)]
    between = [np.nanmean(np.abs(a - b)) for a, b in itertools.product(*(side.to_numpy().T for side in sides))]
    within = [np.nanmean(np.abs(a - b)) for side in sides for a, b in itertools.combinations(side.to_numpy().T, 2)]
    text = f"{np.mean(between):.3f} between fast and softmax"
    if within:
        text += f", {np.mean(within):.3f} between seeds of one fusion"
    return [*found, ("Mean difference of a weight:", text + ".")]


def _with_spread(values: np.ndarray[Any, Any]) -> str:
    values = values[np.isfinite(values)]
    spread = f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else ""
    return f"{values.mean():.2f}{spread}"


def _place(row: dict[str, Any]) -> str:
    return f"cell {row['cell']}, node {row['node']} (P{row['level']}), input {row['input_name']}"
