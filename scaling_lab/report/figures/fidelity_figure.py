"""AP against cost, with trials of other fidelities in grey."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.figure import Figure as MatplotlibFigure

from scaling_lab.report.figures import cost_figures
from scaling_lab.report.figures.cost_marks import Marks, Overlay
from scaling_lab.report.figures.style import WIDE
from scaling_lab.text import plural

if TYPE_CHECKING:
    pass

MARKERS = ("x", "+", "1", "2", "3", "4")
OTHERS = "."


def fidelity_figure(table: pd.DataFrame, width: float = WIDE, *, band: pd.DataFrame | None = None) -> MatplotlibFigure:
    """Draw cost_figures.cost_figure of the `compared` rows, and the others faintly with a marker for each fidelity."""
    compared, others = table[table["compared"]], table[~table["compared"]]
    many = len(table) > cost_figures.MANY_POINTS
    names = list(dict.fromkeys(others["fidelity"]))
    marks = [
        Marks(name=name, points=others[others["fidelity"] == name], marker=marker, many=many)
        for name, marker in zip(names, MARKERS, strict=False)
    ]
    rest = names[len(MARKERS) :]
    if rest:
        points = others[others["fidelity"].isin(rest)]
        marks.append(
            Marks(
                name=plural(len(rest), "other fidelity", "other fidelities"),
                points=points,
                marker=OTHERS,
                many=many,
            )
        )
    overlay = Overlay(marks=tuple(marks), points=others, front=f"front: {compared['fidelity'].iloc[0]}", beside=True)
    return cost_figures.cost_figure(compared, width, band=band, overlay=overlay)
