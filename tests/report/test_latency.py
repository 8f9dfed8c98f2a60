"""The report on latencies: its numbers on data with a known answer, and that it says what cannot be said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from scaling_lab.errors import UserError
from scaling_lab.metrics import COUNTED, METRICS
from scaling_lab.report import write_report
from scaling_lab.report.analysis.latency_orders import MISLED
from scaling_lab.report.figures.latency_figures import correlation_figure, rank_figure, residual_figure
from scaling_lab.report.page.writer import figures_of, tables_of
from scaling_lab.report.sections import latency as report
from scaling_lab.report.sections.latency_words import not_quiet, quick_caution
from scaling_lab.report.writing import make_page, read_runs
from scaling_lab.runs.latencies import write_rows
from tests.report.conftest import ROOT
from tests.test_latencies import ROW

EVIL = '<script>alert("x")</script>'

AXES = [METRICS[name].axis for name in COUNTED]


def rows(number: int = 40, *, seed: int = 0, **changes: Any) -> list[dict[str, Any]]:
    """Latency follows the activations; GMACs are related to it in one space, and not at all in the other."""
    draw = np.random.default_rng(seed)
    made = []
    for index in range(number):
        activations = float(draw.uniform(1, 10))
        related = index % 2 == 0
        gmacs = activations * 0.01 if related else float(draw.uniform(0.01, 0.1))
        made.append(
            {
                **ROW,
                "detector": "related" if related else EVIL,
                "architecture": f"a{index}",
                "description": f"detector {index} {EVIL}",
                "activations_m": activations,
                "gmacs": gmacs,
                "params_m": float(draw.uniform(1, 2)),
                "memory_mb": 10 - activations / 2,
                "median_ms": 3 * activations,
                "p90_ms": 3.3 * activations,
                **changes,
            }
        )
    return made


def table(made: list[dict[str, Any]]) -> pd.DataFrame:
    return report.with_series(pd.DataFrame(made))


def test_correlations_are_what_they_are() -> None:
    frame = table(rows())
    found = report.correlations(frame).set_index(["among", "cost"])
    whole = found.loc["all"]
    assert whole.loc["activations_m", "tau"] == pytest.approx(1.0)
    # Every pair agrees, which is no certainty that further detectors would.
    assert 0.9 < whole.loc["activations_m", "low"] < whole.loc["activations_m", "high"] == 1.0
    assert whole.loc["activations_m", "inverted"] == 0.0
    assert whole.loc["memory_mb", "tau"] == pytest.approx(-1.0)
    assert whole.loc["memory_mb", "inverted"] == 1.0
    assert found.loc[("related", "gmacs"), "tau"] == pytest.approx(1.0)
    assert abs(found.loc[(EVIL, "gmacs"), "tau"]) < 0.5
    gmacs = whole.loc["gmacs"]
    assert gmacs["low"] < gmacs["tau"] < gmacs["high"]
    expected = scipy.stats.kendalltau(frame["gmacs"], frame["median_ms"]).statistic
    assert gmacs["tau"] == pytest.approx(expected)
    assert gmacs["rho"] == pytest.approx(scipy.stats.spearmanr(frame["gmacs"], frame["median_ms"]).statistic)
    assert gmacs["inverted"] == pytest.approx((1 - expected) / 2)  # no ties


def test_a_residual_is_one_where_latency_is_a_power_of_gmacs() -> None:
    frame = table([{**each, "gmacs": (each["median_ms"] / 7) ** 1.5} for each in rows()])
    found = report.with_residuals(frame, report.correlations(frame))
    assert found["slower"].to_numpy() == pytest.approx(1.0)
    assert found["gmacs_tau"].to_numpy() == pytest.approx(1.0)


def test_the_most_misled_pairs_come_first() -> None:
    frame = table(rows())
    found = report.most_misled(frame)
    assert 1 <= len(found) <= MISLED
    assert (found["gmacs_ratio"] < 1).all()
    assert (found["latency_ratio"] > 1).all()
    gaps = found["latency_ratio"] / found["gmacs_ratio"]
    assert gaps.is_monotonic_decreasing
    names = [*found["cheaper"], *found["dearer"]]
    assert len(set(names)) == len(names)
    perfect = table([{**each, "gmacs": each["median_ms"]} for each in rows()])
    assert report.most_misled(perfect).empty


def test_devices_are_never_on_one_axis(tmp_path: Path) -> None:
    path = tmp_path / "two_devices.csv"
    write_rows(path, [*rows(), *rows(seed=1, device="GPU", threads=0), *rows(4, batch=8)])
    page = make_page(read_runs([path]), ROOT / "reports" / "latency.py")
    figures, tables = ({each.name: each for each in found(page)} for found in (figures_of, tables_of))
    assert sorted(figures) == sorted(
        f"{name}{suffix}"
        for name in ("latency_against_costs", "latency_residuals", "rank_correlations")
        for suffix in ("", "_2")
    )
    for suffix, device in {"": "CPU", "_2": "GPU"}.items():
        assert len(figures[f"latency_against_costs{suffix}"].table) == 40
        assert set(tables[f"latencies{suffix}"].frame["device"]) == {device}


def test_a_page_stands_beside_its_file(tmp_path: Path) -> None:
    path = tmp_path / "two.csv"
    write_rows(path, [*rows(), *rows(4, batch=8)])
    page = write_report(path, compact=True)
    assert page == tmp_path / "two_report" / "latency.html"
    text = page.read_text()
    assert "A correlation needs 5 detectors; here are 4." in text
    assert EVIL not in text
    assert "GMACs rank latency with tau-b" in text


def test_methods_are_never_on_one_axis(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    write_rows(path, [*rows(10), *rows(10, method="unchecked", anchor_ms=35.0)])
    text = write_report(path, compact=True).read_text()
    assert "drift not checked" in text
    assert 'id="figure-latency-against-costs-2"' in text


def test_detectors_that_count_alike_are_told(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    same = {"gmacs": 1.0, "params_m": 1.0, "activations_m": 1.0, "memory_mb": 1.0}
    write_rows(path, rows(10, **same))
    assert "do not differ in what is counted" in write_report(path, compact=True).read_text()
    one = [{**each, "params_m": float(number)} for number, each in enumerate(rows(10, **same), start=1)]
    write_rows(path, one)
    assert "parameters, million:</strong> tau-b " in write_report(path, compact=True).read_text()


@pytest.mark.slow
def test_the_same_file_gives_the_same_page(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    write_rows(path, rows())
    first = write_report(path, out=tmp_path / "one", compact=True).read_bytes()
    assert write_report(path, out=tmp_path / "two", compact=True).read_bytes() == first


def test_an_empty_file_gives_a_page_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    write_rows(path, [])
    assert "The file holds no measurement." in write_report(path).read_text()


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"l\.csv cannot be read"):
        write_report(tmp_path / "l.csv")


@pytest.mark.parametrize("width", [8.0, 3.7])
def test_figures_draw_what_the_table_has(width: float) -> None:
    frame = table(rows())
    ranks = report.correlations(frame)
    frame = report.with_residuals(frame, ranks)
    panels = correlation_figure(frame, width).axes
    assert [axes.get_xlabel() for axes in panels] == [f"{name} (log scale)" for name in AXES]
    assert all(sum(len(points.get_offsets()) for points in axes.collections) == 40 for axes in panels)
    (axes,) = residual_figure(frame, width).axes
    assert sum(len(points.get_offsets()) for points in axes.collections) == 40
    (axes,) = rank_figure(ranks, width).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == AXES


def _quick(p90: float, method: str = "quick") -> pd.DataFrame:
    return pd.DataFrame({"median_ms": [10.0, 20.0], "p90_ms": [p90, 21.0], "method": method})


def test_a_device_that_was_not_quiet_is_named() -> None:
    assert not_quiet(_quick(14.9)) == ""
    assert "reaches 2.3 times its median" in not_quiet(_quick(23.0))


def test_quick_latencies_are_cautioned() -> None:
    assert quick_caution(_quick(11.0, "anchored"), {}) == ""
    assert "once each, after the trials" in quick_caution(
        _quick(11.0), {"objectives": {"ap": "maximize"}, "limits": {}}
    )
    timed = quick_caution(_quick(11.0), {"objectives": {"ap": "maximize", "latency_ms": "minimize"}})
    assert "as the first step of a trial" in timed
    assert "after the trials" not in timed
    assert "no front is drawn" in quick_caution(_quick(11.0), {"limits": {"latency_ms": 20.0}})
