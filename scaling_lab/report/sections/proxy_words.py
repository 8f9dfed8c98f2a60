"""How well a proxy ranks, in sentences."""

from __future__ import annotations

import math

from scaling_lab.report.analysis.pairing import Pairs
from scaling_lab.report.analysis.predictors import Ceilings, Predictor
from scaling_lab.report.analysis.proxy_judgement import Proxy
from scaling_lab.report.sections.conclusion_words import Bullet
from scaling_lab.stats.resampling import LEAST_DIFFERENCE, Ranked
from scaling_lab.text import listed, number, plural

LEAST_CEILING = 0.15  # a tau-b between repeats below which the full protocol's order is noise
INTERVALS = "95 % jackknife intervals over architectures"


def ranked(value: Ranked, digits: int = 2) -> str:
    """Write a statistic with its interval: "0.55 [0.31, 0.72]"; a dash if undefined."""
    if math.isnan(value.value):
        return "–"
    text = number(value.value, digits)
    return text if math.isnan(value.low) else f"{text} [{number(value.low, digits)}, {number(value.high, digits)}]"


def ahead_covers(count: int) -> str:
    """Return the coverage of the interval of a difference of taus, if over two points from 95 %.

    The values are from reports/results/interval_coverage.csv.
    """
    if not LEAST_DIFFERENCE <= count < 50:
        return ""
    return "With so few, the interval of the difference covers 95 to 98 % in simulations. "


def middle_of(resamples: int) -> str:
    """Explain the brackets after a regret, which are not a 95 % interval."""
    return f"In brackets: middle 95 % over {resamples:,} resamples of the architectures, not a 95 % interval."


def answer(found: Proxy) -> str:
    """Answer in one sentence how well the proxy ranks, and what a repeat of the full protocol would reach."""
    if not found.judged:
        return found.why_not
    tau = found.judged["proxy_ap_mean"].tau
    if math.isnan(tau.value):
        return "All architectures have the same AP under one of the protocols, so nothing can be ranked."
    bounds = "" if math.isnan(tau.low) else f"95 % CI {number(tau.low, 2)} to {number(tau.high, 2)}, "
    text = f"The proxy ranks architectures with tau-b {number(tau.value, 2)} ({bounds}{len(found.pairs.table)} architectures)"
    if math.isnan(found.ceilings.full):
        return f"{text}; without repeated seeds a repeat of the full protocol is not known."
    return f"{text}; a repeat of the full protocol would reach {found.ceilings.full:.2f}."


def limits(found: Proxy) -> tuple[Bullet, ...]:
    """List what limits the answer: seed noise, ranking by size alone, and pairing."""
    proxy = found.judged["proxy_ap_mean"]
    return (
        *(against_repeat(proxy, found.ceilings) if not math.isnan(proxy.tau.value) else ()),
        *(against_size(found.judged[key]) for key in ("gmacs", "params_m")),
        *_paired(found.pairs),
    )


def against_repeat(proxy: Predictor, ceilings: Ceilings) -> tuple[Bullet, ...]:
    """Compare the proxy's tau with that between two repeats of the full protocol."""
    lead = "Repeat of the full protocol:"
    if math.isnan(ceilings.full):
        return ((lead, "one seed each, so its tau-b is unknown."),)
    if ceilings.full < LEAST_CEILING:
        text = (
            f"tau-b {ceilings.full:.2f}, so it does not rank these architectures and cannot judge a proxy; add seeds."
        )
        return ((lead, text),)
    if math.isnan(proxy.tau.high):
        verdict = "the proxy has no interval to compare"
    elif proxy.tau.high < ceilings.full:
        verdict = "the proxy is below that"
    elif proxy.tau.value >= ceilings.full:
        verdict = "the proxy ranks as well"
    else:
        verdict = "the proxy is not significantly below that"
    found = [(lead, f"tau-b {ceilings.full:.2f}; {verdict}.")]
    if not math.isnan(ceilings.proxy):
        more = ceilings.proxy < ceilings.full and proxy.tau.value < ceilings.full
        found.append(
            ("Repeat of the proxy:", f"tau-b {ceilings.proxy:.2f}{'; more proxy seeds would help' if more else ''}.")
        )
    return tuple(found)


def against_size(size: Predictor) -> Bullet:
    """Return whether the proxy ranks significantly better than a predictor without training."""
    lead = f"Ranked by {size.name}:"
    if math.isnan(size.tau.value):
        return lead, "all architectures are equal, so it ranks nothing."
    text, ahead = f"tau-b {ranked(size.tau)}", size.ahead
    if math.isnan(ahead.value):
        return lead, f"{text}."
    if math.isnan(ahead.low):
        return lead, f"{text}; the proxy leads by {number(ahead.value, 2)}, without an interval."
    if ahead.low > 0.0:
        return lead, f"{text}; the proxy is significantly better, by {ranked(ahead)}."
    if ahead.high < 0.0:
        worse = Ranked(value=-ahead.value, low=-ahead.high, high=-ahead.low)
        return lead, f"{text}; the proxy is significantly worse, by {ranked(worse)}, and not worth its cost."
    return lead, f"{text}; the proxy does not differ significantly ({ranked(ahead)})."


def _paired(pairs: Pairs) -> list[Bullet]:
    found = [("Paired:", f"{plural(len(pairs.table), 'architecture')}, {pairs.how()}.")]
    left = [f"{count} only under the {name}" for count, name in
            ((pairs.only_proxy, "proxy"), (pairs.only_full, "full protocol")) if count]  # fmt: skip
    if left:
        found.append(("Left out:", f"{listed(left)}."))
    if pairs.only_proxy and len(pairs.table):
        found.append(
            (
                "Selection:",
                "if the proxy chose which to train in full, they are alike and the correlation is biased low.",
            )
        )
    return found


def findings(found: Proxy, costs: tuple[Bullet, ...]) -> tuple[Bullet, ...]:
    """List the proxy's partial correlation given size, its regrets, and its cost."""
    proxy, size = found.judged["proxy_ap_mean"], found.judged["gmacs"]
    return (*_given_size(proxy), *_choosing(proxy, size), *costs)


def _given_size(proxy: Predictor) -> list[Bullet]:
    if math.isnan(proxy.partial.value):
        return []
    text = f"partial tau {ranked(proxy.partial)}"
    if math.isnan(proxy.partial.low):
        text += ", without an interval"
    elif proxy.partial.low <= 0.0 <= proxy.partial.high:
        text += ", not significantly more than size alone"
    return [("At equal GMACs:", f"{text}.")]


def _choosing(proxy: Predictor, size: Predictor) -> list[Bullet]:
    found = [
        (f"AP lost by {'its first choice' if k == 1 else f'the best of its first {k}'}:", f"{ranked(regret, 1)}.")
        for k, regret in proxy.regrets.items()
        if not math.isnan(regret.value)
    ]
    if found and not math.isnan(size.regrets[next(iter(size.regrets))].value):
        found.append(("AP lost by most GMACs:", f"{ranked(size.regrets[next(iter(size.regrets))], 1)}."))
    return found
