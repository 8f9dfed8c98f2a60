"""Sections on how well a proxy ranks architectures of the full protocol, from two runs or two protocols of one run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from scaling_lab.report.analysis.frontier import Frontier
from scaling_lab.report.analysis.predictors import TOPS, Predictor
from scaling_lab.report.analysis.proxy_judgement import Proxy, within_proxy
from scaling_lab.report.figures.proxy_figure import MOST_BARS, proxy_figure
from scaling_lab.report.page.blocks import Block, Bullets, Column, Figure, Section, Table, Text, renamed
from scaling_lab.report.sections import conclusion_words, proxy_words
from scaling_lab.stats.resampling import resamples_of
from scaling_lab.text import listed, plural, significant

if TYPE_CHECKING:
    from scaling_lab.runs.reader import Runs

TITLE = "The proxy and the full protocol"
WITHIN = "The shorter protocol as a proxy"


def _epochs(frontier: Frontier) -> int:
    return int(frontier.trials["epochs"].iloc[0])


# --- sections --------------------------------------------------------------------------------------------------------


def answer(found: Proxy) -> str:
    """Answer in one sentence how well the proxy ranks."""
    return proxy_words.answer(found)


def limits(found: Proxy) -> Section:
    """Show what limits the answer."""
    odd = (Text(text=found.warning, tone="warning"),) if found.warning else ()
    said = (Bullets(items=proxy_words.limits(found)),) if found.judged else ()
    return Section(title="Limits", blocks=(*odd, *said))


def evidence(found: Proxy, *, prefix: str = "proxy") -> Section:
    """Show AP against AP, each predictor's rank correlations and regrets, and the protocols."""
    if found.pairs.table.empty:
        return Section(title=TITLE, blocks=())
    blocks: list[Block] = [_figure(found, prefix)]
    if found.judged:
        said = Bullets(items=proxy_words.findings(found, costs(found)))
        blocks = [said, *blocks, _agreement_table(found, prefix), _regret_table(found, prefix)]
    return Section(title=TITLE, blocks=(*blocks, _protocol_table(found, prefix)))


def within(runs: Runs, frontier: Frontier) -> Section:
    """Judge the cheaper of a run's two protocols or lengths as a proxy of the other; no blocks for one alone."""
    found = within_proxy(frontier)
    if found is None:
        return Section(title=WITHIN, blocks=())
    names = Text(text=f"Proxy: {found.proxy_name}. Full protocol: {found.full_name}.", tone="note")
    more = (*limits(found).blocks, *evidence(found, prefix="proxy_within").blocks)
    return Section(title=WITHIN, blocks=(Text(text=answer(found)), names, *more))


# --- blocks --------------------------------------------------------------------------------------------------------


def costs(found: Proxy) -> tuple[tuple[str, str], ...]:
    """Return the cost of a trial of each protocol in epochs and seconds."""
    table = found.pairs.table
    proxy, full = float(table["proxy_seconds"].mean()), float(table["full_seconds"].mean())
    each = [f"{plural(_epochs(side), 'epoch')}, {significant(seconds)} s" for side, seconds in
            ((found.proxy, proxy), (found.full, full))]  # fmt: skip
    times = ""
    if proxy > 0 and full > 0:
        times = f" ({significant(full / proxy, 2)} times as long)" if full >= proxy else " (no longer)"
    said = [("Cost of a trial:", f"{each[0]} as proxy; {each[1]} in full{times}.")]
    devices = [sorted({str(name) for name in side.trials["device"].dropna()}) for side in (found.proxy, found.full)]
    if devices[0] != devices[1]:
        said.append(("Devices differ:", f"{listed(devices[0], most=2)}; {listed(devices[1], most=2)}."))
    return tuple(said)


def _figure(found: Proxy, prefix: str) -> Figure:
    table = found.pairs.table
    single = (table[["proxy_n", "full_n"]].min(axis=1) == 1).any()
    marks = "; bars are 95 % t-intervals."
    marks += " Hollow marks have one seed under one protocol." if single else ""
    marks = f"; intervals of more than {MOST_BARS} are not drawn." if len(table) > MOST_BARS else marks
    return Figure(
        name=f"{prefix}_ap",
        table=table,
        draw=proxy_figure,
        title="AP of the proxy and of the full protocol",
        caption=f"Each mark is an architecture, at its means over seeds{marks}",
        alt=f"AP of the proxy against AP of the full protocol, of {plural(len(table), 'architecture')}",
    )


def _row(predictor: Predictor) -> dict[str, Any]:
    row: dict[str, Any] = {"predictor": predictor.name}
    named = {
        "tau": predictor.tau,
        "spearman": predictor.spearman,
        "partial": predictor.partial,
        "ahead": predictor.ahead,
    }
    for name, value in (named | {f"regret_{k}": regret for k, regret in predictor.regrets.items()}).items():
        row[name], row[f"{name}_low"], row[f"{name}_high"] = value.value, value.low, value.high
        row[f"{name}_text"] = proxy_words.ranked(value, 1 if name.startswith("regret") else 2)
    return row


def _agreement_table(found: Proxy, prefix: str) -> Table:
    """Return a row for each predictor, and one for a repeat of the full protocol, with its rank correlations."""
    rows, count = [_row(each) for each in found.judged.values()], len(found.pairs.table)
    ceiling = found.ceilings.full
    repeat = {"predictor": "a repeat of the full protocol", "tau": ceiling}
    repeat |= {f"{name}_text": "–" for name in ("tau", "spearman", "partial", "ahead")}
    rows.append(repeat if math.isnan(ceiling) else repeat | {"tau_text": f"{ceiling:.2f}"})
    return Table(
        name=f"{prefix}_predictors",
        frame=pd.DataFrame(rows),
        columns=(
            Column(key="predictor", label="Ranked by"),
            Column(key="tau_text", label="tau-b", sort="tau"),
            Column(key="spearman_text", label="Spearman", sort="spearman"),
            Column(key="partial_text", label="Partial tau", sort="partial", help="partial tau-b given GMACs"),
            Column(key="ahead_text", label="Proxy ahead by", sort="ahead", help="its tau-b minus this one's"),
        ),
        caption=f"Rank agreement with AP of the full protocol, with {proxy_words.INTERVALS}. {proxy_words.ahead_covers(count)}"
        "Partial tau: given log GMACs. Repeat: expected tau-b of two repeats, from the seed SD.",
    )


def _regret_table(found: Proxy, prefix: str) -> Table:
    columns = [Column(key="predictor", label="Chosen by")]
    for k in TOPS:
        label = "First choice" if k == 1 else f"Best of {k}"
        columns.append(Column(key=f"regret_{k}_text", label=label, sort=f"regret_{k}"))
    return Table(
        name=f"{prefix}_regret",
        frame=pd.DataFrame([_row(each) for each in found.judged.values()]),
        columns=tuple(columns),
        caption="AP lost by training only the top k in full and taking the best. "
        f"{proxy_words.middle_of(resamples_of(len(found.pairs.table)))}",
    )


def _protocol_table(found: Proxy, prefix: str) -> Table:
    rows = []
    for which, name, each in (("proxy", found.proxy_name, found.proxy), ("full", found.full_name, found.full)):
        table = each.architectures
        rows.append(
            {"protocol": which, "name": name, "epochs": _epochs(each), "seconds": float(each.trials["seconds"].mean())}
            | {
                "architectures": len(table),
                "paired": len(found.pairs.table),
                "seeds": conclusion_words.seed_counts(table),
            }
            | {"sd": each.sd, "least": float(table["ap_mean"].min()), "most": float(table["ap_mean"].max())}
        )
    return Table(
        name=f"{prefix}_protocols",
        frame=pd.DataFrame(rows),
        columns=(
            Column(key="protocol", label="Protocol"),
            Column(key="name", label="Run"),
            Column(key="epochs", label="Epochs", digits=0),
            Column(key="seconds", label="s per trial", digits=3, significant=True),
            Column(key="architectures", label="Architectures", digits=0),
            Column(key="seeds", label="Seeds"),
            Column(key="sd", label="Seed SD", digits=1, help="AP, pooled over architectures"),
            Column(key="least", label="Lowest AP", digits=1),
            Column(key="most", label="Highest AP", digits=1),
        ),
        caption="Complete trials of one protocol and length; seconds as recorded, the mean over all of them.",
    )


def of_run(section: Section, name: str) -> Section:
    """Return a section with a run's name in its title and in the names of its tables and figures."""
    blocks = tuple(renamed(block, name.replace(" ", "_")) for block in section.blocks)
    return Section(title=f"{section.title} ({name})", blocks=blocks)
