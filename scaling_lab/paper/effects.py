"""Differences of mean AP between architectures of a run: estimates with Welch's 95 % intervals, and their sentences."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

from scaling_lab.errors import UserError
from scaling_lab.report.analysis import best_networks
from scaling_lab.report.analysis.frontier import Frontier
from scaling_lab.report.tables import records
from scaling_lab.stats import hypotheses
from scaling_lab.text import interval, listed, plural, signed, signed_interval

WIDE = 10.0  # AP; Welch's interval is doubtful if seeds range over more


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The difference in mean AP, `ours` minus `other`, with the APs of the seeds and Welch's result."""

    ours: str
    other: str
    ours_aps: tuple[float, ...]
    other_aps: tuple[float, ...]
    result: hypotheses.Difference

    @property
    def ap(self) -> str:
        """The difference with its interval: "+1.2 AP [+0.3, +2.1]"."""
        return in_ap(self.result.difference, self.result.low, self.result.high)

    @property
    def text(self) -> str:
        """The difference named: "BiFPN minus FPN: +1.2 AP [+0.3, +2.1]"."""
        return f"{self.ours} minus {self.other}: {self.ap}"


def effect(ours: str, other: str, ours_aps: Sequence[float], other_aps: Sequence[float]) -> Effect:
    """Compare the means of two samples of APs."""
    result = hypotheses.welch(ours_aps, other_aps)
    return Effect(ours=ours, other=other, ours_aps=tuple(ours_aps), other_aps=tuple(other_aps), result=result)


def effects_of(frontier: Frontier, name: str, ours: Any, others: Sequence[Any], **fixed: Any) -> list[Effect]:
    """Compare one value of a parameter with each of `others`, at equal `fixed` parameters."""
    aps = aps_at(frontier, {name: ours, **fixed})
    return [effect(plain(ours), plain(other), aps, aps_at(frontier, {name: other, **fixed})) for other in others]


def corrected(effects: Sequence[Effect]) -> list[float]:
    """Return the effects' Holm-corrected p-values."""
    return hypotheses.holm([each.result.p for each in effects])


def significance(effects: Sequence[Effect]) -> str:
    """Return a sentence on which effects are significant after correction."""
    names = [
        f"{each.ours} minus {each.other}"
        for each, p in zip(effects, corrected(effects), strict=True)
        if is_significant(p)
    ]
    correction = f"after Holm correction for {plural(len(effects), 'comparison')}"
    if len(effects) == 1:
        correction = "at 5 %"
    if not names:
        return f"No difference is significant {correction}."
    return f"Significant {correction}: {listed(names)}."


def is_significant(p: float) -> bool:
    """Return whether a corrected p-value is below the level; False for nan."""
    return p < hypotheses.LEVEL


def verdict(p: float) -> str:
    """Write a test's result: "significant" or "not significant"."""
    return "significant" if is_significant(p) else "not significant"


def in_ap(difference: float, low: float, high: float) -> str:
    """Write a difference with its interval: "+1.2 AP [+0.3, +2.1]"."""
    return f"{signed(difference)} AP {signed_interval(low, high)}"


@dataclass(frozen=True, kw_only=True)
class Best:
    """The architecture with the highest mean AP; `above` of its `others` are significantly lower (Holm, all pairs)."""

    label: str
    ap: str
    above: int
    others: int


def best_of(frontier: Frontier) -> Best:
    """Find the architecture with the highest mean AP and compare it with all others."""
    best = records(frontier.architectures)[0]
    below, same = best_networks.below_and_beside_best(frontier)
    ap = f"{best['ap_mean']:.1f} {interval(best['ap_low'], best['ap_high'])}"
    return Best(label=str(best["label"]), ap=ap, above=len(below), others=len(below) + len(same))


def significant_pairs(frontier: Frontier) -> tuple[int, int]:
    """Count the pairs of architectures that differ significantly after Holm correction for all pairs, and all pairs."""
    pairs = list(itertools.combinations(frontier.aps.values(), 2))
    adjusted = hypotheses.holm([hypotheses.welch(first, second).p for first, second in pairs])
    return sum(map(is_significant, adjusted)), len(pairs)


def below_start(effects: Sequence[Effect], start: Sequence[float]) -> str:
    """Name scaled models whose median is an outlier below the start; "" if the start has one seed."""
    if len(start) < 2:
        return ""
    low = [each for each in effects if median(each.other_aps) < median(start) - WIDE]
    found = [f"{each.other} alone ends at {mean(each.other_aps):.1f} AP" for each in low]
    return f" {_sentence(listed(found))}, below the start's {mean(start):.1f} AP." if found else ""


def wide_seeds(effects: Sequence[Effect]) -> str:
    """Warn of samples that range over more than WIDE, whose Welch interval may be too narrow."""
    samples = {each.ours: each.ours_aps for each in effects} | {each.other: each.other_aps for each in effects}
    found = [
        f"{name} ({min(aps):.0f}–{max(aps):.0f} AP)" for name, aps in samples.items() if max(aps) - min(aps) > WIDE
    ]
    return f"Wide seed ranges, so intervals may be too narrow: {listed(found)}." if found else ""


def aps_at(frontier: Frontier, point: Mapping[str, Any], *, needed: bool = True) -> list[float]:
    """Return the APs of the trials at a point of the space. Raises UserError if they are `needed` and none is complete."""
    trials = frontier.trials
    for name, value in point.items():
        trials = trials[trials[f"param_{name}"] == value]
    if needed and trials.empty:
        raise UserError(f"no complete trial has {listed([f'{name} {value}' for name, value in point.items()])}")
    return [float(ap) for ap in trials["ap"]]


def plain(value: Any) -> str:
    """Return a parameter's value in words."""
    return _SPELLINGS.get(str(value), str(value).replace("_", " "))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


_SPELLINGS = {
    "none": "unconnected levels",
    "fpn": "FPN",
    "repeated_fpn": "the repeated FPN",
    "panet": "PANet",
    "bifpn": "BiFPN",
    "resnet10t": "ResNet-10-T",
    "resnet18": "ResNet-18",
    "compound": "compound scaling",
    "fast": "fast fusion",
}
