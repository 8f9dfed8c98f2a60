"""How far architectures of a run lie apart, in words: differences with Welch's intervals, and what is told apart."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from statistics import mean, median
from typing import Any

from scaling_lab.errors import UserError
from scaling_lab.report import words
from scaling_lab.report.frontier import Frontier
from scaling_lab.report.tables import records
from scaling_lab.stats import hypotheses

WIDE = 10.0  # AP: a range of an architecture's seeds that is told beside a difference, for it makes Welch's interval doubtful


def highest(frontier: Frontier) -> str:
    """Name the best architecture and those that cannot be told from it."""
    best = records(frontier.architectures)[0]
    below, same = words.below_and_beside_best(frontier)
    text = (
        f"{best['label']} has the highest AP, {best['ap_mean']:.1f} {words.interval(best['ap_low'], best['ap_high'])}"
    )
    if not below:
        return f"{text}, and once corrected for all pairs is told apart from no other"
    return f"{text}, told apart from all {f'but {words.listed(same)}' if same else 'others'}"


def pairs_told_apart(frontier: Frontier) -> str:
    """Count the pairs that are told apart, and give the pooled standard deviation of seeds."""
    pairs = list(itertools.combinations(frontier.aps.values(), 2))
    corrected = hypotheses.holm([hypotheses.welch(first, second).p for first, second in pairs])
    apart = sum(p < hypotheses.LEVEL for p in corrected)
    return f"{apart} of {words.plural(len(pairs), 'pair')} of networks are told apart (seed SD {frontier.sd:.1f} AP)"


def against(frontier: Frontier, name: str, ours: Any, others: Sequence[Any], **fixed: Any) -> str:
    """Compare one value of a parameter with others: "+1.2 AP [0.3, 2.1] against fpn, …"."""
    found = [
        f"{compared(frontier, {name: ours, **fixed}, {name: other, **fixed})} against {plain(other)}"
        f"{wide(_aps(frontier, {name: other, **fixed}))}"
        for other in others
    ]
    return words.listed(found)


def compared(frontier: Frontier, ours: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Write the difference of two points of the space: "+1.2 AP [0.3, 2.1]"."""
    return in_words(_aps(frontier, ours), _aps(frontier, other))


def in_words(ours: Sequence[float], other: Sequence[float]) -> str:
    """Write the difference of two means over seeds: "+1.2 AP [0.3, 2.1]"."""
    result = hypotheses.welch(ours, other)
    return in_ap(result.difference, result.low, result.high)


def below_start(frontier: Frontier, name: str, values: Sequence[Any], *, start: Mapping[str, Any], **fixed: Any) -> str:
    """Name the values by which a start was scaled to end far below it, by medians; nothing where the start has no two seeds."""
    starts = _aps(frontier, start, needed=False)
    if len(starts) < 2:
        return ""
    scaled = {plain(value): _aps(frontier, {name: value, **fixed}) for value in values}
    found = [
        f"{value} alone ends at {mean(aps):.1f} AP"
        for value, aps in scaled.items()
        if median(aps) < median(starts) - WIDE
    ]
    if not found:
        return ""
    return f" ({words.listed(found)}, far below the {mean(starts):.1f} of what they were scaled from)"


def wide(aps: Sequence[float]) -> str:
    """Tell the range of seeds that lie far apart: some of those trainings did not learn what the others did."""
    return f" (seeds {min(aps):.0f} to {max(aps):.0f})" if max(aps) - min(aps) > WIDE else ""


def in_ap(difference: float, low: float, high: float) -> str:
    """Write a difference with its interval: "+1.2 AP [0.3, 2.1]"."""
    return f"{words.signed(difference)} AP {words.signed_interval(low, high)}"


def _aps(frontier: Frontier, point: Mapping[str, Any], *, needed: bool = True) -> list[float]:
    """Give the APs of the trials at a point of the space. Raises UserError where one is needed and none is complete."""
    trials = frontier.trials
    for name, value in point.items():
        trials = trials[trials[f"param_{name}"] == value]
    if needed and trials.empty:
        raise UserError(f"no complete trial has {words.listed([f'{name} {value}' for name, value in point.items()])}")
    return [float(ap) for ap in trials["ap"]]


def plain(value: Any) -> str:
    """Spell a value of a parameter as a reader would."""
    return _SPELLINGS.get(str(value), str(value).replace("_", " "))


_SPELLINGS = {
    "none": "unconnected levels",
    "fpn": "FPN",
    "repeated_fpn": "the repeated FPN",
    "panet": "PANet",
    "bifpn": "BiFPN",
    "resnet10t": "ResNet-10-T",
    "resnet18": "ResNet-18",
}
