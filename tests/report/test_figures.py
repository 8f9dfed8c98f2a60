"""Figures draw from their tables alone, legibly and with the same bytes each time."""

from __future__ import annotations

import contextlib
import itertools
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from scaling_lab.architecture import Topology, topologies
from scaling_lab.errors import UserError
from scaling_lab.report import Frontier
from scaling_lab.report.analysis.frontier import summarise, with_front
from scaling_lab.report.figures import cost_figures, style
from scaling_lab.report.figures.cost_marks import MOST_INTERVALS
from scaling_lab.report.figures.curves_figure import curves_figure
from scaling_lab.report.figures.topology_figure import topology_figure, topology_table
from scaling_lab.report.page import svg
from scaling_lab.report.sections import conclusion_words
from scaling_lab.runs.reader import Runs


def boxes_of_labels(figure: Figure) -> list[tuple[float, float, float, float]]:
    figure.draw_without_rendering()
    texts = [text for text in figure.axes[0].texts if isinstance(text, Annotation)]
    return [text.get_window_extent().extents for text in texts]


@pytest.mark.parametrize("width", [style.WIDE, style.NARROW])
@pytest.mark.parametrize("cost", ["gmacs", "params_m", "memory_mb"])
def test_labels_of_the_frontier_do_not_overlap(frontier: Frontier, cost: str, width: float) -> None:
    figure = cost_figures.cost_figure(frontier.trials, width, cost=cost)
    boxes = boxes_of_labels(figure)
    assert len(boxes) == 3
    for first, second in itertools.combinations(boxes, 2):
        width_shared = min(first[2], second[2]) - max(first[0], second[0])
        height_shared = min(first[3], second[3]) - max(first[1], second[1])
        assert width_shared <= 0 or height_shared <= 0
    assert all(box[2] <= figure.bbox.x1 for box in boxes)


def offsets(figure: Figure) -> list[tuple[float, float]]:
    """Where a figure's scattered marks are, whatever collection they are in."""
    found = [
        xy for c in figure.axes[0].collections if isinstance(c, PathCollection) for xy in np.asarray(c.get_offsets())
    ]
    return sorted((float(x), float(y)) for x, y in found)


def test_grey_architectures_have_the_marks_that_coloured_ones_have(frontier: Frontier) -> None:
    coloured = frontier.trials.assign(latency_ms=3.0, p90_ms=[3.5] * 8 + [math.nan])
    grey = coloured.assign(series=-1)
    first, second = (cost_figures.cost_figure(table, cost="latency_ms") for table in (coloured, grey))
    ends = sorted(
        {(3.5, float(mean)) for mean in coloured["ap_mean"]} & set(offsets(second))
    )  # lines of their own in colour
    assert np.array(sorted([*offsets(first), *ends])) == pytest.approx(np.array(offsets(second)))
    bars = [
        sorted(
            tuple(map(tuple, s))
            for c in f.axes[0].collections
            if isinstance(c, LineCollection)
            for s in c.get_segments()
        )
        for f in (first, second)
    ]
    assert bars[0] == bars[1]
    assert len(bars[0]) == 6
    assert {t.get_text() for t in first.axes[0].texts} == {t.get_text() for t in second.axes[0].texts}


def test_hundreds_of_architectures_are_their_means_and_few_artists() -> None:
    count = MOST_INTERVALS + 50
    table = pd.DataFrame(
        {"label": f"A{k // 2}", "series": k // 2 if k < 4 else -1, "gmacs": 1.0 + k // 2, "ap": 30.0 + k % 7, "ap_mean": 33.0,
         "ap_low": 31.0, "ap_high": 35.0, "n": 2, "on_front": k < 4}
        for k in range(2 * count)
    )  # fmt: skip
    figure = cost_figures.cost_figure(table)
    assert len(figure.axes[0].collections) < 12
    assert len(offsets(figure)) == count + 4  # all means, and the seeds of the two that have a colour
    assert "means alone" not in conclusion_words.accuracy_caption(frontier_of(MOST_INTERVALS))
    assert "Small grey dots are means alone" in conclusion_words.accuracy_caption(frontier_of(count))


def frontier_of(count: int) -> Frontier:
    trials = pd.DataFrame(
        {"architecture": f"a{k}", "label": f"A{k}", "ap": 40.0 + k % 9, "gmacs": 1.0 + k, "seed": 0, "seconds": 1.0}
        for k in range(count)
    )
    return summarise(trials, {}, excluded=trials.iloc[:0])


def test_frontier_of_one_trial(frontier: Frontier) -> None:
    one = frontier.trials.head(1).assign(ap_low=math.nan, ap_high=math.nan, n=1)
    axes = cost_figures.cost_figure(one).axes[0]
    low, high = axes.get_ylim()
    assert high - low >= cost_figures.LEAST_SPAN


def test_a_cost_axis_is_logarithmic_with_plain_numbers(frontier: Frontier) -> None:
    axes = cost_figures.cost_figure(frontier.trials).axes[0]
    assert axes.get_xscale() == "log"
    assert all("$" not in tick.get_text() for tick in axes.get_xticklabels())


@pytest.mark.parametrize(("low", "high"), [(0.05, 0.12), (1.0, 1.05), (0.3, 40.0), (1e-3, 1e3), (2.4, 21.0)])
def test_ticks_of_a_log_axis(low: float, high: float) -> None:
    ticks = cost_figures.log_ticks(low, high)
    assert 2 <= len(ticks) <= 12
    assert all(low <= tick <= high for tick in ticks)


def test_curves_with_one_epoch_and_without_ap() -> None:
    table = pd.DataFrame(
        {"trial": [1], "label": ["BiFPN"], "series": [0], "epoch": [1], "loss": [2.0], "ap": [math.nan]}
    )
    (loss,) = curves_figure(table).axes
    low, high = loss.get_xlim()
    assert [tick for tick in loss.get_xticks() if low <= tick <= high] == [1.0]
    assert [text.get_text() for text in loss.texts] == ["BiFPN"]
    assert "no loss was recorded" in [t.get_text() for t in curves_figure(table.assign(loss=math.nan)).axes[0].texts]


@pytest.mark.parametrize("width", [style.WIDE, style.NARROW])
def test_curves_of_loss_and_ap(width: float) -> None:
    rows = [
        {"trial": trial, "label": label, "series": trial, "epoch": epoch, "loss": 2.0 / epoch, "ap": 10.0 * epoch}
        for trial, label in enumerate(("BiFPN", "FPN"))
        for epoch in range(1, 6)
    ]
    rows += [{"trial": 2, "label": "none", "series": -1, "epoch": 1, "loss": math.inf, "ap": math.nan}]
    loss, ap = curves_figure(pd.DataFrame(rows), width).axes
    assert loss.get_yscale() == "log"
    assert len(loss.lines) == len(ap.lines) == 2  # an infinite loss has no place on an axis
    assert sorted(text.get_text() for text in ap.texts) == ["BiFPN", "FPN"]


def test_differences_without_intervals() -> None:
    table = pd.DataFrame(
        {"label": ["A", "B"], "series": [0, -1], "difference": [1.0, -2.0], "low": math.nan, "high": math.nan}
    )
    assert len(cost_figures.difference_figure(table, baseline="$C$").axes[0].collections) == 2


def cells() -> list[Topology]:
    found = []
    for name, levels in itertools.product(topologies.__all__, [(3, 7), (2, 5), (4, 4)]):
        with contextlib.suppress(UserError):  # NAS-FPN has five levels
            found.append(getattr(topologies, name)(*levels))
    return found


@pytest.mark.parametrize("topology", cells(), ids=lambda topology: topology.describe())
def test_every_topology_can_be_drawn(topology: Topology) -> None:
    table = topology_table(topology)
    assert len(table) == topology.num_inputs + len(topology.nodes)
    assert table["output"].sum() == topology.num_inputs
    figure = topology_figure(table)
    assert len(figure.axes[0].patches) == topology.num_edges


def test_the_same_figure_has_the_same_bytes(frontier: Frontier) -> None:
    first, second = (cost_figures.cost_figure(frontier.trials) for _ in range(2))
    assert svg.svg_file(first) == svg.svg_file(second)
    assert svg.png_file(first) == svg.png_file(second)
    assert b"<dc:date>" not in svg.svg_file(first)


def test_inline_figures_follow_the_theme_and_keep_their_ids_apart(frontier: Frontier) -> None:
    text = svg.inline_svg(cost_figures.cost_figure(frontier.trials), prefix="x-")
    assert f"var(--series-0, {style.SERIES[0]})" in text
    assert f"var(--ink, {style.INK})" in text
    assert 'id="x-' in text
    assert "#000000" not in text.replace("stroke: #000000", "")  # a colour of no theme would vanish on one of them
    assert text.count("<svg") == 1
    assert ">BiFPN</text>" in text  # text stays text


def test_inline_figures_have_no_unused_ids_and_keep_every_digit_of_their_text(frontier: Frontier) -> None:
    figure = cost_figures.cost_figure(frontier.trials)
    figure.axes[0].set_xlabel("0.012345 GMACs")
    text = svg.inline_svg(figure, prefix="x-")
    ids, used = (set(re.findall(pattern, text)) for pattern in (r' id="([^"]+)"', r'(?:href="#|url\(#)([^")]+)'))
    assert ids == used
    assert ">0.012345 GMACs</text>" in text
    assert not re.search(r"<[^>]*\d\.\d{3}[^>]*>", text)
    assert len(text) < 0.8 * len(svg._svg(figure, fonttype="none", facecolor="none"))


# --- in a notebook -----------------------------------------------------------------------------------------------------


def test_a_figure_shows_itself_as_a_picture_on_white_at_its_own_size(frontier: Frontier) -> None:
    from IPython.core.formatters import DisplayFormatter

    figure = cost_figures.cost_figure(frontier.trials, style.NARROW)
    data, about = DisplayFormatter().format(figure)
    assert about["image/png"] == {"width": round(96 * 3.7), "height": round(96 * 0.95 * 3.7)}
    pixels = plt_image(data["image/png"])
    assert pixels.shape[:2] == (int(128 * 0.95 * 3.7), int(128 * 3.7))
    assert pixels[0, 0].tolist() == pytest.approx([1.0, 1.0, 254 / 255, 1.0])
    assert (pixels[..., :3].min(axis=(0, 1)) < 0.5).all(), "something is drawn"
    assert DisplayFormatter().format(cost_figures.cost_figure(frontier.trials, style.NARROW))[0] == data, (
        "the same bytes"
    )


def plt_image(png: bytes) -> np.ndarray:
    import io

    from matplotlib.image import imread

    return np.asarray(imread(io.BytesIO(png), format="png"))


def test_savefig_is_on_white_unless_told_otherwise_and_a_pdf_has_whole_fonts(
    frontier: Frontier, tmp_path: Path
) -> None:
    figure = cost_figures.cost_figure(frontier.trials, style.NARROW)
    figure.savefig(tmp_path / "a.png")
    figure.savefig(tmp_path / "b.png", facecolor="none")
    figure.savefig(tmp_path / "a.pdf")
    assert plt_image((tmp_path / "a.png").read_bytes())[0, 0, 3] == 1.0
    assert plt_image((tmp_path / "b.png").read_bytes())[0, 0, 3] == 0.0
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert b"/TrueType" in pdf or b"/CIDFontType2" in pdf
    assert b"/Type3" not in pdf


def test_a_table_that_lacks_a_column_or_all_rows_is_named(run: Path, frontier: Frontier) -> None:
    with pytest.raises(
        UserError, match="no column label, series, ap_mean, ap_low, ap_high, on_front; this figure draws"
    ):
        cost_figures.cost_figure(Runs(run).table())
    with pytest.raises(UserError, match="no rows"):
        cost_figures.cost_figure(frontier.trials[frontier.trials["gmacs"] > 1e9])
    with pytest.raises(UserError, match=r"no column label, series; .* sections\.curves_table has"):
        curves_figure(Runs(run).epochs())
    with pytest.raises(UserError, match="no column high;"):
        cost_figures.difference_figure(pd.DataFrame({"label": ["a"], "difference": [1.0], "low": [0.0]}))


def test_differences_of_ones_own_need_no_series() -> None:
    table = pd.DataFrame(
        {"label": ["a", "b"], "difference": [1.0, -1.0], "low": [0.0, math.nan], "high": [2, math.nan]}
    )
    plain, coloured = (cost_figures.difference_figure(each) for each in (table, table.assign(series=0)))
    assert svg.svg_file(plain) == svg.svg_file(coloured)


def test_a_part_of_a_frontiers_trials_is_summarised_anew(frontier: Frontier) -> None:
    again = summarise(frontier.trials)
    pd.testing.assert_frame_equal(again.trials, frontier.trials)
    assert again.labels[frontier.architectures["architecture"][0]] == frontier.architectures["label"][0]
    best = frontier.architectures["architecture"][0]
    less = summarise(frontier.trials[frontier.trials["architecture"] != best])
    assert best not in set(less.trials["architecture"])
    assert less.degrees < frontier.degrees
    assert less.trials["on_front"].any()


def test_rows_of_ones_own_make_a_frontier_and_any_cost_a_front() -> None:
    rows = [("a", 0, 10.0, 1.0, 9.0), ("a", 1, 12.0, 1.0, 9.0), ("b", 0, 11.0, 2.0, 1.0), ("b", 1, 10.5, 2.0, 1.0)]
    table = pd.DataFrame(rows, columns=["architecture", "seed", "ap", "gmacs", "money"])
    made = summarise(table.assign(label=table["architecture"]))
    assert made.trials["on_front"].tolist() == [True, True, False, False]
    assert with_front(made.trials, "money")["on_front"].tolist() == [True] * 4
    assert repr(made) == "Frontier: 4 comparable trials of 2 architectures, 1 on the front, seed SD 1.03 AP"
    assert len(offsets(cost_figures.cost_figure(with_front(made.trials, "money"), cost="money", name="price"))) == 6
