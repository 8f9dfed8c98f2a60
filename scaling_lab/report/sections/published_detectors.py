"""Published detectors as marks beside this run's results, if its AP is of the same images.

They are not measured here, so they are in no front, band, hypervolume or table of results. Their own table has sources.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from scaling_lab.report.analysis.published_tables import REACH, is_coco, published_points
from scaling_lab.report.figures.published_figure import published_figure
from scaling_lab.report.page import blocks
from scaling_lab.text import listed, plural

if TYPE_CHECKING:
    from scaling_lab.report.analysis.frontier import Frontier


def published_blocks(
    meta: Mapping[str, Any], frontier: Frontier, table: pd.DataFrame, band: pd.DataFrame
) -> list[blocks.Block]:
    """Return the figure of AP against GMACs with published detectors, and their table; nothing if not on COCO.

    `table` has a row for each trial, as in the main figure, and `band` is their front's.
    """
    points = published_points(frontier) if is_coco(meta) else pd.DataFrame()
    if points.empty:
        return []
    sources = listed(sorted(set(points["source"])))
    splits = sorted(set(points["split"]))
    caption = (
        f"Grey stars are not from this run: published numbers of full training on COCO ({sources}), AP on "
        f"{'val if published, else on test-dev' if 'test-dev' in splits else 'val'}, GMACs at each model's own image "
        f"size. They have no intervals and are not on the front. Shown are those within {REACH:g} times this run's costs."
    )
    figure = blocks.Figure(
        name="ap_against_gmacs_published",
        table=table,
        draw=functools.partial(published_figure, points=points, band=band),
        title="AP against multiply-adds, beside published detectors",
        caption=caption,
        alt=f"AP against GMACs with the Pareto front, and {plural(len(points), 'published detector')} in grey",
    )
    columns = (
        blocks.Column(key="label", label="Published detector"),
        blocks.metric_column("gmacs"),
        blocks.Column(key="ap", label="AP, published", digits=1),
        blocks.Column(key="split", label="On"),
        blocks.Column(key="source", label="Source"),
    )
    own = blocks.Table(name="published_detectors", frame=points, columns=columns, caption="Not measured here.")
    return [figure, blocks.Details(title="The published numbers in this figure", blocks=(own,))]
