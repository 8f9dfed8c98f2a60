"""The section Scaling: a law of AP against GMACs for each family, with its band, prediction and errors.

A family is a value of one parameter of the space, such as the dimension that grows; without one, all are one family.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scaling_lab.report.analysis.scaling_points import NEXT, family_points, law_curve
from scaling_lab.report.figures.scaling_figure import draw_scaling
from scaling_lab.report.page.blocks import Block, Bullets, Column, Figure, Section, Table, Text
from scaling_lab.report.sections import conclusion_words
from scaling_lab.report.tables import records
from scaling_lab.stats import hypotheses
from scaling_lab.stats.scaling_law import LEAST, Law, band, fit_law, fit_line, left_out, misfit_p
from scaling_lab.text import interval, plural, signed, significant

if TYPE_CHECKING:
    from scaling_lab.report.analysis.frontier import Frontier
    from scaling_lab.runs.reader import Runs

PREDICTED = ("next_gmacs", "next_ap", "next_low", "next_high", "expected_low", "expected_high")


def scaling(runs: Runs, frontier: Frontier, *, family: str | None = None) -> Section:
    """Fit a saturating power law to each family of at least four costs; `family` is the parameter that defines them."""
    points = family_points(frontier, family)
    laws = _laws(frontier, points)
    if not laws:
        text = f"A scaling law needs {LEAST} architectures of different cost in one family; this run has fewer."
        return Section(title="Scaling", blocks=(Text(text=text, tone="note"),))
    curves = pd.concat([law["curve"] for law in laws], ignore_index=True)
    repeated = frontier.degrees > 0
    lines = "Lines: AP = a − b · GMACs^−c, fitted to the means"
    lines += (
        f", with 95 % bands. They end at {NEXT:g} times the highest cost, or at the highest cost where AP does not grow."
        if repeated
        else ", a guide to the eye: with one seed each they predict nothing."
    )
    lines += " Hollow marks are single training runs." if (points["n"] == 1).any() else ""
    figure = Figure(
        name="scaling",
        table=points.merge(curves, how="outer", on=["family", "series", "gmacs"], suffixes=("", "_law")),
        draw=draw_scaling,
        title="AP against multiply-adds, as a law" if repeated else "AP against multiply-adds",
        caption=lines,
        alt="AP against GMACs with a fitted saturating power law for each family",
    )
    blocks: list[Block] = [Bullets(items=tuple(each for law in laws for each in _sentences(law))), figure]
    blocks += [_table(laws)] if repeated else []
    return Section(title="Scaling", blocks=tuple(blocks))


def _law(frontier: Frontier, group: pd.DataFrame) -> dict[str, Any] | None:
    """Fit one family; None if it has too few costs."""
    if group["gmacs"].nunique() < LEAST:
        return None
    costs, values = group["gmacs"].tolist(), group["ap_mean"].tolist()
    seeds, pooled = group["n"].tolist(), (frontier.sd, frontier.degrees)
    law, line = fit_law(costs, values, seeds), fit_line(costs, values, seeds)
    curve = law_curve(group, pooled)
    training_runs = int(group["n"].median())
    expected = np.full((2, 1), math.nan)
    if frontier.degrees > 0:
        highest = curve["gmacs"].tolist()[-1:]
        expected = band(costs, values, highest, seeds=seeds, pooled=pooled, training_runs=training_runs)
    errors = left_out(costs, values, seeds)
    grows, highest_cost = _grows(law, costs, pooled, seeds), max(costs)
    first = group.iloc[0]
    return {
        "family": first["family"],
        "models": len(group),
        "law": law,
        "curve": curve if grows and frontier.degrees > 0 else curve[curve["gmacs"] <= highest_cost],
        "next": records(curve)[-1],
        "training_runs": training_runs,
        "expected": (float(expected[0, 0]), float(expected[1, 0])),
        "misfit": misfit_p(law, seeds, pooled),
        "repeated": frontier.degrees > 0,
        "grows": grows,
        "errors": errors,
        "largest_error": float(errors[int(np.argmax(costs))]),
        "largest": str(group["label"].iloc[int(np.argmax(costs))]),
        "preferred": _preferred(law.aic(len(group)), line.aic(len(group))),
    }


def _grows(law: Law, costs: list[float], pooled: tuple[float, int], seeds: list[float]) -> bool:
    """Return whether the law's gain from the lowest to the highest cost exceeds the noise of a difference of two means.

    Without repeated seeds the noise is estimated from the residuals.
    """
    gain = float(law([max(costs)])[0] - law([min(costs)])[0])
    off = math.sqrt(law.squares / max(1, len(costs) - 3))
    noise = math.sqrt(2.0) * (pooled[0] / math.sqrt(float(np.median(seeds))) if pooled[1] > 0 else off)
    return gain > max(noise, 1e-9)


def _preferred(law: float, line: float) -> str:
    """Return whether AIC prefers the law or a line."""
    if math.isinf(law):
        return "too few models to compare with a line in log GMACs"
    if abs(law - line) < 2:
        return "no different from a line in log GMACs (AIC)"
    return f"{'better' if law < line else 'worse'} than a line in log GMACs (AIC)"


def answer(runs: Runs, frontier: Frontier, *, family: str | None = None) -> str:
    """Answer in one sentence which family's law predicts the highest AP for its next model, or which architecture is best."""
    laws = _laws(frontier, family_points(frontier, family))
    growing = [law for law in laws if law["grows"] and law["repeated"]]
    if not growing:
        return conclusion_words.answer(frontier, runs.table())
    best = max(growing, key=lambda law: float(law["next"]["ap_law"]))
    name = "Scaling" if len(laws) == 1 else f"Scaling {best['family']}"
    after = best["next"]
    interval = "" if math.isnan(after["low"]) else f" (95 % CI {after['low']:.1f}–{after['high']:.1f})"
    rank = ", the highest of " + plural(len(laws), "family", "families") if len(laws) > 1 else ""
    return f"{name} predicts AP {after['ap_law']:.1f}{interval} at {significant(after['gmacs'])} GMACs{rank}."


def _laws(frontier: Frontier, points: pd.DataFrame) -> list[dict[str, Any]]:
    return [law for _, group in points.groupby("family", sort=False) if (law := _law(frontier, group)) is not None]


def _sentences(law: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what the law of a family predicts, with its errors."""
    lead = f"{law['family']}, {law['models']} models:"
    if not law["repeated"]:
        flat = "" if law["grows"] else "AP does not grow with cost; "
        return [(lead, f"{flat}one seed each, so no law can be tested.")]
    if not law["grows"]:
        return [(lead, "AP grows with cost by no more than the seed noise, so the law predicts nothing.")]
    after = law["next"]
    band = "" if math.isnan(after["low"]) else f" {interval(after['low'], after['high'])}"
    text = f"AP {after['ap_law']:.1f}{band} predicted at {significant(after['gmacs'])} GMACs; the law is {law['preferred']}."
    found = [(lead, text)]
    if law["misfit"] < hypotheses.LEVEL:
        found.append(
            (f"{law['family']}, misfit:", "the residuals exceed the seed noise, so the interval is too narrow.")
        )
    if not math.isnan(law["largest_error"]):
        off, signed_error = float(np.abs(law["errors"]).mean()), signed(law["largest_error"])
        text = f"mean error {off:.1f} AP; the most expensive model, {law['largest']}, {signed_error} AP."
        found.append((f"{law['family']}, leave-one-out:", text))
    return found


def _table(laws: list[dict[str, Any]]) -> Table:
    rows = [
        {
            "family": law["family"],
            "models": law["models"],
            "a": law["law"].a,
            "b": law["law"].b * law["law"].scale ** law["law"].c,
            "c": law["law"].c,
            "left_out": float(np.abs(law["errors"]).mean()),
            "next_gmacs": law["next"]["gmacs"],
            "next_ap": law["next"]["ap_law"],
            "next_low": law["next"]["low"],
            "next_high": law["next"]["high"],
            "expected_low": law["expected"][0],
            "expected_high": law["expected"][1],
            "expected": interval(*law["expected"]),
            "misfit_p": law["misfit"],
        }
        | ({} if law["grows"] else dict.fromkeys(PREDICTED, math.nan) | {"expected": "–"})
        for law in laws
    ]
    return Table(
        name="scaling_laws",
        frame=pd.DataFrame(rows),
        columns=(
            Column(key="family", label="Family"),
            Column(key="models", label="Models", digits=0),
            Column(key="a", label="a", digits=1, help="asymptotic AP"),
            Column(key="b", label="b", digits=3, significant=True),
            Column(key="c", label="c", digits=2),
            Column(
                key="left_out",
                label="Left-out error",
                digits=1,
                help="mean error of each model predicted from the others",
            ),
            Column(key="next_gmacs", label="Next, GMACs", digits=3, significant=True),
            Column(key="next_ap", label="Next, AP", digits=1),
            Column(
                key="expected",
                label="Expected",
                help="95 % prediction interval of the next model's mean over as many seeds",
            ),
        ),
        caption="AP = a − b · GMACs^−c. The prediction for the next model is stated before it is trained.",
    )
