"""The section Fusion weights: what nodes learned to fuse by, over training, and how far fast fusion follows softmax.

The paper's Figure 5 (arXiv:1911.09070v7) shows for three nodes of one detector that fast normalised fusion learns much the
weights that softmax does. Here all nodes of a run's own detectors are shown, with the spread of seeds beside the difference.
"""

from __future__ import annotations

import functools
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scaling_lab.report.analysis.learned_fusion import fast_and_softmax, fusions_in, last_weights, weights_table
from scaling_lab.report.figures.fusion_weights_figure import MOST_NODES, fusion_weights_figure
from scaling_lab.report.page.blocks import Block, Bullets, Figure, Section
from scaling_lab.report.tables import records
from scaling_lab.text import listed, plural

if TYPE_CHECKING:
    from scaling_lab.report.analysis.frontier import Frontier
    from scaling_lab.runs.reader import Runs

TITLE = "Fusion weights"
EDGE = ["cell", "node", "level", "input", "input_name"]


def fusion_weights(runs: Runs, frontier: Frontier) -> Section:
    """Show the learned weights of the best architecture that has them, and fast beside softmax where a run has both."""
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
    several = plural(table["trial"].nunique(), "training")
    seeds = (
        "bold is the mean over seeds, thin the seeds"
        if table.groupby("architecture")["seed"].nunique().max() > 1
        else "one seed"
    )
    nodes = len(table[["cell", "node"]].drop_duplicates())
    caption = (
        f"The normalised weight of each input of a node, by epoch, in the averaged model that AP is measured with: {seeds} "
        f"({several} of {listed(labels)}). “P4 in” is the cell's input at P4, “P4 (7)” the output of node 7 there."
    )
    if nodes > MOST_NODES:
        caption += f" The first {MOST_NODES} of {nodes} nodes are drawn; the table has all."
    if together:
        caption += " As the paper's Figure 5, but for all nodes: solid is fast fusion, dashed softmax."
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
    """Say how far weights have come from the equal ones that training starts with."""
    last = last_weights(table)
    means = last.groupby(["architecture", *EDGE], sort=True)["weight"].mean().reset_index()
    inputs = means.groupby(["architecture", "cell", "node"])["weight"].transform("size")
    bounded = not last["fusion"].str.contains("unbounded").any()
    distance = means["weight"] - (1.0 / inputs if bounded else 1.0)
    row = records(means)[int(distance.abs().to_numpy().argmax())]
    start = "equal shares" if bounded else "1"
    return (
        "What was learned.",
        f"From {start}, at which training starts, the weights moved by {distance.abs().mean():.3f} on average, most in "
        f"{_place(row)}: to {row['weight']:.2f}.",
    )


def _differences(table: pd.DataFrame) -> list[tuple[str, str]]:
    """Say how far fast and softmax are from each other at the end, beside how far two seeds of one are."""
    last = last_weights(table)
    is_softmax = last["fusion"].str.contains("softmax")
    fast, softmax = last[~is_softmax], last[is_softmax]
    sides = [each.pivot_table(index=EDGE, columns="trial", values="weight") for each in (fast, softmax)]
    both = sides[0].index.intersection(sides[1].index)  # a weight that was not finite is missing
    if both.empty:
        return []
    sides = [side.loc[both] for side in sides]
    means = [side.mean(axis=1) for side in sides]
    gaps = means[0] - means[1]
    place = int(gaps.abs().to_numpy().argmax())
    at = records(gaps.index.to_frame(index=False))[place]
    told = [_with_spread(side.iloc[place].to_numpy(dtype=float)) for side in sides]
    text = f"{abs(gaps.iloc[place]):.2f}, in {_place(at)}: fast {told[0]}, softmax {told[1]}" + (
        " (± SD over seeds)." if min(side.shape[1] for side in sides) > 1 else "; one seed on a side, so no spread."
    )
    found = [("Largest difference between fast and softmax at the end:", text)]
    between = [np.nanmean(np.abs(a - b)) for a, b in itertools.product(*(side.to_numpy().T for side in sides))]
    within = [np.nanmean(np.abs(a - b)) for side in sides for a, b in itertools.combinations(side.to_numpy().T, 2)]
    text = f"a training with fast and one with softmax differ by {np.mean(between):.3f} in a weight"
    if within:
        text += f", two seeds of one of them by {np.mean(within):.3f}"
    return [*found, ("On average", text + ".")]


def _with_spread(values: np.ndarray[Any, Any]) -> str:
    values = values[np.isfinite(values)]
    spread = f" ± {values.std(ddof=1):.2f}" if len(values) > 1 else ""
    return f"{values.mean():.2f}{spread}"


def _place(row: dict[str, Any]) -> str:
    return f"cell {row['cell']}, P{row['level']} (node {row['node']}), input {row['input_name']}"
