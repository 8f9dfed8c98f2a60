"""The section Predicted against found: what a model of a search's trials predicts and believes, and where trials went.

The sampler "ehvi" chooses by such a model. For other samplers it is fitted afterwards.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from scaling_lab.metrics import METRICS, written
from scaling_lab.report.analysis.search_beliefs import Beliefs, search_beliefs
from scaling_lab.report.figures.beliefs_figure import MOST_BARS, beliefs_figure
from scaling_lab.report.page.blocks import Bullets, Column, Figure, Section, Table, Text
from scaling_lab.report.sections.proxy_words import ranked
from scaling_lab.report.tables import records
from scaling_lab.text import interval, listed, plural

if TYPE_CHECKING:
    from scaling_lab.report.analysis.frontier import Frontier
    from scaling_lab.runs.reader import Runs

TITLE = "Predicted against found"
FEW = 30  # architectures, below which rank agreement and calibration are hardly known
MOST_NAMED, MOST_ROWS = 2, 10
_FRONTS = ("on_believed", "on_found")


def beliefs(runs: Runs, frontier: Frontier) -> Section:
    """Show what a model of a search's trials predicts and believes, beside what was found; no blocks for a grid."""
    found = search_beliefs(runs, frontier)
    if found is None:
        return Section(title=TITLE, blocks=())
    note = _note(str(runs.meta["sampler"]), found)
    notes = (Text(text=note, tone="note"),) if note else ()
    return Section(
        title=TITLE, blocks=(Bullets(items=_sentences(found, frontier)), *notes, _figure(found), _table(found))
    )


def _figure(found: Beliefs) -> Figure:
    label = METRICS[found.measured].label
    text = "Each architecture is predicted by a fit without its own trials. Stopped and failed trials are not drawn."
    if len(found.trials) > MOST_BARS:
        text += f" Above {MOST_BARS} trials intervals are not drawn."
    return Figure(
        name="predicted_against_found",
        table=found.trials,
        draw=partial(beliefs_figure, name=label),
        title=f"{label} predicted and found",
        caption=text,
        alt=f"{label} found against {label} predicted from the other architectures' trials",
    )


def _table(found: Beliefs) -> Table:
    label = METRICS[found.measured].label
    digits = METRICS[found.measured].digits
    frame = found.architectures.drop(columns="predicted_sd")
    frame["interval"] = [interval(row["believed_low"], row["believed_high"]) for row in records(frame)]
    names = {"on_believed": "believed", "on_found": "observed"}
    frame["fronts"] = [" and ".join(name for key, name in names.items() if row[key]) for row in records(frame)]
    columns = [
        Column(key="label", label="Architecture"),
        Column(key="n", label="Trials", digits=0, help="complete trials of the search"),
        Column(key="found", label=f"{label} found", digits=digits, help="mean of its trials"),
        Column(key="predicted", label="Predicted", digits=digits, help="by a fit without its own trials"),
        Column(
            key="believed", label="Believed", digits=digits, help="posterior mean without seed noise, by all trials"
        ),
        Column(key="interval", label="95 % interval", sort="believed_low", help="of the believed value"),
        Column(key="fronts", label="On the front" if found.has_costs else "Best", help="by which of both values"),
    ]
    if (frame["n_fresh"] > 0).any():
        columns += [
            Column(key="fresh", label=f"{label}, fresh seeds", digits=digits, help="mean of its finalist trials")
        ]
    return Table(
        name="believed_architectures",
        frame=frame,
        columns=tuple(columns),
        caption="Believed values of all architectures with complete trials of the search, the best first.",
        most_rows=MOST_ROWS,
    )


# --- words -----------------------------------------------------------------------------------------------------------


def _sentences(found: Beliefs, frontier: Frontier) -> tuple[tuple[str, str], ...]:
    return (
        _agreement(found),
        _calibration(found),
        _noise(found, frontier),
        _spent(found),
        *(_fronts(found) if found.has_costs else [_best(found)]),
        *_fresh(found),
    )


def _agreement(found: Beliefs) -> tuple[str, str]:
    tau, count = found.tau, plural(len(found.architectures), "architecture")
    if math.isnan(tau.value):
        return "Rank agreement:", f"none, since the predicted or the found values of {count} are all equal."
    verdict = ", so none is shown" if tau.low <= 0 <= tau.high else ""
    return "Rank agreement:", f"tau-b {ranked(tau)} between predicted and found {_label(found)} of {count}{verdict}."


def _calibration(found: Beliefs) -> tuple[str, str]:
    half, most = found.inside(0.5), found.inside(0.95)
    text = (
        f"{half.count} of {plural(len(found.trials), 'found value')} lie in their 50 % intervals, {most.count} in their 95 % "
        f"intervals; {half.low}–{half.high} and {most.low}–{most.high} if calibrated."
    )
    return "Calibration:", text


def _noise(found: Beliefs, frontier: Frontier) -> tuple[str, str]:
    repeated = int((found.architectures["n"] > 1).sum())
    text = f"estimated SD {_value(found, found.noise)} AP, "
    if repeated:
        text += f"from {plural(repeated, 'architecture')} with several seeds."
    else:
        text += "mostly assumed, since no architecture has two seeds."
    if found.measured == "ap" and frontier.fresh.degrees > 0:
        text += f" Finalists' seeds: SD {_value(found, frontier.fresh.sd)} AP."
    return "Seed noise:", text


def _spent(found: Beliefs) -> tuple[str, str]:
    trials, table = Counter(found.spent), found.architectures
    believed = table.loc[table["on_believed"], "architecture"]
    on_front = sum(trials[digest] for digest in believed)
    further = plural(trials.total() - len(trials), "further seed")
    front = f"the {plural(len(believed), 'architecture')} of the believed front"
    where = front if found.has_costs else "what is believed best"
    return "Trials:", (
        f"{trials.total():,}, of {plural(len(trials), 'architecture')}, with {further}; {on_front:,} of these trials on {where}."
    )


def _fronts(found: Beliefs) -> list[tuple[str, str]]:
    table = found.architectures
    believed, lucky = (table[table[first] & ~table[second]] for first, second in (_FRONTS, _FRONTS[::-1]))
    if believed.empty and lucky.empty:
        return [("Front:", f"believed and observed, the same {plural(int(table['on_found'].sum()), 'architecture')}.")]
    names = {"On the believed front only:": believed, "On the observed front only:": lucky}
    return [(lead, f"{listed(_both(found, rows), most=MOST_NAMED)}.") for lead, rows in names.items() if len(rows)]


def _best(found: Beliefs) -> tuple[str, str]:
    table = found.architectures
    believed, observed = (_both(found, table[table[name]])[0] for name in _FRONTS)
    if believed == observed:
        return "Best:", f"believed and observed, {believed}."
    return "Best:", f"believed, {believed}; observed, {observed}."


def _both(found: Beliefs, rows: pd.DataFrame) -> list[str]:
    """Name architectures with both values."""
    return [
        f"{row['label']} (believed {_value(found, row['believed'])}, found {_value(found, row['found'])})"
        for row in records(rows)
    ]


def _fresh(found: Beliefs) -> list[tuple[str, str]]:
    """Compare the believed and the found values of finalists with their fresh seeds."""
    table = found.architectures[found.architectures["n_fresh"] > 0]
    if table.empty:
        return []
    off = {name: _value(found, (table[name] - table["fresh"]).abs().mean()) for name in ("believed", "found")}
    text = (
        f"their mean differs by {off['believed']} AP from the believed value and by {off['found']} AP from the found one, over "
        f"{plural(len(table), 'architecture')}."
    )
    return [("Fresh seeds:", text)]


def _note(sampler: str, found: Beliefs) -> str:
    parts = []
    if sampler != "ehvi":
        parts.append(f"The sampler {sampler} did not use this model; it was fitted to the ended trials.")
    if len(found.architectures) < FEW:
        parts.append(f"With {len(found.architectures)} architectures, rank agreement and calibration are hardly known.")
    if found.left_out:
        parts.append(f"The best and the latest trials are modelled; {plural(found.left_out, 'other')} are not.")
    return " ".join(parts)


def _label(found: Beliefs) -> str:
    return METRICS[found.measured].label


def _value(found: Beliefs, value: float) -> str:
    return written(found.measured, value)
