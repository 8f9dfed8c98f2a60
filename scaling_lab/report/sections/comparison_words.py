"""The conclusions of a comparison of runs, in sentences."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from scaling_lab.report.analysis.comparison import Comparison, Side
from scaling_lab.report.analysis.repeats import offsets, same_seeds
from scaling_lab.report.sections import conclusion_words
from scaling_lab.report.tables import records
from scaling_lab.runs.reader import ENDED
from scaling_lab.stats import power
from scaling_lab.text import listed, plural, signed, signed_interval, significant

Bullet = tuple[str, str]


def answer(comparison: Comparison) -> str:
    """Answer in one sentence which front is higher, by how much, and whether that is significant."""
    filled = [side for side in comparison.sides if len(side.frontier.architectures)]
    if not filled:
        return "No run has a complete trial, so there is no AP to compare."
    differences = records(comparison.volume_differences)
    if not differences:
        best = filled[0].frontier.architectures.iloc[0]
        ap = f"AP {best['ap_mean']:.1f} ({conclusion_words.evidence(best)})"
        return f"Only {filled[0].name} can be shown: {best['label']} has {ap}."
    if len(filled) == 2:
        lead, text = volume_difference(differences[0])[0]
        return f"{lead} {text}"
    volumes = comparison.volumes.sort_values("value", ascending=False, kind="stable")
    best, count = volumes.iloc[0], sum(row["verdict"] == "significant" for row in differences)
    return (
        f"{best['run']} has the largest of {len(volumes)} hypervolumes, {best['value']:.1f}; "
        f"{count or 'none'} of {plural(len(differences), 'difference')} to {differences[0]['first']} "
        f"{'is' if count < 2 else 'are'} significant."
    )


def refusals(comparison: Comparison) -> list[str]:
    """List the runs that are not compared, with reasons."""
    first = comparison.sides[0].name
    return [f"{each.name} is not compared with {first}: {'; '.join(each.reasons)}." for each in comparison.refused]


def limits(comparison: Comparison) -> tuple[Bullet, ...]:
    """List what limits the answer: seeds, runs without results, copies, budgets and samplers."""
    filled = [side for side in comparison.sides if len(side.frontier.architectures)]
    found = []
    empty = [side.name for side in comparison.sides if side not in filled]
    if empty:
        found.append(("No complete trial:", f"{listed(empty)}."))
    single = [side.name for side in filled if not side.is_repeated]
    if single:
        found.append(("One seed each:", f"{listed(single)}; differences between fronts cannot be tested."))
    found += [*_copies(comparison), *_budgets(filled), *_samplers(filled)]
    found.append(("Selection:", "the highest of many means is biased high."))
    return (*found, ("Data:", "all runs use the same held-out images, which also select the best architecture."))


def best_of_each(comparison: Comparison) -> tuple[Bullet, ...]:
    """Return each run's best architecture, also by fresh seeds if it has some, and how the fronts differ."""
    found = []
    for side in comparison.sides:
        for frontier, how in ((side.frontier, ""), (side.frontier.fresh, " (fresh seeds)")):
            if len(frontier.architectures):
                best = frontier.architectures.iloc[0]
                ap, cost = f"AP {best['ap_mean']:.1f} ({conclusion_words.evidence(best)})", significant(best["gmacs"])
                text = f"{best['label']}, {ap} at {cost} GMACs."
                found.append((f"Highest AP in {side.name}{how}:", text))
    return (*found, *(bullet for row in records(comparison.volume_differences) for bullet in volume_difference(row)))


# --- the fronts ------------------------------------------------------------------------------------------------------


def volume_difference(row: dict[str, Any]) -> tuple[Bullet, ...]:
    """Return how two fronts differ, over common costs and in hypervolume, and whether that is significant."""
    first, other, found = row["first"], row["other"], []
    if not math.isnan(row["lead_value"]):
        text = _amount(row, "lead_", "AP on average above", "AP on average below", "on average as high as")
        found.append((f"The front of {first} is", f"{text} that of {other}{_claim(row, 'lead_')}."))
    text = _amount(row, "", "more than", "less than", "as much as")
    found.append((f"Hypervolume: the front of {first} dominates", f"{text} that of {other}{_claim(row, '')}."))
    return tuple(found)


def _amount(row: dict[str, Any], prefix: str, above: str, below: str, equal: str) -> str:
    claimed = row[f"{prefix}verdict"] != "not tested"
    value = row[f"{prefix}median"] if claimed else row[f"{prefix}value"]
    return equal if _is_nothing(value) else f"{abs(value):.1f} {above if value > 0 else below}"


def _claim(row: dict[str, Any], prefix: str) -> str:
    if row[f"{prefix}verdict"] == "not tested":
        return "; with one seed each this cannot be tested"
    return f", {row[f'{prefix}verdict']} (95 % CI {signed(row[f'{prefix}low'])} to {signed(row[f'{prefix}high'])})"


def _is_nothing(value: float) -> bool:
    return f"{abs(value):.1f}" == "0.0"


# --- the same architectures ------------------------------------------------------------------------------------------


def agreement(table: pd.DataFrame) -> str:
    """Return how many architectures differ between runs, from the table of `repeats`."""
    text = f"{plural(table['architecture'].nunique(), 'architecture')} in more than one run"
    tested = table[table["p"].notna()]
    if len(tested):
        apart = tested.loc[tested["verdict"] == "significant", "label"]
        names = f" ({listed(list(dict.fromkeys(apart)), most=3)})" if len(apart) else ""
        text += f"; {len(apart)} of {plural(len(tested), 'difference')} significant{names}, Welch, Holm-corrected"
    unclear = int((table["verdict"] == "not tested").sum())
    return f"{text}{f'; {unclear} with one seed on a side not tested' if unclear else ''}."


def detectable(comparison: Comparison, table: pd.DataFrame) -> str:
    """Return the smallest detectable difference as a sentence; "" if none is tested."""
    tested = table[table["p"].notna()]
    sd, degrees = comparison.pooled
    if tested.empty or degrees < 1:
        return ""
    first, other = int(tested["n_first"].median()), int(tested["n_other"].median())
    least = power.smallest_detectable(sd, first, other)
    seeds = plural(first, "seed") + (f" and {other}" if other != first else " a side")
    return f"Smallest detectable difference: {least:.1f} AP with {seeds} (80 % power, 5 %, before correction)."


def same_seed_sentences(comparison: Comparison) -> list[str]:
    """Return sentences on whether equal seeds have equal APs."""
    found = []
    for row in records(same_seeds(comparison.trials)):
        count, identical = int(row["training_runs"]), int(row["identical"])
        text = f"{plural(count, 'training run')} with the same architecture and seed in {row['first']} and {row['other']}: "
        if identical == count:
            text += "equal APs, so they are not independent repeats."
        else:
            text += f"{identical} with equal AP, the others up to {row['largest']:.1f} AP apart."
        found.append(text)
    return found


def offset_sentences(table: pd.DataFrame) -> list[str]:
    """Return sentences on whether one run's APs are higher over all shared architectures."""
    found = []
    for row in records(offsets(table)):
        shift = f"{signed(row['mean'])} AP {signed_interval(row['low'], row['high'])}"
        text = (
            f"{row['first']} minus {row['other']} over {plural(int(row['architectures']), 'architecture')}: {shift}, "
        )
        if row["verdict"] == "significant":
            text += "significant: seeds, device, library or code differ."
        else:
            text += "not significant."
        found.append(text)
    return found


# --- limits ----------------------------------------------------------------------------------------------------------


def _copies(comparison: Comparison) -> list[Bullet]:
    if not comparison.copies:
        return []
    return [
        (
            "Copies:",
            f"{plural(comparison.copies, 'trial')} of a later run are copied from an earlier one; they count once.",
        )
    ]


def _budgets(filled: list[Side]) -> list[Bullet]:
    """Warn of runs with different numbers of trials or epochs."""
    tried = {}
    for side in filled:
        trials = side.trials
        ended = trials[(trials["role"] == "search") & trials["state"].isin(ENDED)]
        tried[side.name] = (len(ended), int(ended["epochs_done"].sum()))
    if len(set(tried.values())) < 2:
        return []
    each = [f"{name} {plural(trials, 'trial')}, {epochs:,} epochs" for name, (trials, epochs) in tried.items()]
    return [("Budgets differ:", f"{listed(each, most=3)}.")]


def _samplers(filled: list[Side]) -> list[Bullet]:
    """Warn that one search of each sampler does not show which is better."""
    samplers = [side.runs.meta.get("sampler") for side in filled]
    spaces = {str(side.runs.meta.get("space")) for side in filled}
    if len(set(samplers)) < 2 or None in samplers or len(spaces) > 1:
        return []
    return [("Samplers:", "one search of each; several, with different sampler seeds, would show which is better.")]


def probability(value: float) -> str:
    """Format a probability; a dash if missing."""
    if math.isnan(value):
        return "–"
    return "> 0.99" if value > 0.995 else "< 0.01" if value < 0.005 else f"{value:.2f}"
