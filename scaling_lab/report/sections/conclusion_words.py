"""A run's answer, its limits and further findings, in sentences."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from scaling_lab.report.analysis.best_networks import below_and_beside_best
from scaling_lab.report.analysis.frontier import SMALL_N, Frontier
from scaling_lab.report.figures.cost_marks import MOST_INTERVALS
from scaling_lab.report.tables import has_values
from scaling_lab.runs.reader import NO_KIND
from scaling_lab.stats import estimates, power
from scaling_lab.stats.posterior import SPARE, STRAIGHT
from scaling_lab.text import listed, plural

if TYPE_CHECKING:
    from scaling_lab.runs.reader import Runs

Bullet = tuple[str, str]

FAILURES = {
    "diverged": "the loss was not finite",
    "out_of_memory": "the device's memory was too small",
    "time_limit": "it took longer than the study allows",
    "bad_input": "an image or annotation was unusable",
    "bad_checkpoint": "the checkpoint to continue from was damaged",
    "lost_worker": "the process that trained it was lost",
    "device_fault": "a device, its driver or the connection between workers failed",
    "error": "an error in the program",
}

# Of a run whose study has shared weights.
SHARED = "APs are read from one training of the whole space. Whether it ranks detectors as training each alone is not measured."


def states(trials: pd.DataFrame) -> str:
    """Return the number of trials by state in words."""
    counts = trials["state"].value_counts()
    rest = [f"{counts[state]} {state}" for state in ("stopped", "failed", "running", "planned") if counts.get(state, 0)]
    complete = int(counts.get("complete", 0))
    if trials.empty:
        return "The run has no trials yet"
    beginning = f"{complete} of {plural(len(trials), 'trial')} complete"
    return beginning + (f" ({', '.join(rest)})" if rest else "")


def seeds_each(architectures: pd.DataFrame) -> str:
    """Return the number of seeds of an architecture: "3 seeds each", or "1 to 3 seeds each"."""
    return f"{seed_counts(architectures)} {'seed' if architectures['n'].max() == 1 else 'seeds'} each"


def seed_counts(architectures: pd.DataFrame) -> str:
    """Return the number of seeds of an architecture: "3", or "1 to 3"."""
    least, most = int(architectures["n"].min()), int(architectures["n"].max())
    return str(most) if least == most else f"{least} to {most}"


def answer(frontier: Frontier, trials: pd.DataFrame) -> str:
    """Answer in one sentence which architecture has the highest AP, by fresh seeds if there are some."""
    text = _best(frontier, trials)
    return text[0].upper() + text[1:]


def _best(frontier: Frontier, trials: pd.DataFrame) -> str:
    judged = frontier.fresh if len(frontier.fresh.architectures) else frontier
    table = judged.architectures
    if table.empty:
        return f"{states(trials)}, so there is no AP to compare."
    best, n = table.iloc[0], int(table["n"].iloc[0])
    start = "With fresh seeds, " if judged is not frontier else ""
    estimate = f"{best['ap_mean']:.1f} ({evidence(best)})"
    if len(table) == 1:
        return f"{start}{best['label']} has {'AP' if n == 1 else 'a mean AP of'} {estimate}."
    if n == 1:
        text = f"{start}{best['label']} has the highest AP, {estimate}"
        return f"{text}; without repeated seeds its lead cannot be tested."
    return f"{start}{best['label']} has the highest mean AP, {estimate}, {_significance(judged)}."


def _significance(frontier: Frontier) -> str:
    if (frontier.architectures["n"] > 1).sum() == 1:
        return "but no other architecture has repeated seeds to test against"
    below, same = below_and_beside_best(frontier)
    others = len(below) + len(same)
    if not below:
        compared = "any other" if others > 1 else same[0]
        return f"but does not differ significantly from {compared}"
    compared = f"{len(below)} of {others} others" if same else "every other" if others > 1 else below[0]
    return f"and differs significantly from {compared}"


def few(labels: Sequence[str], words: int = 14) -> str:
    """List labels up to a total number of words, and count the others."""
    totals = itertools.accumulate(len(label.split()) for label in labels)
    return listed(list(labels), most=max(1, sum(total <= words for total in totals)))


def evidence(row: Mapping[str, Any] | pd.Series[Any]) -> str:
    """Return the uncertainty of a mean AP: "95 % CI 81.6–85.9, 5 seeds", or "1 seed"."""
    n = int(row["n"])
    return "1 seed" if n == 1 else f"95 % CI {row['ap_low']:.1f}–{row['ap_high']:.1f}, {plural(n, 'seed')}"


def limits(runs: Runs, frontier: Frontier, trials: pd.DataFrame) -> tuple[Bullet, ...]:
    """List what limits the answer: trials, seeds, outliers, selection and data."""
    table = frontier.architectures
    if table.empty:
        return tuple(_why_failed(trials))
    epochs = plural(int(frontier.trials["epochs"].iloc[0]), "epoch")
    found = [("Trained.", f"{plural(len(table), 'architecture')}, {seeds_each(table)}, {epochs}. {states(trials)}.")]
    if runs.meta.get("shared"):
        found = [("Shared weights.", f"{found[0][1]} {SHARED}")]
    found += _why_failed(trials)
    if len(frontier.excluded):
        left = f"{plural(len(frontier.excluded), 'complete trial')} with other data, recipe or length"
        found.append(("Left out.", f"{left}: not comparable."))
    return (*found, *_uncertainty(frontier), _reach(runs, frontier))


def findings(runs: Runs, frontier: Frontier) -> tuple[Bullet, ...]:
    """List the front, the architectures that differ significantly from the best, and AP by object size."""
    table = frontier.architectures
    if len(table) < 2:
        return ()
    front = few(list(table[table["on_front"]].sort_values("gmacs")["label"]))
    compared = told_apart(frontier) if frontier.degrees > 0 else []
    return (("Pareto front (AP, GMACs):", f"{front}."), *compared, *_by_size(runs, table))


def why_failed(kind: object) -> str:
    """Return what a failure's kind means, also for a missing kind."""
    name = str(kind or NO_KIND)
    return FAILURES.get(name, name)


def _why_failed(trials: pd.DataFrame) -> list[Bullet]:
    counts = trials.loc[trials["state"] == "failed", "failure_kind"].fillna(NO_KIND).value_counts()
    reasons = [f"{plural(count, 'trial')}: {why_failed(kind)}" for kind, count in counts.items()]
    return [("Failed.", f"{'; '.join(reasons[:2])}{'; …' if len(reasons) > 2 else ''}.")] if reasons else []


def _by_size(runs: Runs, table: pd.DataFrame) -> list[Bullet]:
    """Return the ranges of AP by object size."""
    sizes = [size for size in ("small", "medium", "large") if has_values(table, f"ap_{size}")]
    if len(sizes) < 2:
        return []
    ranges = [f"{table[f'ap_{size}'].min():.1f}–{table[f'ap_{size}'].max():.1f} ({size})" for size in sizes]
    found = [("AP by object size:", f"{', '.join(ranges)}.")]
    if (runs.meta.get("data") or {}).get("kind") == "shapes":
        text = "the scene's light gives the colour, the object itself its shape (small) or texture (large)."
        found.append(("What a Shapes class depends on:", text))
    return found


def told_apart(frontier: Frontier) -> list[Bullet]:
    """List the repeated architectures that differ significantly from the best, with the test."""
    table = frontier.architectures
    repeated = table[table["n"] > 1]
    best, single = repeated.iloc[0]["label"], len(table) - len(repeated)
    untested = f" {plural(single, 'architecture')} with 1 seed not tested." if single else ""
    if len(repeated) == 1:
        return [("No test.", f"only {best} has repeated seeds.{untested}")]
    below, same = below_and_beside_best(frontier)
    pairs = plural(len(repeated) * (len(repeated) - 1) // 2, "pair")
    found = [(f"Significantly below {best}:", f"{few(below, 12)}.")] if below else []
    found += [(f"Not significantly below {best}:", f"{few(same, 12)}.")] if same else []
    return [*found, ("Test:", f"Welch's t-test at 5 %, Holm-corrected for {pairs}.{untested}")]


def _uncertainty(frontier: Frontier) -> list[Bullet]:
    """List the smallest detectable difference, the outliers, and the selection bias of the best."""
    table = frontier.architectures
    if len(table) < 2:
        return []
    if frontier.degrees == 0:
        remedy = "see the finalists' fresh seeds" if len(frontier.finalists) else "repeat seeds to test"
        return [("One seed each.", f"The spread between seeds is unknown, so no difference is significant; {remedy}.")]
    n = max(int(table["n"].median()), 2)
    least = power.smallest_detectable(frontier.sd, n, n)
    lift = estimates.expected_best_of(len(table)) * frontier.sd / math.sqrt(int(table["n"].median()))
    advice = " Retrain it with fresh seeds before quoting its AP." if frontier.finalists.empty else ""
    return [
        (
            "Smallest detectable difference:",
            f"{least:.1f} AP with {plural(n, 'seed')} a side (80 % power, one planned test; seed SD {frontier.sd:.1f} AP).",
        ),
        *_outliers(frontier),
        ("Selection.", f"The best of {len(table)} equal architectures would lead by {lift:.1f} AP by chance.{advice}"),
    ]


def _outliers(frontier: Frontier) -> list[Bullet]:
    """Count the training runs that ended far below others of their architecture."""
    limit, marks = frontier.far_below
    count = int(marks.sum())
    if not count:
        return []
    text = (
        f"{count} of {plural(len(marks), 'training run')} ended over {limit:.1f} AP below "
        f"{'its' if count == 1 else 'their'} architecture's median; intervals may be too narrow."
    )
    return [("Outliers.", text)]


def best_of_fresh(table: pd.DataFrame) -> Bullet:
    """Return the finalist that is best by its fresh seeds."""
    best = table.iloc[0]
    return "Highest by fresh seeds:", f"{best['label']}, AP {best['ap_mean']:.1f} ({evidence(best)})."


def shrunk(count: int) -> str:
    """Return towards what the posterior means of `count` architectures are shrunk; "" if they are not."""
    if count < 1 + SPARE:
        return ""
    return f"means are shrunk towards {'a curve of AP over log cost' if count >= STRAIGHT else 'their common mean'}"


def _reach(runs: Runs, frontier: Frontier) -> Bullet:
    data = runs.meta.get("data") or {}
    if data.get("kind") != "shapes":
        return "Data.", "The same held-out images select the best architecture and measure its AP."
    epochs = plural(int(frontier.trials["epochs"].iloc[0]), "epoch")
    what = f"{epochs} of {plural(int(data['train_images']), 'synthetic image')}"
    return "Data.", f"{what}: the ranking may differ on photographs or after longer training."


def accuracy_caption(frontier: Frontier) -> str:
    """Explain the marks of a figure of AP against a cost."""
    most, least = int(frontier.architectures["n"].max()), int(frontier.architectures["n"].min())
    if most == 1:
        marks = "Hollow marks are single training runs."
    else:
        marks = "Marks are means over seeds, small dots the seeds, bars 95 % t-intervals."
        marks += f" With {SMALL_N} seeds or fewer the SD is pooled." if frontier.degrees and least <= SMALL_N else ""
        marks += " Hollow marks have one seed and no interval." if least == 1 else ""
    if len(frontier.architectures) > MOST_INTERVALS:
        marks += " Small grey dots are means alone, without their seeds."
    return marks
