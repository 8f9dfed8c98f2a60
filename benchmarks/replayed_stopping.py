"""How many epochs does early stopping save, and what does it lose? Rules replayed on the real curves of kept ledgers.

    python benchmarks/replayed_stopping.py reports/results/fusion-seeds runs/heads      run folders; seconds
    python benchmarks/replayed_stopping.py --alone reports/results/fusion-seeds         as a search with one seed

A run's complete trials are judged one after another at their evaluated epochs, in the order of the ledger and in random
orders. A trial that a rule stops has no value; one that goes on has its real one. The front is that of the mean APs of
complete trials, by gmacs. It is scored by the APs of all trials: its hypervolume as a share of the whole front's.

With `--alone` each trial counts as an architecture of its own, as in a search with one seed for each.

The rules: successive halving with factors 2 and 3, for AP and gmacs (multi-objective, as MOASHA ranks) and for AP alone
(ASHA), and extrapolation of curves with several chances. Printed for each: the mean share of epochs saved, and the
hypervolume's mean and lowest share, over orders.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from scaling_lab import Extrapolation, Halving, Recipe, Runs
from scaling_lab.stats.fronts import front_of, pareto_front
from scaling_lab.stats.hypervolume import dominated_volume
from scaling_lab.study.early_stopping import EarlyStopping
from scaling_lab.study.search.judges import make_judge

BOTH, ALONE = {"ap": "maximize", "gmacs": "minimize"}, {"ap": "maximize"}


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A complete trial: its AP by evaluated epoch."""

    trial: int
    architecture: str
    gmacs: float
    aps: Mapping[int, float]


def curves(folder: Path) -> list[Curve]:
    """Return the curves of the complete search trials of a run."""
    runs = Runs(folder)
    table = runs.table()
    table = table[(table["state"] == "complete") & (table["role"] == "search")]
    epochs = runs.epochs().dropna(subset="ap")
    return [
        Curve(
            trial=int(row.trial),
            architecture=str(row.architecture),
            gmacs=float(row.gmacs),
            aps={int(each.epoch): float(each.ap) for each in epochs[epochs["trial"] == row.trial].itertuples()},
        )
        for row in table.itertuples()
    ]


def rules(epochs: Sequence[int]) -> dict[str, tuple[EarlyStopping | None, Mapping[str, str]]]:
    """Return the rules by name, with the objectives that they see."""
    first = epochs[0]
    found: dict[str, tuple[EarlyStopping | None, Mapping[str, str]]] = {"none": (None, BOTH)}
    for factor in (2, 3):
        rule = Halving(min_epochs=first, factor=factor)
        found |= {f"halving 1/{factor}, AP and gmacs": (rule, BOTH), f"halving 1/{factor}, AP": (rule, ALONE)}
    for chance in (0.01, 0.05, 0.1, 0.2):
        found[f"curves, {chance:.0%}"] = (Extrapolation(min_epochs=first, chance=chance), BOTH)
    return found


def replayed(
    order: Sequence[Curve], rule: EarlyStopping | None, objectives: Mapping[str, str]
) -> tuple[float, list[Curve]]:
    """Return the share of epochs saved, and the curves that went on to the end."""
    by_trial = {curve.trial: curve for curve in order}
    epochs = sorted(order[0].aps)
    recipe = Recipe.short(epochs=epochs[-1], eval_every=epochs[0])
    study: Any = types.SimpleNamespace(stopping=rule, objectives=objectives, recipe=recipe)

    def values(trial: int, metrics: Mapping[str, Any]) -> list[Any]:
        known = {"ap": metrics["ap"], "gmacs": by_trial[trial].gmacs}
        return [known[name] for name in objectives]

    judge = make_judge(study, values, lambda trial: by_trial[trial].architecture)
    trained, complete = 0, []
    for curve in order:
        last = epochs[-1]
        for epoch in epochs:
            if judge.note(curve.trial, epoch, {"ap": curve.aps[epoch]}) and not judge.goes_on(curve.trial, epoch):
                last = epoch
                break
        else:
            complete.append(curve)
        trained += last
    return 1 - trained / (epochs[-1] * len(order)), complete


def share(complete: Sequence[Curve], every: Sequence[Curve]) -> float:
    """Return the hypervolume of the front of complete trials by the mean APs of all, as a share of the whole front's."""

    def means(trials: Sequence[Curve]) -> dict[str, float]:
        groups: dict[str, list[float]] = {}
        for each in trials:
            groups.setdefault(each.architecture, []).append(each.aps[max(each.aps)])
        return {digest: mean(aps) for digest, aps in groups.items()}

    truth, gmacs = means(every), {each.architecture: each.gmacs for each in every}
    reference = (max(gmacs.values()) * 1.001, -min(truth.values()) + 1e-9)

    def volume(digests: Sequence[str]) -> float:
        return dominated_volume(front_of([(gmacs[digest], -truth[digest]) for digest in digests]), reference)

    found = means(complete)
    marks = pareto_front([gmacs[digest] for digest in found], list(found.values()))
    return volume([digest for digest, on in zip(found, marks, strict=True) if on]) / volume(list(truth))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--orders", type=int, default=50)
    parser.add_argument("--alone", action="store_true", help="each trial is an architecture of its own")
    options = parser.parse_args()
    for folder in options.runs:
        every = curves(folder)
        epochs = sorted(every[0].aps)
        every = [curve for curve in every if sorted(curve.aps) == epochs]
        if options.alone:
            every = [dataclasses.replace(curve, architecture=str(curve.trial)) for curve in every]
        print(f"{folder.name}: {len(every)} trials, AP after epochs {', '.join(map(str, epochs))}")
        if len(epochs) < 2:
            print("  no AP before the last epoch")
            continue
        orders = [every, *(random.Random(seed).sample(every, len(every)) for seed in range(options.orders))]
        for name, (rule, objectives) in rules(epochs).items():
            found = [replayed(order, rule, objectives) for order in orders]
            shares = [share(complete, every) for _, complete in found]
            saved = mean(each for each, _ in found)
            print(f"  {name:28} saved {saved:6.1%}   hypervolume {mean(shares):6.1%}, lowest {min(shares):6.1%}")


if __name__ == "__main__":
    main()
