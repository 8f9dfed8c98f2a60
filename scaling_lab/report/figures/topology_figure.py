"""The drawing of one feature-network cell: levels as rows, nodes in columns, edges as arrows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from scaling_lab.architecture import Topology
from scaling_lab.architecture.drawing import layout
from scaling_lab.report.figures.style import GRID, INK, MUTED, PAPER, REST, SERIES, new_figure
from scaling_lab.report.tables import records, require

GALLERY = 3.5  # inches: the width of a drawing in a gallery
_ROW, _COLUMN = 0.46, 0.70  # inches between levels and between columns
_RADIUS = 0.115  # inches
_TOP, _BOTTOM = 0.24, 0.40  # inches above the coarsest level and below the finest, where curves may pass
_DOWN, _UP, _SAME = SERIES[0], SERIES[1], REST  # to a finer level, to a coarser one, along a level
_STEPS = np.arange(1, 24) / 24  # positions along a curve
_BENDS = (0.0, 0.10, -0.10, 0.14, -0.14, 0.20, -0.20, 0.30, -0.30, 0.45, -0.45, 0.6, -0.6)

Place = tuple[float, float]


def topology_table(topology: Topology) -> pd.DataFrame:
    """Return a cell's inputs and nodes: id, level, column, inputs (ids, spaced), fusion, output (a bool)."""
    rows = []
    for index, level, column in layout(topology):
        node = topology.node(index) if index >= topology.num_inputs else None
        inputs = " ".join(str(source) for source in node.inputs) if node else ""
        fusion = node.fusion if node and len(node.inputs) > 1 else ""
        output = index in topology.outputs
        rows.append(
            {"id": index, "level": level, "column": column, "inputs": inputs, "fusion": fusion, "output": output}
        )
    return pd.DataFrame(rows)


@dataclass(frozen=True, kw_only=True)
class Edge:
    """An arrow as a quadratic curve: its start, its end, and its bend as in matplotlib's arc3."""

    start: Place
    end: Place
    bend: float

    @property
    def control(self) -> Place:
        """The curve's control point."""
        return _control(self.start, self.end, self.bend)

    @property
    def way(self) -> int:
        """-1 to a finer level, 1 to a coarser one, 0 along a level."""
        return (self.end[1] > self.start[1]) - (self.end[1] < self.start[1])


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The layout of a cell in inches from the lower left: heights of levels, positions of nodes, edges."""

    size: Place
    levels: dict[int, float]
    places: dict[int, Place]
    edges: tuple[Edge, ...]


def geometry(nodes: pd.DataFrame, width: float = GALLERY) -> Geometry:
    """Lay out a cell, at most `width` wide, from the table of topology_table."""
    levels = sorted(set(nodes["level"]))
    columns = int(nodes["column"].max()) + 1
    step = min(_COLUMN, (width - 0.85) / max(1, columns - 1))
    heights = {level: _BOTTOM + _ROW * index for index, level in enumerate(levels)}
    places = {row["id"]: (0.55 + step * row["column"], heights[row["level"]]) for row in records(nodes)}
    edges = [_edge(places, int(source), row["id"]) for row in records(nodes) for source in str(row["inputs"]).split()]
    size = (0.55 + step * (columns - 1) + 0.3, _BOTTOM + _TOP + _ROW * (len(levels) - 1))
    return Geometry(size=size, levels=heights, places=places, edges=tuple(edges))


def topology_figure(nodes: pd.DataFrame, width: float = GALLERY) -> Figure:
    """Draw a cell, at most `width` wide, from the table of topology_table, with hollow inputs and ringed outputs."""
    require(nodes, "id", "level", "column", "inputs", "output", source="topology_table(topology)")
    drawn = geometry(nodes, width)
    right, top = drawn.size
    figure, axes = _canvas(right, top)
    for level, y in drawn.levels.items():
        axes.plot([0.32, right], [y, y], color=GRID, linewidth=1.0, zorder=0)
        axes.text(0.04, y, f"P{level}", va="center", ha="left", fontsize=8.5, color=MUTED)
    for edge in drawn.edges:
        _draw_edge(axes, edge)
    for row in records(nodes):
        is_input = row["id"] < len(drawn.levels)
        _draw_node(axes, drawn.places[row["id"]], row["id"], is_input=is_input, is_output=row["output"])
    return figure


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure whose axes fill it, in inches."""
    figure, (axes,) = new_figure(width, height)
    figure.set_layout_engine("none")
    axes.set_position((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    return figure, axes


def _edge(places: dict[int, Place], source: int, target: int) -> Edge:
    start, end = places[source], places[target]
    others = [place for index, place in places.items() if index not in (source, target)]
    return Edge(start=start, end=end, bend=_bend(start, end, others))


def _draw_edge(axes: Axes, edge: Edge) -> None:
    colour = (_SAME, _UP, _DOWN)[edge.way]
    shrink = (_RADIUS + 0.015) * 72.0
    axes.add_patch(
        FancyArrowPatch(
            edge.start,
            edge.end,
            connectionstyle=f"arc3,rad={edge.bend}",
            arrowstyle="-|>,head_length=3.2,head_width=1.7",
            shrinkA=shrink,
            shrinkB=shrink,
            color=colour,
            linewidth=1.15,
            zorder=1,
        )
    )


def _bend(start: Place, end: Place, others: Sequence[Place]) -> float:
    """Return the flattest bend that keeps clear of all other nodes, or else the one with the most clearance."""
    clearances = [_clearance(start, end, bend, others) for bend in _BENDS]
    for bend, clearance in zip(_BENDS, clearances, strict=True):
        if clearance > 1.35 * _RADIUS:
            return bend
    return _BENDS[clearances.index(max(clearances))]


def _clearance(start: Place, end: Place, bend: float, others: Sequence[Place]) -> float:
    """Return the smallest distance of a curve (matplotlib's arc3, a quadratic Bézier) from the other nodes."""
    if not others:
        return math.inf
    weights = np.stack([(1 - _STEPS) ** 2, 2 * _STEPS * (1 - _STEPS), _STEPS**2], axis=1)
    curve = weights @ np.array([start, _control(start, end, bend), end])
    apart = curve[:, None] - np.array(others)
    return float(np.hypot(apart[..., 0], apart[..., 1]).min())


def _control(start: Place, end: Place, bend: float) -> Place:
    dx, dy = end[0] - start[0], end[1] - start[1]
    return (start[0] + end[0]) / 2 + bend * dy, (start[1] + end[1]) / 2 - bend * dx


def _draw_node(axes: Axes, place: Place, index: int, *, is_input: bool, is_output: bool) -> None:
    size = (2 * _RADIUS * 72.0) ** 2
    face, text = (PAPER, INK) if is_input else (INK, PAPER)
    if is_output:
        axes.scatter(*place, s=size * 1.65, facecolor=PAPER, edgecolor=INK, linewidths=1.0, zorder=2)
    axes.scatter(*place, s=size, facecolor=face, edgecolor=INK, linewidths=1.0, zorder=3)
    axes.text(*place, str(index), ha="center", va="center_baseline", fontsize=7.0, color=text, zorder=4)
