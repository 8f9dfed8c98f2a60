"""What kept runs answer to the paper's questions: a sentence with intervals, what else is to know, and the conditions.

Differences have Welch's 95 % intervals of two means over seeds, uncorrected.
"Told apart" is at 5 %, by Welch's test, corrected by Holm for all pairs (for all finalists against the baseline in question 6).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pandas as pd

from scaling_lab.report import ablation, beside_paper, finalists, grid, proxy, proxy_words, scaling, words
from scaling_lab.report.baseline import find_baseline
from scaling_lab.report.frontier import Frontier, compute_frontier
from scaling_lab.report.tables import records
from scaling_lab.results import differences
from scaling_lab.results.kept import conditions
from scaling_lab.results.likeness import likeness_of
from scaling_lab.runs import Runs
from scaling_lab.stats import power, ranks
from scaling_lab.stats.scaling_law import LEAST, band, fit_law

PAPERS_FACTOR = 1.35
WORTH_TELLING = 5.0  # AP: a difference whose cost in seeds question 7 is told
SPEEDS = "fusion_speed.csv"  # of benchmarks/fusion_speed.py, beside the kept runs


Said = tuple[str, str]  # the sentence, and the details


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A question's answer in a sentence, what more was found, and the conditions that the numbers were measured under."""

    text: str
    details: str
    conditions: str


def answer(number: int, runs: Mapping[str, Runs]) -> Answer | None:
    """Answer a question by its number from its kept runs, by their names.

    None where the first of them is not kept, or has one seed of each: that supports no answer.
    """
    found = {name: each for name, each in runs.items() if _is_repeated(compute_frontier(each))}
    if (said := _ANSWERS[number](found)) is None:
        return None
    text, details = said
    return Answer(text=text, details=details, conditions=conditions_in_words(list(found.values())))


def _is_repeated(frontier: Frontier) -> bool:
    return frontier.degrees > 0 or (not frontier.finalists.empty and frontier.fresh.degrees > 0)


def conditions_in_words(runs: Sequence[Runs]) -> str:
    """Say what the numbers of several runs hold for, what they have in common once."""
    known = [conditions(each) for each in runs]
    parts = []
    for key, form in _CONDITIONS.items():
        values = dict.fromkeys(str(value) for each in known if (value := each[key]) is not None)
        parts += [form.format(" or ".join(values))] if values else []
    trainings = _trainings(runs)
    return f"{', '.join(parts)}, {words.plural(len(trainings), 'training')}{_spread_in_words(trainings)}"


def _trainings(runs: Sequence[Runs]) -> pd.DataFrame:
    """Give the complete trainings; one that two runs share, to the seed, gives the same numbers in both and is there once."""
    same = ["architecture", "role", "seed", "protocol", "epochs"]
    whole = pd.concat([run.table()[["state", *same, "ap"]] for run in runs])
    return whole[whole["state"] == "complete"].drop_duplicates(same)


def _spread_in_words(trainings: pd.DataFrame) -> str:
    """Say how far apart seeds of one architecture end: where some trainings never begin to learn, the most tells it."""
    groups = trainings.groupby(["architecture", "role", "protocol", "epochs"])["ap"]
    apart = (groups.max() - groups.min())[groups.count() > 1].tolist()
    if not apart:
        return ""
    return f"; AP over an architecture's seeds ranges over {median(apart):.0f} (median) to {max(apart):.0f} (most)"


_CONDITIONS = {
    "data": "{}",
    "images": "{} images",
    "held_out": "{} held out",
    "gmacs": "{} GMACs",
    "sizes": "{} px",
    "epochs": "{} epochs",
    "seeds": "seeds of each: {}",
    "fresh": "of finalists {}",
    "device": "{}",
}


# --- one question after the other ----------------------------------------------------------------------------------------


def _width_factor(runs: Mapping[str, Runs]) -> Said | None:
    if (run := runs.get("width_factor-seeds")) is None:
        return None
    frontier = compute_frontier(run)
    table = grid.grid_table(frontier, "width_factor")
    chances = grid.by_value(grid.best_values(frontier, table))
    if PAPERS_FACTOR not in chances:
        return None
    # The mean over phi of the seeds that have a training at each.
    seeds = frontier.trials.groupby(["param_width_factor", "seed"])["ap"].agg(["mean", "count"])
    whole = seeds.loc[seeds["count"] == table["scale"].nunique(), "mean"]
    means = {value: whole[whole.index.get_level_values(0) == value].tolist() for value in chances}
    if min(map(len, means.values())) < 2:
        return None
    costs = table.groupby("value")["gmacs"].mean()
    all_of = {value: [ap for aps in table.loc[table["value"] == value, "aps"] for ap in aps] for value in chances}
    ends = [
        f"{differences.in_words(means[PAPERS_FACTOR], means[value])} against {value:g} "
        f"({costs[value] / costs[PAPERS_FACTOR]:.2f} times the multiply-adds){differences.wide(all_of[value])}"
        for value in (min(chances), max(chances))
    ]
    far = words.plural(int(frontier.far_below[1].sum()), "training")
    without = grid.chances_without_far_below(frontier, "width_factor")
    rest = f" ({100 * without[PAPERS_FACTOR]:.0f} % without the {far} that ended far below)" if without else ""
    return (
        f"{PAPERS_FACTOR}{differences.wide(all_of[PAPERS_FACTOR])} has {' and '.join(ends)}",
        f"of draws of the mean APs that the seeds leave possible, {PAPERS_FACTOR} is the best in "
        f"{100 * chances[PAPERS_FACTOR]:.0f} %{rest}, and "
        f"{words.listed([f'{value:g}' for value in grid.likeliest(chances)])} together in at least 95 %",
    )


def _feature_networks(runs: Mapping[str, Runs]) -> Said | None:
    if "topology_ablation-seeds" not in runs:
        return None
    names = {"topology_ablation-seeds": "at the paper's repeats", "topology_ablation-matched": "at equal multiply-adds"}
    found = [(lead, runs[name], compute_frontier(runs[name])) for name, lead in names.items() if name in runs]
    panet = [f"{differences.against(each, 'network', 'bifpn', ('panet',))} {lead}" for lead, _, each in found]
    details: list[str] = []
    for lead, run, frontier in found:
        against = differences.against(frontier, "network", "bifpn", ("repeated_fpn", "none"))
        best = f" {differences.highest(frontier)};" if details else ""
        details.append(f"{lead}{best} BiFPN has {against}, and {_agreement(run, frontier)}")
    return f"{differences.highest(found[0][2])}. BiFPN has {words.listed(panet)}", "; ".join(details)


def _agreement(run: Runs, frontier: Frontier) -> str:
    """Give Kendall's tau-b with the paper's order, and its interval over what the seeds leave possible."""
    baseline, _ = find_baseline(run, frontier)
    table = beside_paper.published_table(frontier, baseline, run.specs())
    tau, drawn = beside_paper.agreement_with_paper(frontier, table)
    p = ranks.permutation_p(table["ap_mean"].tolist(), table["ap_val"].tolist())
    return (
        f"the order of the paper's {len(table)} agrees with its own by tau-b {words.number(tau, 2)} "
        f"([{words.number(drawn.low, 2)}, {words.number(drawn.high, 2)}] over draws of the means that the seeds leave possible; "
        f"of random orders {100 * p:.0f} % agree or disagree as strongly)"
    )


def _fusion(runs: Mapping[str, Runs]) -> Said | None:
    if (run := runs.get("fusion-seeds")) is None:
        return None
    frontier = compute_frontier(run)
    text = f"Fast fusion has {differences.against(frontier, 'fusion', 'fast', ('softmax', 'sum', 'unbounded'))}"
    return text, _fusion_speed(run.path.parent / SPEEDS)


def _fusion_speed(path: Path) -> str:
    """Say how long softmax takes of fast's time, by what benchmarks/fusion_speed.py measured; nothing without it."""
    if not path.is_file():
        return ""
    table = pd.read_csv(path)
    # At inference weights are constants: the same graph with both.
    softmax = records(table[(table["fusion"] == "softmax") & ~table["what"].str.contains("inference")])
    times = [f"{row['what']} {row['ratio']:.2f} [{row['ratio_low']:.2f}, {row['ratio_high']:.2f}]" for row in softmax]
    first = softmax[0]
    where = (
        f"{first['model']}, batch {first['batch']}, {first['device']}, {words.plural(int(first['threads']), 'thread')}"
    )
    return f"softmax's time over fast fusion's ({where}, benchmarks/fusion_speed.py): {'; '.join(times)}"


def _backbone(runs: Mapping[str, Runs]) -> Said | None:
    if (run := runs.get("backbone_and_network-seeds")) is None:
        return None
    frontier = compute_frontier(run)
    backbones, networks = ("resnet10t", "resnet18"), ("fpn", "bifpn")

    def step(ours: tuple[str, str], other: tuple[str, str], beside: str) -> str:
        points = [{"backbone": backbone, "network": network} for backbone, network in (ours, other)]
        return f"{differences.compared(frontier, *points)} with {differences.plain(beside)}"

    steps = [step((backbones[1], network), (backbones[0], network), network) for network in networks]
    more = [step((backbone, networks[1]), (backbone, networks[0]), backbone) for backbone in backbones]
    return f"ResNet-18 for ResNet-10-T gives {words.listed(steps)}; BiFPN for FPN {words.listed(more)}", ""


def _scaling(runs: Mapping[str, Runs]) -> Said | None:
    if (run := runs.get("compound_scaling-seeds")) is None:
        return None
    frontier = compute_frontier(run)
    top = float(frontier.trials["param_times_gmacs"].max())
    others = [str(name) for name in sorted(frontier.trials["param_dimension"].unique()) if name != "compound"]
    against = differences.against(frontier, "dimension", "compound", others, times_gmacs=top)
    unlearned = differences.below_start(frontier, "dimension", others, start={"times_gmacs": 1.0}, times_gmacs=top)
    text = f"At {top:g} times the start's multiply-adds compound scaling has {against}{unlearned}"
    return text, _predicted(frontier)


def _predicted(frontier: Frontier) -> str:
    """Predict the dearest compound model by a law fitted to the others, and say what it has."""
    points = scaling.family_points(frontier, "dimension")
    points = points[points["family"] == "compound"].sort_values("gmacs")
    fitted, dearest = points.iloc[:-1], points.iloc[-1]
    if len(fitted) < LEAST:
        return f"a law needs {LEAST} smaller models, and there are {len(fitted)}"
    costs, values, seeds = (fitted[name].tolist() for name in ("gmacs", "ap_mean", "n"))
    at = [float(dearest["gmacs"])]
    pooled = (frontier.sd, frontier.degrees)
    low, high = band(costs, values, at, seeds=seeds, pooled=pooled, trainings=int(dearest["n"]))[:, 0]
    predicted = float(fit_law(costs, values, seeds)(at)[0])
    return (
        f"a law fitted to the {len(fitted)} smaller models predicts {predicted:.1f} AP {words.interval(low, high)} for the "
        f"dearest, which has {float(dearest['ap_mean']):.1f}"
    )


def _search(runs: Mapping[str, Runs]) -> Said | None:
    if (run := runs.get("topology_search-seeds")) is None:
        return None
    frontier = compute_frontier(run)
    fresh = frontier.fresh
    table = finalists.shrinkage(fresh, frontier)
    baseline, _ = find_baseline(run, fresh)
    chosen = table[table["architecture"] != baseline]
    if baseline is None or chosen.empty:
        return None
    found = [
        f"{differences.in_ap(row['difference'], row['low'], row['high'])} ({row['verdict']})"
        for row in records(ablation.compare(fresh, baseline, run.specs()))
    ]
    means = float(chosen["ap_search"].mean()), float(chosen["ap_mean"].mean())
    return (
        f"With fresh seeds the {words.plural(len(chosen), 'other finalist')} have {words.listed(found)} against BiFPN",
        f"the search had given them {means[0]:.1f} AP on average, fresh seeds give {means[1]:.1f}; "
        f"{likeness_of(run, [str(digest) for digest in chosen['architecture']])}",
    )


def _proxies(runs: Mapping[str, Runs]) -> Said | None:
    dear = runs.get("topology_ablation-seeds")
    cheap = {name: run for name, run in runs.items() if run is not dear}
    if dear is None or not cheap:
        return None
    judged = [proxy.compute_proxy(run, dear) for run in cheap.values()]
    taus = [
        f"{proxy_words.ranked(found.judged['cheap_ap_mean'].tau) if found.judged else '–'} for {_protocol(run)}"
        for run, found in zip(cheap.values(), judged, strict=True)
    ]
    frontier = judged[0].dear
    protocols = [*zip(cheap.values(), (found.cheap for found in judged), strict=True), (dear, frontier)]
    details = [f"{_protocol(run)}, {_seconds(each)}: {differences.pairs_told_apart(each)}" for run, each in protocols]
    if judged[0].judged:
        size = proxy_words.ranked(judged[0].judged["params_m"].tau)
        repeat = words.number(judged[0].ceilings.dear, 1)
        details.append(
            f"a repeat of the dear protocol would reach tau-b {repeat}, ranking by parameters alone has {size}"
        )
    needed = power.seeds_needed(WORTH_TELLING, frontier.sd) or "over 1,000"
    details.append(
        f"one comparison, uncorrected, of {WORTH_TELLING:g} AP would take the dear one about {needed} seeds a side"
    )
    text = f"Tau-b with the order of the dear protocol ({_protocol(dear)}): {words.listed(taus)}"
    return f"{text}, with intervals over the {len(frontier.architectures)} networks", "; ".join(details)


def _protocol(run: Runs) -> str:
    known = conditions(run)
    return f"{known['epochs']} {'epoch' if known['epochs'] == '1' else 'epochs'} at {known['sizes']} px"


def _seconds(frontier: Frontier) -> str:
    return f"{float(frontier.trials['seconds'].mean()):.0f} s a trial"


_ANSWERS: dict[int, Callable[[Mapping[str, Runs]], Said | None]] = {
    1: _width_factor,
    2: _feature_networks,
    3: _fusion,
    4: _backbone,
    5: _scaling,
    6: _search,
    7: _proxies,
}
