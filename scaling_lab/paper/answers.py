"""The stored runs' answers to the paper's questions: one line, sentences, further results, and the conditions.

Intervals in brackets are 95 %. Intervals of differences are Welch's for two means over seeds, uncorrected. Significance is
at 5 % by Welch's test, Holm-corrected for the comparisons of an answer (question 2: for all pairs of networks).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from scaling_lab.paper import effects
from scaling_lab.paper.effects import Effect
from scaling_lab.paper.likeness import likeness_of
from scaling_lab.paper.run_conditions import conditions_in_words, protocol
from scaling_lab.report.analysis import grid_values, paper_order, proxy_judgement, scaling_points, shrinkage
from scaling_lab.report.analysis.baseline import find_baseline
from scaling_lab.report.analysis.frontier import Frontier, compute_frontier
from scaling_lab.report.sections import proxy_words
from scaling_lab.report.tables import records
from scaling_lab.runs.reader import Runs
from scaling_lab.stats import power, ranks
from scaling_lab.stats.scaling_law import LEAST, band, fit_law
from scaling_lab.text import interval, listed, number, p_value, plural

PAPERS_FACTOR = 1.35
EXAMPLE_DIFFERENCE = 5.0  # AP; question 7 states the seeds needed to detect it
SPEEDS = "fusion_speed.csv"  # of benchmarks/fusion_speed.py, beside the stored runs


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The findings on a question: one line of at most 15 words, sentences, and further results."""

    short: str
    text: str
    details: str = ""


@dataclass(frozen=True, kw_only=True)
class Answer(Findings):
    """Findings with the conditions of their numbers."""

    conditions: str


def answer(number: int, runs: Mapping[str, Runs]) -> Answer | None:
    """Answer a question, by number, from its stored runs, by name.

    None if the first run is missing or has no repeated seeds.
    """
    found = {name: each for name, each in runs.items() if _is_repeated(compute_frontier(each))}
    if (findings := _ANSWERS[number](found)) is None:
        return None
    return Answer(
        short=findings.short,
        text=findings.text,
        details=findings.details,
        conditions=conditions_in_words(list(found.values())),
    )


def _is_repeated(frontier: Frontier) -> bool:
    return frontier.degrees > 0 or (not frontier.finalists.empty and frontier.fresh.degrees > 0)


def _joined(*sentences: str) -> str:
    return " ".join(sentence.strip() for sentence in sentences if sentence)


def _one_line(found: Sequence[Effect], chosen: Effect) -> str:
    """Write one of an answer's effects with its corrected significance."""
    return f"{_capital(chosen.text)}, {effects.verdict(_corrected_p(found, chosen))}"


def _corrected_p(found: Sequence[Effect], chosen: Effect) -> float:
    return effects.corrected(found)[found.index(chosen)]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _listed(found: Sequence[Effect]) -> str:
    """Write effects that share `ours` as one sentence: "A minus B: +1.2 AP […]; minus C: …"."""
    first, *rest = found
    return _capital("; ".join([first.text, *(f"minus {each.other}: {each.ap}" for each in rest)])) + "."


# --- 1: the width factor ---------------------------------------------------------------------------------------------


def _width_factor(runs: Mapping[str, Runs]) -> Findings | None:
    if (run := runs.get("width_factor-seeds")) is None:
        return None
    frontier = compute_frontier(run)
    table = grid_values.grid_table(frontier, "width_factor")
    chances = grid_values.by_value(grid_values.best_values(frontier, table))
    means = _means_over_phi(frontier, table)
    if PAPERS_FACTOR not in chances or min(map(len, means.values())) < 2:
        return None
    ends = (min(chances), max(chances))
    found = [
        effects.effect(f"{PAPERS_FACTOR}", f"{value:g}", means[PAPERS_FACTOR], means[value])
        for value in ends
        if value != PAPERS_FACTOR
    ]
    costs = table.groupby("value")["gmacs"].mean()
    relative = [f"{value:g} has {costs[value] / costs[PAPERS_FACTOR]:.2f}" for value in ends]
    # Of one architecture, since APs at different phi differ anyway.
    widest = [
        effects.effect(each.ours, each.other, _widest(table, each.ours), _widest(table, each.other)) for each in found
    ]
    return Findings(
        short=_one_line(found, min(found, key=lambda each: each.result.p)),
        text=_joined(
            effects.significance(found),
            _listed(found),
            f"Relative multiply-adds: {listed(relative)} times those of {PAPERS_FACTOR}.",
        ),
        details=_joined(
            _best_factor(frontier, chances),
            effects.wide_seeds(widest),
        ),
    )


def _means_over_phi(frontier: Frontier, table: pd.DataFrame) -> dict[float, list[float]]:
    """Return each factor's mean APs over phi, one for every seed with a trial at each phi."""
    seeds = frontier.trials.groupby(["param_width_factor", "seed"])["ap"].agg(["mean", "count"])
    whole = seeds.loc[seeds["count"] == table["scale"].nunique(), "mean"]
    factors = sorted(set(table["value"].astype(float)))
    return {value: whole[whole.index.get_level_values(0) == value].tolist() for value in factors}


def _widest(table: pd.DataFrame, factor: str) -> list[float]:
    """Return the APs of the factor's architecture with the widest range over seeds."""
    return max(table.loc[table["value"] == float(factor), "aps"], key=lambda aps: max(aps) - min(aps))


def _best_factor(frontier: Frontier, chances: Mapping[float, float]) -> str:
    without = grid_values.chances_without_far_below(frontier, "width_factor")
    outliers = plural(int(frontier.far_below[1].sum()), "outlier")
    rest = f" ({100 * without[PAPERS_FACTOR]:.0f} % without {outliers})" if without else ""
    likeliest = listed([f"{value:g}" for value in grid_values.likeliest(chances)])
    return (
        f"Posterior probability that {PAPERS_FACTOR} has the highest mean AP: {100 * chances[PAPERS_FACTOR]:.0f} %{rest}. "
        f"Factors that together have at least 95 %: {likeliest}."
    )


# --- 2: feature networks -----------------------------------------------------------------------------------------------


def _feature_networks(runs: Mapping[str, Runs]) -> Findings | None:
    if "topology_ablation-seeds" not in runs:
        return None
    names = {"topology_ablation-seeds": "at the paper's repeats", "topology_ablation-matched": "at equal multiply-adds"}
    found = [(where, runs[name], compute_frontier(runs[name])) for name, where in names.items() if name in runs]
    bests = {where: effects.best_of(frontier) for where, _, frontier in found}
    best = next(iter(bests.values()))
    above = ", ".join(f"{each.above} of {each.others} {where}" for where, each in bests.items())
    against_panet, details = [], []
    for where, run, frontier in found:
        panet, *others = effects.effects_of(frontier, "network", "bifpn", ("panet", "repeated_fpn", "none"))
        against_panet.append(f"{panet.ap} {where}")
        wide = effects.wide_seeds([panet, *others])
        details += [f"{_capital(where)}:", _listed(others), _agreement(run, frontier), wide]
    return Findings(
        short=f"Highest mean AP: {best.label}, {best.ap}; "
        + (
            f"significantly above {best.above} of {best.others}"
            if best.above
            else "not significant after Holm correction"
        ),
        text=_joined(
            *(f"{each.label} has the highest mean AP {where}: {each.ap}." for where, each in bests.items()),
            f"Networks significantly below it after Holm correction for all pairs: {above}.",
            f"BiFPN minus PANet: {'; '.join(against_panet)}.",
        ),
        details=_joined(*details),
    )


def _agreement(run: Runs, frontier: Frontier) -> str:
    """Return Kendall's tau-b with the paper's ranking, its credible interval and the exact p."""
    baseline, _ = find_baseline(run, frontier)
    table = paper_order.published_table(frontier, baseline, run.specs())
    tau, drawn = paper_order.agreement_with_paper(frontier, table)
    p = ranks.permutation_p(table["ap_mean"].tolist(), table["ap_val"].tolist())
    return (
        f"Rank agreement with the paper's {len(table)} networks: tau-b {number(tau, 2)} (95 % credible interval "
        f"{number(drawn.low, 2)} to {number(drawn.high, 2)}, exact p = {p_value(p)})."
    )


# --- 3: fusion -----------------------------------------------------------------------------------------------------------


def _fusion(runs: Mapping[str, Runs]) -> Findings | None:
    if (run := runs.get("fusion-seeds")) is None:
        return None
    found = effects.effects_of(compute_frontier(run), "fusion", "fast", ("softmax", "sum", "unbounded"))
    return Findings(
        short=_one_line(found, found[0]),
        text=_joined(effects.significance(found), _listed(found)),
        details=_joined(_fusion_speed(run.path.parent / SPEEDS), effects.wide_seeds(found)),
    )


def _fusion_speed(path: Path) -> str:
    """Return the ratio of softmax's to fast fusion's time from benchmarks/fusion_speed.py; "" without its file."""
    if not path.is_file():
        return ""
    table = pd.read_csv(path)
    # At inference weights are constants, so both have the same graph.
    softmax = records(table[(table["fusion"] == "softmax") & ~table["what"].str.contains("inference")])
    times = [f"{row['what']} {row['ratio']:.2f} [{row['ratio_low']:.2f}, {row['ratio_high']:.2f}]" for row in softmax]
    first = softmax[0]
    where = f"{first['model']}, batch {first['batch']}, {first['device']}, {plural(int(first['threads']), 'thread')}"
    return f"Time of softmax relative to fast fusion ({where}): {'; '.join(times)}."


# --- 4: backbone and feature network -----------------------------------------------------------------------------------


def _backbone(runs: Mapping[str, Runs]) -> Findings | None:
    if (run := runs.get("backbone_and_network-seeds")) is None:
        return None
    frontier = compute_frontier(run)
    backbones = [
        effects.effects_of(frontier, "backbone", "resnet18", ("resnet10t",), network=network)[0]
        for network in ("fpn", "bifpn")
    ]
    networks = [
        effects.effects_of(frontier, "network", "bifpn", ("fpn",), backbone=backbone)[0]
        for backbone in ("resnet10t", "resnet18")
    ]
    found = [*backbones, *networks]
    p = effects.corrected(found)
    return Findings(
        short=f"Larger backbone: {backbones[1].ap}, {effects.verdict(p[1])}; "
        f"BiFPN: {networks[1].ap}, {effects.verdict(p[3])}",
        text=_joined(
            effects.significance(found),
            f"{backbones[0].text} with FPN, {backbones[1].ap} with BiFPN.",
            f"{networks[0].text} with ResNet-10-T, {networks[1].ap} with ResNet-18.",
        ),
        details=effects.wide_seeds(found),
    )


# --- 5: compound scaling -------------------------------------------------------------------------------------------------


def _scaling(runs: Mapping[str, Runs]) -> Findings | None:
    if (run := runs.get("compound_scaling-seeds")) is None:
        return None
    frontier = compute_frontier(run)
    top = float(frontier.trials["param_times_gmacs"].max())
    others = [str(name) for name in sorted(frontier.trials["param_dimension"].unique()) if name != "compound"]
    found = effects.effects_of(frontier, "dimension", "compound", others, times_gmacs=top)
    found.sort(key=lambda each: each.result.difference)
    strongest = found[0]  # the single dimension with the highest mean AP
    start = effects.aps_at(frontier, {"times_gmacs": 1.0}, needed=False)
    return Findings(
        short=_one_line(found, strongest),
        text=_joined(
            f"At {top:g} times the start's multiply-adds, compound scaling is {_better(found, strongest)} {strongest.other} "
            "alone, the best single dimension.",
            _listed(found),
            effects.significance(found),
            effects.below_start(found, start),
        ),
        details=_joined(_predicted(frontier), effects.wide_seeds(found)),
    )


def _better(found: Sequence[Effect], chosen: Effect) -> str:
    if not effects.is_significant(_corrected_p(found, chosen)):
        return "not significantly different from"
    return f"significantly {'better' if chosen.result.difference > 0 else 'worse'} than"


def _predicted(frontier: Frontier) -> str:
    """Return the largest compound model's AP and its prediction by a law fitted to the others."""
    points = scaling_points.family_points(frontier, "dimension")
    points = points[points["family"] == "compound"].sort_values("gmacs")
    fitted, largest = points.iloc[:-1], points.iloc[-1]
    if len(fitted) < LEAST:
        return f"A scaling law needs {LEAST} smaller models, and there are {len(fitted)}."
    costs, values, seeds = (fitted[name].tolist() for name in ("gmacs", "ap_mean", "n"))
    at = [float(largest["gmacs"])]
    pooled = (frontier.sd, frontier.degrees)
    low, high = band(costs, values, at, seeds=seeds, pooled=pooled, training_runs=int(largest["n"]))[:, 0]
    predicted = float(fit_law(costs, values, seeds)(at)[0])
    return (
        f"A scaling law fitted to the {len(fitted)} smaller compound models predicts {predicted:.1f} AP "
        f"{interval(low, high)} for the largest, which has {float(largest['ap_mean']):.1f} AP."
    )


# --- 6: search -----------------------------------------------------------------------------------------------------------


def _search(runs: Mapping[str, Runs]) -> Findings | None:
    if (run := runs.get("topology_search-seeds")) is None:
        return None
    frontier = compute_frontier(run)
    fresh = frontier.fresh
    table = shrinkage.shrinkage(fresh, frontier)
    baseline, _ = find_baseline(run, fresh)
    chosen = table[table["architecture"] != baseline]
    if baseline is None or chosen.empty:
        return None
    digests = [str(digest) for digest in chosen["architecture"]]
    found = [
        effects.effect(f"finalist {place}", "BiFPN", fresh.aps[digest], fresh.aps[baseline])
        for place, digest in enumerate(digests, start=1)
    ]
    p = effects.corrected(found)
    better = sum(
        map(effects.is_significant, (value for value, each in zip(p, found, strict=True) if each.result.difference > 0))
    )
    before, after = float(chosen["ap_search"].mean()), float(chosen["ap_mean"].mean())
    return Findings(
        short=f"Best finalist minus BiFPN: {found[0].ap}, {effects.verdict(p[0])}",
        text=_joined(
            f"{better} of {plural(len(found), 'other finalist')} {'is' if len(found) == 1 else 'are'} significantly better "
            "than BiFPN (Holm-corrected).",
            *(f"{_capital(each.text)}." for each in found),
        ),
        details=_joined(
            f"Mean AP of the {plural(len(chosen), 'finalist')} besides BiFPN: {before:.1f} in the search that selected "
            f"them, {after:.1f} with fresh seeds.",
            likeness_of(run, digests),
            effects.wide_seeds(found),
        ),
    )


# --- 7: proxies ----------------------------------------------------------------------------------------------------------


def _proxies(runs: Mapping[str, Runs]) -> Findings | None:
    full = runs.get("topology_ablation-seeds")
    proxies = [run for run in runs.values() if run is not full]
    if full is None or not proxies:
        return None
    judged = [proxy_judgement.compute_proxy(run, full) for run in proxies]
    taus = {
        protocol(run): found.judged["proxy_ap_mean"].tau
        for run, found in zip(proxies, judged, strict=True)
        if found.judged
    }
    if not taus:
        return None
    best = max(taus, key=lambda name: taus[name].value)
    frontier = judged[0].full
    pairs = [
        _pairs(protocol(run), each)
        for run, each in [*zip(proxies, (found.proxy for found in judged), strict=True), (full, frontier)]
    ]
    others = [f"{name} {proxy_words.ranked(tau)}" for name, tau in taus.items() if name != best]
    return Findings(
        short=f"Best proxy, {best}: tau-b {proxy_words.ranked(taus[best])}",
        text=_joined(
            f"The best proxy, {best}, has tau-b {proxy_words.ranked(taus[best])} with the full protocol ({protocol(full)}).",
            f"Other proxies: {'; '.join(others)}." if others else "",
            f"Intervals: jackknife over {len(frontier.architectures)} networks.",
        ),
        details=_joined(*pairs, *_reference_taus(judged[0]), _seeds_needed(frontier)),
    )


def _pairs(name: str, frontier: Frontier) -> str:
    significant, pairs = effects.significant_pairs(frontier)
    seconds = float(frontier.trials["seconds"].mean())
    return (
        f"{_capital(name)}: {significant} of {plural(pairs, 'pair')} of networks differ significantly "
        f"({seconds:.0f} s a training run, seed SD {frontier.sd:.1f} AP)."
    )


def _reference_taus(found: proxy_judgement.Proxy) -> list[str]:
    if not found.judged:
        return []
    size = proxy_words.ranked(found.judged["params_m"].tau)
    return [
        f"Two repeats of the full protocol would agree by tau-b {number(found.ceilings.full, 1)}.",
        f"Ranking by parameters alone has tau-b {size}.",
    ]


def _seeds_needed(frontier: Frontier) -> str:
    needed = power.seeds_needed(EXAMPLE_DIFFERENCE, frontier.sd) or "over 1,000"
    return (
        f"With the full protocol, detecting {EXAMPLE_DIFFERENCE:g} AP in one uncorrected comparison takes about {needed} "
        "seeds a side (80 % power)."
    )


_ANSWERS: dict[int, Callable[[Mapping[str, Runs]], Findings | None]] = {
    1: _width_factor,
    2: _feature_networks,
    3: _fusion,
    4: _backbone,
    5: _scaling,
    6: _search,
    7: _proxies,
}
