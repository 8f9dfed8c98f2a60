"""AP against cost, with published detectors in grey."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.figure import Figure as MatplotlibFigure

from scaling_lab.report.figures import cost_figures
from scaling_lab.report.figures.cost_marks import Marks, Overlay
from scaling_lab.report.figures.style import WIDE

if TYPE_CHECKING:
    pass


def published_figure(
    trials: pd.DataFrame, width: float = WIDE, *, points: pd.DataFrame, band: pd.DataFrame | None = None
) -> MatplotlibFigure:
    """Draw cost_figures.cost_figure with published points (label, gmacs, ap, split) as grey hollow stars, labelled in italics."""
    kinds = [
        Marks(name=f"published, AP on {split} (not measured here)", points=group, marker=marker, hollow=True, size=70)
        for split, marker in (("val", "*"), ("test-dev", "P"))
        if len(group := points[points["split"] == split])
    ]
    overlay = Overlay(
        marks=tuple(kinds), labels=tuple(f"{label} (published)" for label in points["label"]), points=points
    )
    return cost_figures.cost_figure(trials, width, band=band, overlay=overlay)
