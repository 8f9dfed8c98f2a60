"""What a cheap protocol's ranking is worth, in sentences. It computes no statistic of its own."""

from __future__ import annotations

import math

from scaling_lab.report.analysis.pairing import Pairs
from scaling_lab.report.analysis.predictors import Ceilings, Predictor
from scaling_lab.report.sections.conclusion_words import Bullet
from scaling_lab.stats.resampling import LEAST_DIFFERENCE, Ranked
from scaling_lab.text import listed, number, plural

LEAST_CEILING = 0.15  # a tau-b between repeats below which the dear protocol's order is noise
INTERVALS = "95 % jackknife intervals over architectures: for all architectures of which these might be a sample"


def ranked(value: Ranked, digits: int = 2) -> str:
    """Write a statistic with its interval: "0.55 [0.31, 0.72]"; a dash where it cannot be had."""
    if math.isnan(value.value):
        return "–"
    text = number(value.value, digits)
    return text if math.isnan(value.low) else f"{text} [{number(value.low, digits)}, {number(value.high, digits)}]"


def ahead_covers(count: int) -> str:
    """Say how near the interval of a difference of taus comes to 95 %, where that is more than two points off.

    By reports/results/interval_coverage.csv.
    """
    if not LEAST_DIFFERENCE <= count < 50:
        return ""
    return "For so few that of the difference covers 95 to 98 % in simulations: if anything it is too wide. "


def middle_of(resamples: int) -> str:
    """Say what stands in the brackets behind a regret, which no interval covers as a 95 % interval would."""
    return (
        f"In brackets is the middle 95 % over {resamples:,} sets of resampled architectures: how much it hangs on single ones. "
        "It is no 95 % interval for what other architectures would lose."
    )


def sentences(found: dict[str, Predictor], ceilings: Ceilings, pairs: Pairs, costs: str) -> tuple[Bullet, ...]:
    """Say how far the cheap protocol ranks as the dear one, held against a repeat and against size."""
    cheap = found["cheap_ap_mean"]
    return (
        _agreement(cheap, pairs),
        *([against_repeat(cheap, ceilings)] if not math.isnan(cheap.tau.value) else []),
        *[against_size(found[key]) for key in ("gmacs", "params_m")],
        *_once_size_is_known(cheap),
        *_choosing(cheap, found["gmacs"]),
        ("At what cost?", costs),
        ("What was paired.", pairs.in_words()),
    )


def _agreement(cheap: Predictor, pairs: Pairs) -> Bullet:
    lead = "Does the cheap protocol rank as the dear one?"
    if math.isnan(cheap.tau.value):
        return lead, "Nobody can tell: under one of the two all architectures have the same AP."
    text = (
        f"Tau-b {ranked(cheap.tau)}, Spearman {ranked(cheap.spearman)}, over {plural(len(pairs.table), 'architecture')} "
        "(1: the same order, 0: it tells nothing)."
    )
    if math.isnan(cheap.tau.low):
        text += " Without an interval nothing can be claimed from that."
    elif cheap.tau.low <= 0.0 <= cheap.tau.high:
        text += " These architectures do not show that it tells anything."
    return lead, text


def against_repeat(cheap: Predictor, ceilings: Ceilings) -> Bullet:
    """Hold the cheap protocol's tau against that between two repeats of the dear one."""
    lead = "Against a repeat of the dear protocol."
    if math.isnan(ceilings.dear):
        return lead, (
            "With one seed for each architecture under the dear protocol nobody can say what a repeat of it would reach; so "
            "what of the disagreement is noise is not known."
        )
    if ceilings.dear < LEAST_CEILING:
        return lead, (
            f"By the spread of its seeds, two repeats of it agree with tau-b {ceilings.dear:.2f} only: the dear protocol itself "
            "does not tell these architectures apart, so it cannot judge a proxy. More seeds of it can."
        )
    text = f"By the spread of its seeds, two repeats of it agree with tau-b {ceilings.dear:.2f}: no proxy needs more. "
    if math.isnan(cheap.tau.high):
        text += f"The cheap protocol is {'below' if cheap.tau.value < ceilings.dear else 'not below'} that; "
        text += "without an interval nobody can tell whether by chance."
    elif cheap.tau.high < ceilings.dear:
        text += "The cheap protocol is below that."
    elif cheap.tau.value >= ceilings.dear:
        text += "The cheap protocol ranks as well as a repeat would."
    else:
        text += "The cheap protocol is below that, but not by more than the choice of architectures explains."
    if not math.isnan(ceilings.cheap):
        text += f" Two repeats of the cheap one agree with {ceilings.cheap:.2f}"
        text += ": part of what is missing is its own noise, and more seeds of it would help." if (
            ceilings.cheap < ceilings.dear and cheap.tau.value < ceilings.dear) else "."  # fmt: skip
    return lead, text


def against_size(size: Predictor) -> Bullet:
    """Say whether the cheap protocol ranks better than a predictor that costs nothing."""
    lead = f"Against “{size.name}”."
    if math.isnan(size.tau.value):
        return lead, "All architectures are alike in that, so it ranks nothing."
    text = f"That alone reaches tau-b {ranked(size.tau)}. "
    ahead = size.ahead
    if math.isnan(ahead.value):
        return lead, text.rstrip()
    if math.isnan(ahead.low):
        return (
            lead,
            f"{text}The difference is {number(ahead.value, 2)}, without an interval: nothing can be claimed from that.",
        )
    if ahead.low > 0.0:
        text += f"The cheap protocol is better by {ranked(ahead)}."
    elif ahead.high < 0.0:
        worse = Ranked(value=-ahead.value, low=-ahead.high, high=-ahead.low)
        text += f"The cheap protocol is worse than that by {ranked(worse)}: it is not worth its cost."
    else:
        text += f"The cheap protocol is not distinguishable from it (difference {ranked(ahead)})."
    return lead, text


def _once_size_is_known(cheap: Predictor) -> list[Bullet]:
    if math.isnan(cheap.partial.value):
        return []
    text = f"the cheap protocol still has a partial tau of {ranked(cheap.partial)}"
    if math.isnan(cheap.partial.low):
        text += ", without an interval: nothing can be claimed from that"
    elif cheap.partial.low <= 0.0 <= cheap.partial.high:
        text += ": these architectures do not show that it tells more than size"
    return [("At equal GMACs", f"{text}.")]


def _choosing(cheap: Predictor, size: Predictor) -> list[Bullet]:
    shown = [(k, regret) for k, regret in cheap.regrets.items() if not math.isnan(regret.value)]
    if not shown:
        return []
    parts = [
        f"{ranked(regret, 1)} by {'its first choice alone' if k == 1 else f'the best of its first {k}'}"
        for k, regret in shown
    ]
    text = f"instead of training all under the dear protocol, loses AP: {listed(parts)}"
    if not math.isnan(size.regrets[shown[0][0]].value):
        text += f"; {ranked(size.regrets[shown[0][0]], 1)} by taking the one with most GMACs"
    text += ". In brackets is the middle 95 % over resampled architectures: how much it hangs on single ones."
    return [("Choosing by it,", f"{text} The dear protocol's own luck is in these numbers.")]
