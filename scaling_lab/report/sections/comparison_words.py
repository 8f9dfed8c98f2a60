"""A comparison of runs as sentences: what can and cannot be concluded from several of them. It computes no statistic."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from scaling_lab.report.analysis.comparison import Comparison, Side
from scaling_lab.report.analysis.repeats import offsets, same_seeds
from scaling_lab.report.sections import words
from scaling_lab.report.tables import records
from scaling_lab.runs.reader import ENDED
from scaling_lab.stats import power
from scaling_lab.text import interval, listed, plural, signed, signed_interval, significant

Bullet = tuple[str, str]


def refusals(comparison: Comparison) -> list[str]:
    """Name each run that is left out, with the reason."""
    first = comparison.sides[0].name
    return [
        f"{each.name} is not compared, and none of its numbers is shown: against {first} it has {'; '.join(each.reasons)}."
        for each in comparison.refused
    ]


def no_claim(comparison: Comparison) -> str:
    """Say that runs without repeated seeds show no difference between fronts; nothing where all have some."""
    single = [side.name for side in comparison.sides if not side.is_repeated and len(side.frontier.architectures)]
    if not single:
        return ""
    return (
        f"Whether one front is higher than another cannot be said of {listed(single)}: one seed for each "
        "architecture gives no measure of how far apart two trainings of one architecture lie. More seeds can tell."
    )


def conclusions(comparison: Comparison) -> tuple[Bullet, ...]:
    """Say what is compared, what came out and how far it can be believed."""
    found = [("What is compared.", "; ".join(_side(side) for side in comparison.sides) + ".")]
    filled = [side for side in comparison.sides if len(side.frontier.architectures)]
    if not filled:
        return (*found, ("Nothing to compare yet.", "No run has a complete trial, so there is no AP."))
    empty = [side.name for side in comparison.sides if side not in filled]
    if empty:
        text = f"{listed(empty)} {'has' if len(empty) == 1 else 'have'} no complete trial."
        found.append(("Without results.", text))
    found += [_best(filled), *_fresh(filled), *_fronts(comparison)]
    found += _same_architectures(comparison)
    found += [*_copies(comparison), *_budgets(filled), *_samplers(filled)]
    return (*found, _reach())


def _side(side: Side) -> str:
    table, trials = side.frontier.architectures, side.trials
    sampler = f"sampler {side.runs.meta['sampler']}, " if side.runs.meta.get("sampler") else ""
    text = f"{side.name} ({sampler}{words.states(trials) if len(trials) else 'no trials yet'}"
    if len(table):
        text += f", {plural(len(table), 'architecture')}, {words.seeds_each(table)}"
    if len(side.frontier.excluded):
        text += f", {plural(len(side.frontier.excluded), 'complete trial')} of another protocol left out"
    return text + ")"


def _best(filled: list[Side]) -> Bullet:
    found = []
    for side in filled:
        best = side.frontier.architectures.iloc[0]
        spread = f" {interval(best['ap_low'], best['ap_high'])}" if best["n"] > 1 else " (1 seed)"
        cost = significant(best["gmacs"])
        found.append(f"{side.name}: {best['label']}, AP {best['ap_mean']:.1f}{spread} at {cost} GMACs")
    return "Highest AP.", "; ".join(found) + ". What was chosen for being highest is high in part by luck."


def _fresh(filled: list[Side]) -> list[Bullet]:
    found = []
    for side in filled:
        if len(side.frontier.fresh.architectures):
            best = side.frontier.fresh.architectures.iloc[0]
            seeds = plural(int(best["n"]), "fresh seed")
            spread = f" {interval(best['ap_low'], best['ap_high'])}" if best["n"] > 1 else ""
            found.append(f"{side.name}: {best['label']}, AP {best['ap_mean']:.1f}{spread} over {seeds}")
    return [("By fresh seeds alone.", "; ".join(found) + ".")] if found else []


# --- the fronts ------------------------------------------------------------------------------------------------------


def _fronts(comparison: Comparison) -> list[Bullet]:
    table = comparison.volume_differences
    if table.empty:
        return []
    return [("The fronts.", " ".join(volume_difference(row) for row in records(table)))]


def volume_difference(row: dict[str, Any]) -> str:
    """Say how two fronts differ, where both have architectures and in all that they dominate, and what of it is claimed."""
    first, other = row["first"], row["other"]
    found = []
    if not math.isnan(row["lead_value"]):
        claimed = row["lead_verdict"] != "no claim"
        value = row["lead_median"] if claimed else row["lead_value"]
        text = f"From {significant(row['cheapest'])} GMACs on, where both have architectures, the front of {first} is "
        amount = f"{abs(value):.1f} AP {'higher' if value > 0 else 'lower'} on average than"
        text += f"{'on average as high as' if _is_nothing(value) else amount} that of {other}"
        text += f" {signed_interval(row['lead_low'], row['lead_high'])}" if claimed else ""
        told_below = row["lead_verdict"] == row["verdict"] == "no claim"
        found.append(f"{text}." if told_below else f"{text}: {_claim(row['lead_verdict'])}.")
    claimed = row["verdict"] != "no claim"
    value = row["median"] if claimed else row["value"]
    amount = "as much" if _is_nothing(value) else f"{abs(value):.1f} {'more' if value > 0 else 'less'}"
    text = f"In all, the front of {first} dominates {amount} (AP times halvings of cost)"
    text += f" {signed_interval(row['low'], row['high'])}" if claimed else ""
    found.append(f"{text}, with the costs that one run alone reaches: {_claim(row['verdict'])}.")
    return " ".join(found)


def _is_nothing(value: float) -> bool:
    return f"{abs(value):.1f}" == "0.0"


def _claim(verdict: str) -> str:
    return {
        "no claim": "single trainings, no claim that it would be so again",
        "distinguishable": "more than the seeds leave to chance",
    }.get(verdict, "not distinguishable")


# --- the same architectures ------------------------------------------------------------------------------------------


def _same_architectures(comparison: Comparison) -> list[Bullet]:
    table = comparison.repeats
    if table.empty:
        return (
            [("Same architectures.", "No architecture was trained in two of the runs.")] if _several(comparison) else []
        )
    return [
        (
            "Same architectures.",
            " ".join([agreement(table), *same_seed_sentences(comparison), *offset_sentences(table)]),
        )
    ]


def _several(comparison: Comparison) -> bool:
    return sum(len(side.frontier.architectures) > 0 for side in comparison.sides) > 1


def agreement(table: pd.DataFrame) -> str:
    """Say how many architectures two runs agree on; `table` is that of `repeats`."""
    counts = table["verdict"].value_counts()
    several = len(table.drop_duplicates(["first", "other"])) > 1
    text = f"{plural(table['architecture'].nunique(), 'architecture')} {_were(table)} trained in more than one run"
    text += f" ({plural(len(table), 'pair')} of runs and architecture)." if several else "."
    tested = table[table["p"].notna()]
    if len(tested):
        apart = tested.loc[tested["verdict"] == "distinguishable", "label"]
        names = listed(list(dict.fromkeys(apart)))
        text += f" Of {plural(len(tested), 'difference')} that can be tested "
        text += f"{len(apart)} can be told from chance: {names}" if len(apart) else "none can be told from chance"
        text += " (Welch's t-test at 5 %, Holm's correction)."
    unclear = int(counts.get("no claim", 0))
    if unclear:
        text += f" {plural(unclear, 'difference')} with one seed on a side: no claim."
    return text


def _were(table: pd.DataFrame) -> str:
    return "was" if table["architecture"].nunique() == 1 else "were"


def detectable(comparison: Comparison, table: pd.DataFrame) -> str:
    """Say how large a difference would have shown; nothing where none is tested."""
    tested = table[table["p"].notna()]
    sd, degrees = comparison.pooled
    if tested.empty or degrees < 1:
        return ""
    first, other = int(tested["n_first"].median()), int(tested["n_other"].median())
    least = power.smallest_detectable(sd, first, other)
    seeds = plural(first, "seed") + (f" and {other}" if other != first else " a side")
    return (
        f"Not distinguishable is not equal: with {seeds} a difference below {least:.1f} AP cannot be relied on to show "
        "(80 % power, 5 %, two-sided, before correction)."
    )


def same_seed_sentences(comparison: Comparison) -> list[str]:
    """Say whether the same seed gave the same AP."""
    found = []
    for row in records(same_seeds(comparison.trials)):
        count, identical = int(row["trainings"]), int(row["identical"])
        text = f"{plural(count, 'training')} of the same architecture and seed {'is' if count == 1 else 'are'} in "
        text += f"{row['first']} and in {row['other']}: "
        if identical == count:
            text += "the APs are equal to the last digit, so they are the same trainings and no independent repeats."
        else:
            text += f"{identical} with the same AP, the others " if identical else "none with the same AP, "
            text += f"up to {row['largest']:.1f} AP apart."
        found.append(text)
    return found


def offset_sentences(table: pd.DataFrame) -> list[str]:
    """Say whether one run lies above another over all architectures of both."""
    found = []
    for row in records(offsets(table)):
        over = plural(int(row["architectures"]), "architecture")
        text = f"Over {over} of both, {row['first']} has {signed(row['mean'])} AP against {row['other']}"
        text += f" {signed_interval(row['low'], row['high'])}"
        if row["verdict"] == "distinguishable":
            text += ": something beside the architecture differs, be it the seeds, the device, a library or the code."
        else:
            text += ": no shift that is more than chance."
        found.append(text)
    return found


# --- how far it carries ----------------------------------------------------------------------------------------------


def _copies(comparison: Comparison) -> list[Bullet]:
    if not comparison.copies:
        return []
    text = (
        f"{plural(comparison.copies, 'trial')} of a later run started and ended when the same trial of an earlier one "
        "did: copied, not trained again. They stand in both fronts and count once wherever trainings are compared."
    )
    return [("Copies.", text)]


def _budgets(filled: list[Side]) -> list[Bullet]:
    """Say that the runs differ in how much was tried, where they do."""
    tried = {}
    for side in filled:
        trials = side.trials
        ended = trials[(trials["role"] == "search") & trials["state"].isin(ENDED)]
        tried[side.name] = (len(ended), int(ended["epochs_done"].sum()))
    if len(set(tried.values())) < 2:
        return []
    each = [
        f"{name} {plural(trials, 'trial')}, {plural(epochs, 'epoch')} in all"
        for name, (trials, epochs) in tried.items()
    ]
    text = f"{listed(each)}. Who tries more finds more: compare the fronts with that in mind, and the progress."
    return [("Budgets differ.", text)]


def _samplers(filled: list[Side]) -> list[Bullet]:
    """Say what searches of one study by several samplers do not show."""
    samplers = [side.runs.meta.get("sampler") for side in filled]
    spaces = {str(side.runs.meta.get("space")) for side in filled}
    if len(set(samplers)) < 2 or None in samplers or len(spaces) > 1:
        return []
    text = (
        f"These are the fronts that one search each found ({listed([str(each) for each in samplers])}). Which sampler "
        "is better cannot be told from one search of each: that takes several, with different seeds of the sampler."
    )
    return [("Samplers.", text)]


def _reach() -> Bullet:
    text = (
        "AP is COCO AP (0–100) on the same held-out images in all runs; the same images chose what is called best here."
    )
    return "How far it carries.", text


def probability(value: float) -> str:
    """Write a probability in words' precision; a dash where there is none."""
    if math.isnan(value):
        return "–"
    return "> 0.99" if value > 0.995 else "< 0.01" if value < 0.005 else f"{value:.2f}"
