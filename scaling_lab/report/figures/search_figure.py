"""The figure of a search's progress: the best so far by trials and by hours, with a line for each sampler."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from scaling_lab.report.figures.style import INK, NARROW, REST, WIDE, new_figure, series_colour, title_axis


def search_figure(progress: pd.DataFrame, width: float = WIDE) -> Figure:
    """Draw the best value so far as steps; random search is grey.

    The table has a row for each ended trial: sampler, trials, hours, value, quality, and optionally series for colours.
    """
    narrow = width <= NARROW
    height = (1.3 if narrow else 0.40) * width
    figure, panels = new_figure(width, height, *((1, 2) if narrow else (2, 1)))
    for axes, (column, name) in zip(
        panels, {"trials": "trials ended", "hours": "hours of trials"}.items(), strict=True
    ):
        title_axis(axes, x=name, y=str(progress["quality"].iloc[0]))
        for place, (sampler, rows) in enumerate(progress.groupby("sampler", sort=False)):
            colour = REST if sampler == "random" and place else series_colour(place)
            if "series" in rows:
                colour = series_colour(int(rows["series"].iloc[0]))
            axes.step(rows[column], rows["value"], where="post", color=colour, linewidth=1.6, label=str(sampler))
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=column == "trials", min_n_ticks=1))
    if progress["sampler"].nunique() > 1:
        figure.legend(
            *panels[0].get_legend_handles_labels(),
            loc="outside upper right",
            ncols=2,
            frameon=False,
            fontsize=8,
            labelcolor=INK,
        )
    return figure
