"""Numbers as sentences: what can and cannot be concluded from a run. It computes no statistic of its own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scaling_lab.architecture.naming import published_name
from scaling_lab.report.analysis.best_networks import below_and_beside_best
from scaling_lab.report.analysis.frontier import SMALL_N, Frontier
from scaling_lab.report.analysis.names import SPELLINGS
from scaling_lab.report.figures.cost_marks import MOST_INTERVALS
from scaling_lab.report.tables import has_values, records
from scaling_lab.runs.reader import NO_KIND
from scaling_lab.stats import estimates, power
from scaling_lab.stats.posterior import SPARE, STRAIGHT
from scaling_lab.text import interval, listed, plural, significant

if TYPE_CHECKING:
    from scaling_lab.runs.reader import Runs

Bullet = tuple[str, str]

FAILURES = {
    "diverged": "the loss was not finite",
    "out_of_memory": "the device's memory was too small",
    "time_limit": "it took longer than the study allows",
    "bad_input": "an image or annotation was unusable",
    "bad_checkpoint": "the checkpoint to go on from was damaged",
    "lost_worker": "the process that trained it was lost",
    "error": "an error in the program",
}


def states(trials: pd.DataFrame) -> str:
    """Say how many trials there are and what became of them."""
    counts = trials["state"].value_counts()
    rest = [f"{counts[state]} {state}" for state in ("stopped", "failed", "running", "planned") if counts.get(state, 0)]
    complete = int(counts.get("complete", 0))
    if trials.empty:
        return "The run has no trials yet"
    beginning = f"{complete} of {plural(len(trials), 'trial')} complete"
    return beginning + (f" ({', '.join(rest)})" if rest else "")


def seeds_each(architectures: pd.DataFrame) -> str:
    """Say how many seeds an architecture has: "3 seeds each", or "1 to 3 seeds each"."""
    return f"{seed_counts(architectures)} {'seed' if architectures['n'].max() == 1 else 'seeds'} each"


def seed_counts(architectures: pd.DataFrame) -> str:
    """Give how many seeds an architecture has: "3", or "1 to 3"."""
    least, most = int(architectures["n"].min()), int(architectures["n"].max())
    return str(most) if least == most else f"{least} to {most}"


def conclusions(runs: Runs, frontier: Frontier, trials: pd.DataFrame) -> tuple[Bullet, ...]:
    """Say what was trained, what came out and how far it can be believed."""
    table = frontier.architectures
    if table.empty:
        found = [("Nothing to compare.", f"{states(trials)}, so there is no AP to show or to compare.")]
        return (*found, *_why_failed(trials))
    found = [_trained(runs, frontier, trials), *_unconnected(runs, frontier)]
    fresh = frontier.fresh.architectures
    found += [best_of_fresh(fresh)] if len(fresh) else []
    found.append(_best(table, where=" in the search" if len(fresh) else ""))
    found += [_front(table)] if len(table) > 1 else []
    found += _by_size(runs, table)
    found += [told_apart(frontier)] if len(table) > 1 and frontier.degrees > 0 else []
    found += _luck(frontier)
    return (*found, _reach(runs, frontier))


def why_failed(kind: object) -> str:
    """Say what a failure's kind means; a missing one has no words of its own."""
    name = str(kind or NO_KIND)
    return FAILURES.get(name, name)


def _why_failed(trials: pd.DataFrame) -> list[Bullet]:
    counts = trials.loc[trials["state"] == "failed", "failure_kind"].fillna(NO_KIND).value_counts()
    reasons = [f"{plural(count, 'trial')}: {why_failed(kind)}" for kind, count in counts.items()]
    return [("Why.", f"{'; '.join(reasons)}.")] if reasons else []


def no_claim(frontier: Frontier) -> str:
    """Say that architectures with one seed each cannot be told apart; nothing where there are more seeds."""
    if len(frontier.architectures) < 2 or frontier.degrees > 0:
        return ""
    where, how = ("By the search", "The finalists' fresh seeds") if len(frontier.finalists) else ("Here", "More seeds")
    return (
        f"{where} it cannot be said whether any architecture is better than another: one seed each gives no measure of how far "
        f"apart two trainings of one architecture lie. {how} can tell."
    )


def _trained(runs: Runs, frontier: Frontier, trials: pd.DataFrame) -> Bullet:
    table = frontier.architectures
    epochs = int(frontier.trials["epochs"].iloc[0])
    text = f"{plural(len(table), 'architecture')}, {seeds_each(table)}, {plural(epochs, 'epoch')}. {states(trials)}."
    if len(frontier.excluded):
        text += (
            f" {plural(len(frontier.excluded), 'complete trial')} of another protocol or length "
            "(other data, recipe or epochs) cannot be compared with these and is left out."
        )
    return "What was trained.", text


def _unconnected(runs: Runs, frontier: Frontier) -> list[Bullet]:
    """Say what a detector with unconnected levels is, where there is one."""
    specs = runs.specs()
    if not any(published_name(specs[digest].topology) == "none" for digest in frontier.architectures["architecture"]):
        return []
    text = (
        "A node (a convolution) still stands on each level of each cell, so it has a cost; "
        "what is missing is every edge between levels."
    )
    return [(f"{SPELLINGS['none']}.", text)]


def _best(table: pd.DataFrame, *, where: str) -> Bullet:
    best = table.iloc[0]
    cost, n = f"at {significant(best['gmacs'])} GMACs", int(best["n"])
    lead = f"Highest AP{where}." if len(table) > 1 else f"Its AP{where}."
    if n == 1:
        return lead, f"{best['label']} with AP {best['ap_mean']:.1f} {cost} (1 seed)."
    found = f"AP {best['ap_mean']:.1f} {interval(best['ap_low'], best['ap_high'])}"
    return lead, f"{best['label']} with {found}, mean and 95 % interval over {n} seeds, {cost}."


def _front(table: pd.DataFrame) -> Bullet:
    front = table[table["on_front"]].sort_values("gmacs")
    return "On the front.", f"{listed(list(front['label']))}: nothing else trained here has more AP for as few GMACs."


def _by_size(runs: Runs, table: pd.DataFrame) -> list[Bullet]:
    """Say on which sizes of object the architectures differ."""
    sizes = [size for size in ("small", "medium", "large") if has_values(table, f"ap_{size}")]
    if len(table) < 2 or len(sizes) < 2:
        return []
    ranges = [f"{table[f'ap_{size}'].min():.1f} to {table[f'ap_{size}'].max():.1f} on {size}" for size in sizes]
    text = f"Over the architectures AP goes from {listed(ranges)} objects."
    if (runs.meta.get("data") or {}).get("kind") == "shapes":
        text += (
            " On Shapes a class is the colour of the scene's light, which stands far from the small objects, "
            "and a detail: their shape, on larger ones a fine texture in the middle."
        )
    return [("Where they differ.", text)]


def told_apart(frontier: Frontier) -> Bullet:
    """Say which of the repeated architectures can be told from the best."""
    table = frontier.architectures
    repeated = table[table["n"] > 1]
    best = repeated.iloc[0]
    if len(repeated) == 1:
        text = f"{best['label']} alone has more than one seed, so no other architecture can be told apart from it."
        return "What can be told apart.", text
    pairs = len(repeated) * (len(repeated) - 1) // 2
    below, same = below_and_beside_best(frontier)
    parts = [f"{best['label']} is distinguishable from {listed(below)}" if below else ""]
    parts += [f"{best['label']} is not distinguishable from {listed(same)}" if same else ""]
    text = ". ".join(part for part in parts if part) + (
        f" (Welch's t-test at 5 %, Holm's correction for {'all ' if pairs > 1 else ''}{plural(pairs, 'pair')} that might have "
        "been compared)."
    )
    single = len(table) - len(repeated)
    text += f" {plural(single, 'architecture')} with 1 seed cannot be judged." if single else ""
    return "What can be told apart.", text


def _luck(frontier: Frontier) -> list[Bullet]:
    """Say how large differences must be to show, and how much of the best is luck."""
    table = frontier.architectures
    if frontier.degrees == 0 or len(table) < 2:
        return []
    n = int(table["n"].median())
    least = power.smallest_detectable(frontier.sd, max(n, 2), max(n, 2))
    spread = (
        f"Two trainings of one architecture differ by an SD of {frontier.sd:.1f} AP (pooled over architectures, "
        f"{plural(frontier.degrees, 'degree')} of freedom). With {plural(max(n, 2), 'seed')} a side, a difference "
        f"below {least:.1f} AP cannot be relied on to show (80 % power, 5 %, two-sided), in a single comparison chosen "
        "beforehand; corrected for many pairs, it takes more."
    )
    lift = estimates.expected_best_of(len(table)) * frontier.sd / math.sqrt(n)
    luck = (
        f"The best of {len(table)} equally good architectures would stand {lift:.1f} AP above their mean by chance; "
        "its interval does not allow for that."
        f"{' Before its AP is quoted, train it again with fresh seeds.' if frontier.finalists.empty else ''}"
    )
    return [("Spread between seeds.", spread), *_far_below(frontier), ("Luck of the best.", luck)]


def _far_below(frontier: Frontier) -> list[Bullet]:
    """Name the trainings that ended far below others of their architecture."""
    limit, marks = frontier.far_below
    found = [
        f"{row['label']}, seed {row['seed']}: {row['ap']:.1f}, median {np.median(frontier.aps[str(row['architecture'])]):.1f}"
        for row in records(frontier.trials[marks])
    ]
    if not found:
        return []
    what = f"({'; '.join(found[:8])}{'; …' if len(found) > 8 else ''})"
    text = (
        f"{len(found)} of {plural(len(frontier.trials), 'training')} ended more than {limit:.1f} AP ({estimates.FAR:g} robust "
        f"SDs) below the median of the same architecture's {what}. {'It' if len(found) == 1 else 'They'} did not learn what the "
        "others did: intervals and ps suppose seeds that spread evenly, and are too narrow where some do not. Of an "
        "architecture most of whose trainings fail, few or none are named here: its median is low too."
    )
    return [("Trainings far below.", text)]


def best_of_fresh(table: pd.DataFrame) -> Bullet:
    """Say which of the finalists is best by fresh seeds alone."""
    best = table.iloc[0]
    ap = f"AP {best['ap_mean']:.1f}"
    if best["n"] > 1:
        ap += f" {interval(best['ap_low'], best['ap_high'])}, mean and 95 % interval"
    seeds = plural(int(best["n"]), "fresh seed")
    return (
        "By fresh seeds alone.",
        f"{best['label']} has the highest: {ap} over {seeds}, which took no part in its choice.",
    )


def drawn_in(count: int) -> str:
    """Say towards what the draws of so many architectures' means are drawn in; nothing where each is drawn by itself."""
    if count < 1 + SPARE:
        return ""
    towards = "a curve of AP by log cost, as far as the architectures lie on one" if count >= STRAIGHT else (
        "their common mean, as far as they lie near it")  # fmt: skip
    return f"means are drawn in towards {towards}"


def _reach(runs: Runs, frontier: Frontier) -> Bullet:
    data = runs.meta.get("data") or {}
    text = "AP is COCO AP (0–100) on held-out images; the same images chose what is called best here."
    if data.get("kind") == "shapes":
        epochs = plural(int(frontier.trials["epochs"].iloc[0]), "epoch")
        text = (
            f"AP is COCO AP (0–100) on held-out made-up scenes: how much of the task was learned in {epochs} of "
            f"{plural(int(data['train_images']), 'image')}. An order found here need not hold on photographs or after "
            "longer training."
        )
    return "How far it carries.", text


def accuracy_caption(frontier: Frontier) -> str:
    """Explain the marks of a figure of AP against a cost."""
    most = int(frontier.architectures["n"].max())
    if most == 1:
        marks = "Hollow marks are single trainings."
    else:
        pooled = (
            f" With {SMALL_N} seeds or fewer their half-width uses the SD pooled over architectures."
            if frontier.degrees and int(frontier.architectures["n"].min()) <= SMALL_N
            else ""
        )
        marks = f"Marks are means over seeds, the dots beside them the seeds, bars 95 % t-intervals.{pooled}"
        marks += " Hollow marks have one seed and no interval." if int(frontier.architectures["n"].min()) == 1 else ""
    if len(frontier.architectures) > MOST_INTERVALS:
        marks += " Small grey dots are means alone, without their seeds."
    return marks
