"""AP against GMACs as a law: fitted for each way of scaling, with its band, its prediction for the next model, and its errors.

A way of scaling is a value of one parameter of the space, such as which dimension grows; without it all are one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scaling_lab.report.analysis.scaling_points import NEXT, family_points, law_curve
from scaling_lab.report.figures.scaling_figure import draw_scaling
from scaling_lab.report.page.blocks import Block, Bullets, Column, Figure, Section, Table, Text
from scaling_lab.report.tables import records
from scaling_lab.stats import hypotheses
from scaling_lab.stats.scaling_law import LEAST, Law, band, fit_law, fit_line, left_out, misfit_p
from scaling_lab.text import interval, significant

if TYPE_CHECKING:
    from scaling_lab.report.analysis.frontier import Frontier
    from scaling_lab.runs.reader import Runs

PREDICTED = ("next_gmacs", "next_ap", "next_low", "next_high", "expected_low", "expected_high")


def scaling(runs: Runs, frontier: Frontier, *, family: str | None = None) -> Section:
    """Fit a saturating power law to each family of at least four costs; `family` is the parameter that tells them apart."""
    points = family_points(frontier, family)
    laws = [law for _, group in points.groupby("family", sort=False) if (law := _law(frontier, group)) is not None]
    if not laws:
        text = f"A scaling law needs {LEAST} architectures of different cost in one family; this run has fewer."
        return Section(title="Scaling", blocks=(Text(text=text, tone="note"),))
    curves = pd.concat([law["curve"] for law in laws], ignore_index=True)
    repeated = frontier.degrees > 0
    lines = "Lines are AP = a − b · GMACs^−c, fitted to the means; "
    lines += (
        "shaded is their 95 % interval at each cost, from the spread of seeds. They end at "
        f"{NEXT:g} times the dearest model, which is a prediction; where AP does not grow they end at the dearest."
        if repeated
        else "with one seed each they are a guide to the eye and predict nothing."
    )
    lines += " Hollow marks are single trainings." if (points["n"] == 1).any() else ""
    figure = Figure(
        name="scaling",
        table=points.merge(curves, how="outer", on=["family", "series", "gmacs"], suffixes=("", "_law")),
        draw=draw_scaling,
        title="AP against multiply-adds, as a law" if repeated else "AP against multiply-adds",
        caption=lines,
        alt="AP against GMACs with a fitted saturating power law for each family",
    )
    blocks: list[Block] = [Bullets(items=tuple(_sentence(law) for law in laws)), figure]
    blocks += [_table(laws)] if repeated else []
    return Section(title="Scaling", blocks=tuple(blocks))


def _law(frontier: Frontier, group: pd.DataFrame) -> dict[str, Any] | None:
    """Fit one family; None where it has too few costs."""
    if group["gmacs"].nunique() < LEAST:
        return None
    costs, values = group["gmacs"].tolist(), group["ap_mean"].tolist()
    seeds, pooled = group["n"].tolist(), (frontier.sd, frontier.degrees)
    law, line = fit_law(costs, values, seeds), fit_line(costs, values, seeds)
    curve = law_curve(group, pooled)
    trainings = int(group["n"].median())
    expected = np.full((2, 1), math.nan)
    if frontier.degrees > 0:
        dearest = curve["gmacs"].tolist()[-1:]
        expected = band(costs, values, dearest, seeds=seeds, pooled=pooled, trainings=trainings)
    errors = left_out(costs, values, seeds)
    grows, dearest_cost = _grows(law, costs, pooled, seeds), max(costs)
    first = group.iloc[0]
    return {
        "family": first["family"],
        "models": len(group),
        "law": law,
        "curve": curve if grows and frontier.degrees > 0 else curve[curve["gmacs"] <= dearest_cost],
        "next": records(curve)[-1],
        "trainings": trainings,
        "expected": (float(expected[0, 0]), float(expected[1, 0])),
        "misfit": misfit_p(law, seeds, pooled),
        "repeated": frontier.degrees > 0,
        "grows": grows,
        "errors": errors,
        "dearest_error": float(errors[int(np.argmax(costs))]),
        "dearest": str(group["label"].iloc[int(np.argmax(costs))]),
        "preferred": _preferred(law.aic(len(group)), line.aic(len(group))),
    }


def _grows(law: Law, costs: list[float], pooled: tuple[float, int], seeds: list[float]) -> bool:
    """Say whether the law gains more AP from the cheapest to the dearest than noise: that of a difference of two means.

    Without repeated seeds the noise is what the models lie off the law by.
    """
    gain = float(law([max(costs)])[0] - law([min(costs)])[0])
    off = math.sqrt(law.squares / max(1, len(costs) - 3))
    noise = math.sqrt(2.0) * (pooled[0] / math.sqrt(float(np.median(seeds))) if pooled[1] > 0 else off)
    return gain > max(noise, 1e-9)


def _preferred(law: float, line: float) -> str:
    """Say which of law and plain line the criterion prefers."""
    if math.isinf(law):
        return "So few models do not tell whether it is better than a line in log(GMACs)."
    if abs(law - line) < 2:
        return "It is no better and no worse than a line in log(GMACs), by Akaike's criterion."
    better = "better than" if law < line else "no better than"
    return f"It is {better} a line in log(GMACs), by Akaike's criterion."


def _sentence(law: dict[str, Any]) -> tuple[str, str]:
    lead = f"{law['family']}, {law['models']} models:"
    flat = "" if law["grows"] else "AP does not grow with cost here"
    if not law["repeated"]:
        chance = "with one seed each no law can be told from chance: single trainings, no claim."
        return lead, f"{flat}; {chance}" if flat else chance
    if flat:
        return lead, (
            f"{flat}: from the cheapest to the dearest the fitted law gains no more than two means of these seeds differ by "
            "chance, so it predicts nothing."
        )
    after = law["next"]
    band = "" if math.isnan(after["low"]) else f" {interval(after['low'], after['high'])}"
    if band:
        mean = f"the mean of {law['trainings']} trainings of it is" if law["trainings"] > 1 else "one training of it is"
        band += f" (95 %; {mean} expected in {interval(*law['expected'])})"
    text = (
        f"for the next model, of {significant(after['gmacs'])} GMACs, it predicts {after['ap_law']:.1f} AP{band}. "
        f"{law['preferred']}"
    )
    if law["misfit"] < hypotheses.LEVEL:
        text += " But the models lie further off the law than their seeds explain, so its intervals are too narrow."
    if not math.isnan(law["dearest_error"]):
        off = float(np.abs(law["errors"]).mean())
        text += (
            f" Each model predicted from the others is off by {off:.1f} AP on average; {law['dearest']}, the dearest, has "
            f"{abs(law['dearest_error']):.1f} AP {'more' if law['dearest_error'] >= 0 else 'less'} than the others predict."
        )
    return lead, text


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
            "misfit_p": law["misfit"],
        }
        | ({} if law["grows"] else dict.fromkeys(PREDICTED, math.nan))
        for law in laws
    ]
    return Table(
        name="scaling_laws",
        frame=pd.DataFrame(rows),
        columns=(
            Column(key="family", label="Family"),
            Column(key="models", label="Models", digits=0),
            Column(key="a", label="a", digits=1, help="the AP that the law goes towards"),
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
        ),
        caption="AP = a − b · GMACs^−c. The prediction for the next model is stated here before that is trained.",
    )
