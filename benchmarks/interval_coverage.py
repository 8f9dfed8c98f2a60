"""Are a report's intervals, p values and probabilities calibrated? Simulations with known truth.

    python benchmarks/interval_coverage.py                       all: about 25 minutes on 1 quiet core
    python benchmarks/interval_coverage.py --only hypervolume    those with this in the name
    python benchmarks/interval_coverage.py --share 0.05          fewer repeats, for a quick look
    python benchmarks/interval_coverage.py --csv reports/results/interval_coverage.csv

A row is an interval in a setting: its nominal level, the measured one, its standard error over repeats, and whether they
agree within two points. Settings whose name ends in "!" violate the method's assumptions, to measure how much it then
fails. The trials are in benchmarks/interval_means.py and interval_worlds.py; the code under test is the report's own.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import interval_worlds as worlds
from benchmarks.interval_means import (
    chosen,
    detected,
    exact_tau,
    false_claim,
    mean_own,
    mean_pooled,
    welch,
    welch_stuck,
)
from benchmarks.interval_worlds import Trial
from scaling_lab.stats import ranks

REPEATS, MANY, POINTS = 1200, 4500, 0.02  # MANY where it is cheap, or the nominal level far from 1


@dataclass(frozen=True, kw_only=True)
class Check:
    """An interval in a setting, with the trial that tests it once."""

    interval: str
    setting: str
    trial: Trial
    repeats: int = REPEATS
    upper: bool = False  # nominal is an upper limit, as for false claims

    def run(self, share: float = 1.0, seed: int = 0) -> Row:
        """Run the repeats of the trial, or a share of them."""
        repeats = max(2, round(share * self.repeats))
        random = np.random.default_rng(seed)
        found = [self.trial(random) for _ in range(repeats)]
        counts, sums = np.array([len(each) for each in found]), np.array([each.sum(axis=0) for each in found])
        nominal, measured = sums.sum(axis=0) / counts.sum()
        # Rows of one trial are dependent, so the unit is the trial.
        left = (sums[:, 1] - sums[:, 0]) - (measured - nominal) * counts
        error = float(np.sqrt((left**2).sum()) / counts.sum())
        return Row(check=self, nominal=float(nominal), measured=float(measured), error=error, repeats=repeats)


@dataclass(frozen=True, kw_only=True)
class Row:
    """The result of a check."""

    check: Check
    nominal: float
    measured: float
    error: float
    repeats: int

    @property
    def kept(self) -> bool:
        """Whether it agrees within two points; fewer false claims are fine."""
        off = self.measured - self.nominal
        return off <= POINTS if self.check.upper else abs(off) <= POINTS


# --- the table -------------------------------------------------------------------------------------------------------


def checks() -> Iterator[Check]:
    """Yield every interval, p value and probability of a report, in typical settings."""
    for n in (2, 3, 5, 10):
        yield Check(interval="mean, own SD", setting=f"{n} seeds", trial=mean_own(n), repeats=MANY)
    for seeds in ([2] * 5, [3] * 5, [2, 2, 3, 3, 5, 10], [1, 2, 3] * 2):
        said = f"{len(seeds)} architectures of {seeds[0] if len(set(seeds)) == 1 else sorted(set(seeds))} seeds"
        trial = mean_pooled([n for n in seeds if n > 1])
        yield Check(interval="mean, pooled SD up to 3 seeds", setting=said, trial=trial)
    yield Check(
        interval="mean of a finalist, fresh seeds", setting="best of 20, 3 seeds", trial=chosen(20, 3, fresh=True)
    )
    yield Check(
        interval="mean of the best of a search", setting="best of 20 equals, 3 seeds!", trial=chosen(20, 3, fresh=False)
    )
    for first, second, sd in (
        (2, 2, 1),
        (3, 3, 1),
        (5, 5, 1),
        (10, 10, 1),
        (3, 10, 1),
        (3, 3, 3),
        (5, 5, 3),
        (3, 10, 3),
        (2, 5, 3),
    ):
        said = f"{first} and {second} seeds, SDs {sd}:1"
        yield Check(interval="difference, Welch", setting=said, trial=welch(first, second, sd), repeats=MANY)
    for share, below in ((0.1, 20.0), (0.2, 20.0), (0.5, 20.0), (0.5, 8.0)):
        said = f"5 and 5 seeds, {100 * share:.0f} % of one side's end {below:g} SDs lower!"
        yield Check(interval="difference, Welch", setting=said, trial=welch_stuck(5, share, below), repeats=MANY)
    for count, n in ((5, 3), (10, 3), (10, 5), (20, 5)):
        said = f"{count} equal architectures, {n} seeds"
        yield Check(
            interval="any false claim against a baseline, Holm",
            setting=said,
            trial=false_claim(count, n, best=False),
            upper=True,
        )
        yield Check(
            interval="any false claim against the best, Holm of all pairs",
            setting=said,
            trial=false_claim(count, n, best=True),
            upper=True,
        )
    for n in (5, 6):
        yield Check(
            interval="p of the order beside the paper's",
            setting=f"{n} feature networks",
            trial=exact_tau(n),
            upper=True,
        )
    for first, second in ((2, 2), (3, 3), (5, 5), (10, 10), (3, 10)):
        yield Check(
            interval="smallest detectable difference, power",
            setting=f"{first} and {second} seeds",
            trial=detected(first, second),
            repeats=MANY,
        )
    for n in (3, 5, 10):
        yield Check(
            interval="smallest detectable difference, power of Welch's test",
            setting=f"{n} and {n} seeds!",
            trial=detected(n, n, welch=True),
            repeats=MANY,
        )
    yield from _fronts()
    yield from _ranks()
    yield from _laws()


FRONTS: tuple[tuple[str, int, tuple[int, ...], float], ...] = (
    ("normal", 3, (3,), 1.0),
    ("normal", 6, (3,), 1.0),
    ("one size", 6, (3,), 0.5),
    ("normal", 20, (3,), 1.0),
    ("normal", 20, (1, 2, 3), 0.5),
    ("normal", 50, (3,), 0.5),
    ("normal", 50, (2,), 0.2),
    ("normal", 50, (5,), 2.0),
    ("normal", 200, (3,), 0.5),
    ("all equal but for size", 50, (3,), 0.0),
    ("a fifth did not learn", 50, (3,), 0.5),
    ("three kinds", 50, (3,), 0.5),
    ("skewed", 50, (3,), 0.5),
    ("skewed", 50, (3,), 1.0),
)


def _fronts() -> Iterator[Check]:
    for what in ("hypervolume", "front band"):
        for world, count, seeds, spread in FRONTS:
            supposed = world in ("normal", "one size", "a fifth did not learn")
            said = f"{world}: {count} architectures, {'/'.join(map(str, seeds))} seeds, scatter {spread:g}, seed SD 0.6"
            trial = worlds.front(what, world, count, seeds, spread)
            repeats = REPEATS if what == "hypervolume" or count <= 6 else REPEATS // 3
            yield Check(interval=what, setting=said + ("" if supposed else "!"), trial=trial, repeats=repeats)
    for count, seeds, spread in ((10, (3,), 1.0), (50, (3,), 0.5), (50, (1, 2, 3), 0.5)):
        for low, high in ((0.05, 0.3), (0.3, 0.6), (0.6, 0.8), (0.8, 0.95)):
            said = f"given {low:g} to {high:g}; {count} architectures, {'/'.join(map(str, seeds))} seeds, scatter {spread:g}"
            trial = worlds.front("probability", "normal", count, seeds, spread, bin=(low, high))
            yield Check(
                interval="probability of the front",
                setting=said,
                trial=trial,
                repeats=MANY if count == 10 else MANY // 6,
            )
    for values, scales, seeds in ((3, 1, 3), (5, 1, 3), (5, 3, 3), (9, 2, 3)):
        for what, name in (("probability", "probability of the best value"), ("set", "set of values with the best")):
            said = f"{values} values at {scales} scales, {seeds} seeds, scatter 0.5, seed SD 0.6"
            yield Check(
                interval=name,
                setting=said,
                trial=worlds.grid(what, values, scales, seeds, 0.5),
                repeats=MANY if what == "probability" else REPEATS,
            )


AHEAD: tuple[tuple[float, float, float], ...] = (
    (0.8, 0.5, 0.4),
    (0.95, 0.8, 0.76),
    (0.6, 0.6, 0.36),
    (0.98, 0.95, 0.93),
)


def _ranks() -> Iterator[Check]:
    for statistic in (ranks.tau, ranks.spearman):
        name = "tau-b" if statistic is ranks.tau else "Spearman"
        for count in (6, 10, 20, 50):
            for rho in ("0", "0.5", "0.8", "0.95"):
                said = f"{count} pairs, normal, rho {rho}"
                yield Check(interval=name, setting=said, trial=worlds.correlation(statistic, rho, count))
        for world in ("two clusters", "fan", "ties", "one in seven unrelated"):
            for count in (10, 50):
                trial = worlds.correlation(statistic, world, count)
                yield Check(interval=name, setting=f"{count} pairs, {world}!", trial=trial)
    for count in (10, 20, 50):
        for load in (0.4, 0.7):
            yield Check(
                interval="partial tau",
                setting=f"{count} pairs, normal, {load:g} by size",
                trial=worlds.partial(count, load),
            )
    for count in (10, 20, 50):
        for first, second, between in AHEAD:
            said = f"{count} pairs, normal, rho {first:g} and {second:g}, {between:g} between them"
            trial = worlds.ahead(count, first, second, between)
            yield Check(interval="difference of two taus", setting=said, trial=trial)
    for count in (10, 20, 50):
        said = f"{count} architectures of 3 seeds, normal, rho 0.8, of seeds 0.4"
        yield Check(interval="tau-b over trials", setting=said, trial=worlds.clustered(count, 3, 0.8, 0.4))
    name, trial = "regret of other architectures", worlds.regret(20, 0.8)
    yield Check(interval=name, setting="20 pairs, rho 0.8!", trial=trial, repeats=MANY)
    for spread, sd in ((1.0, 0.2), (0.5, 0.3)):
        for seeds in (1, 3, 5):
            said = f"30 architectures, spread {spread:g}, SD {sd:g}, {seeds} seeds"
            trial = worlds.ceiling(spread, sd, seeds)
            yield Check(interval="noise ceiling of tau, its mean", setting=said, trial=trial)


LAWS: tuple[tuple[int, list[int], float, float], ...] = (
    (4, [3], 0.3, 0.35),
    (5, [3], 0.3, 0.35),
    (6, [3], 0.3, 0.35),
    (5, [2, 3, 5], 0.3, 0.35),
    (5, [3], 1.0, 0.35),
    (5, [3], 0.3, 1.0),
)


def _laws() -> Iterator[Check]:
    names = {
        "within": "scaling law, band between models",
        "next": "scaling law at the next model",
        "training_runs": "mean of 3 training runs of the next model",
    }
    for what, name in names.items():
        for models, seeds, sd, exponent in LAWS:
            said = f"{models} models, {'/'.join(map(str, seeds))} seeds, seed SD {sd:g}, c {exponent:g}"
            yield Check(interval=name, setting=said, trial=worlds.law(what, models, seeds, sd, exponent))
    for models in (5, 6):
        yield Check(
            interval="law said not to fit, though true",
            setting=f"{models} models, 3 seeds",
            trial=worlds.law("misfit", models, [3], 0.3, 0.35),
            upper=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="a part of an interval's name")
    parser.add_argument("--share", type=float, default=1.0, help="share of the repeats (1)")
    parser.add_argument("--csv", type=Path, help="write the table here")
    options = parser.parse_args()
    lines = []
    for check in checks():
        if options.only in check.interval:
            start = time.monotonic()
            row = check.run(options.share)
            kept = "yes" if row.kept else "no"
            lines.append(
                [
                    check.interval,
                    check.setting,
                    f"{row.nominal:.3f}",
                    f"{row.measured:.3f}",
                    f"{row.error:.4f}",
                    row.repeats,
                    kept,
                ]
            )
            told = f"{row.nominal:.3f} {row.measured:.3f} ± {row.error:.3f} {'' if row.kept else 'OFF'}"
            print(f"{check.interval:52} {check.setting:76} {told}  {time.monotonic() - start:.0f} s", flush=True)
    if options.csv:
        with options.csv.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(
                ["interval", "setting", "nominal", "measured", "standard_error", "repeats", "within_two_points"]
            )
            writer.writerows(lines)


if __name__ == "__main__":
    main()
