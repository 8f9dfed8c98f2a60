"""How well a proxy orders the architectures of the full protocol."""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from scaling_lab.report.analysis import predictors, proxy_warnings
from scaling_lab.report.analysis.frontier import Frontier, compute_frontier, summarise
from scaling_lab.report.analysis.pairing import Pairs, pair
from scaling_lab.report.analysis.predictors import Ceilings, Predictor
from scaling_lab.text import plural

if TYPE_CHECKING:
    from scaling_lab.runs.reader import Runs

LEAST = 4  # architectures for a rank correlation


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """How well the proxy ranks architectures of the full protocol; `why_not` says why it cannot be judged."""

    proxy: Frontier
    full: Frontier
    proxy_name: str
    full_name: str
    pairs: Pairs
    judged: dict[str, Predictor]
    ceilings: Ceilings
    why_not: str
    warning: str = ""


def compute_proxy(proxy: Runs, full: Runs) -> Proxy:
    """Pair the architectures of two runs and judge the first run as a proxy of the second."""
    names = [f"{runs.meta.get('study', runs.path.name)}{_form(runs)} ({runs.path.name})" for runs in (proxy, full)]
    found = _judge(compute_frontier(proxy), compute_frontier(full), names[0], names[1])
    if proxy.path.resolve() == full.path.resolve():
        return dataclasses.replace(
            found, judged={}, warning="", why_not="Both are the same run, so there is nothing to compare."
        )
    more = proxy_warnings.between_runs(proxy, full)
    if proxy_warnings.ROUND in found.warning:  # already warned of, by seconds
        more = [each for each in more if proxy_warnings.ROUND not in each]
    return dataclasses.replace(found, warning=" ".join(each for each in (found.warning, *more) if each))


def _form(runs: Runs) -> str:
    return f", form {runs.meta['form']}" if runs.meta.get("form") else ""


def _judge(proxy: Frontier, full: Frontier, proxy_name: str, full_name: str) -> Proxy:
    pairs = pair(proxy, full)
    enough = len(pairs.table) >= LEAST
    judged = predictors.predictors(pairs.table) if enough else {}
    nothing = Ceilings(proxy=math.nan, full=math.nan)
    return Proxy(
        proxy=proxy,
        full=full,
        proxy_name=proxy_name,
        full_name=full_name,
        pairs=pairs,
        judged=judged,
        ceilings=predictors.ceilings(proxy, full, pairs.table) if enough else nothing,
        why_not="" if enough else _too_few(proxy, full, pairs),
        warning=proxy_warnings.between_protocols(proxy, full),
    )


def _too_few(proxy: Frontier, full: Frontier, pairs: Pairs) -> str:
    return (
        f"A rank correlation needs {LEAST} architectures with complete trials under both protocols; here {len(pairs.table)} of "
        f"{len(proxy.architectures)} (proxy) and {len(full.architectures)} (full) are paired."
    )


def within_proxy(frontier: Frontier) -> Proxy | None:
    """Judge the two protocols or lengths of a run that share most architectures; None if there is only one."""
    trials = pd.concat([each for each in (frontier.trials, frontier.excluded) if len(each)] or [frontier.trials])
    groups = [group.reset_index(drop=True) for _, group in trials.groupby(["protocol", "epochs"], sort=True)]
    if len(groups) < 2:
        return None
    groups.sort(key=lambda group: (int(group["epochs"].iloc[0]), float(group["seconds"].mean())))
    one, other = max(
        itertools.combinations(groups, 2),
        key=lambda two: len(set(two[0]["architecture"]) & set(two[1]["architecture"])),
    )
    names = [f"protocol {group['protocol'].iloc[0]}, {plural(int(group['epochs'].iloc[0]), 'epoch')}"
             for group in (one, other)]  # fmt: skip
    own = ["ap_mean", "ap_low", "ap_high", "n", "on_front", "series"]
    proxy, full = (summarise(group.drop(columns=own, errors="ignore"), frontier.labels, excluded=frontier.excluded.iloc[:0])
                   for group in (one, other))  # fmt: skip
    return _judge(proxy, full, names[0], names[1])
