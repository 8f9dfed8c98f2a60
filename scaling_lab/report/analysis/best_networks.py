"""Which architectures differ significantly from the best."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaling_lab.report.analysis.frontier import Frontier
from scaling_lab.stats import hypotheses

if TYPE_CHECKING:
    pass


def below_and_beside_best(frontier: Frontier) -> tuple[list[str], list[str]]:
    """Return the labels of the repeated architectures significantly below the best of them, and of the others.

    The test is Welch's, Holm-corrected for all pairs: the same seeds select the best, so any pair might have been tested.
    """
    repeated = frontier.architectures[frontier.architectures["n"] > 1]
    best, others = repeated.iloc[0], repeated.iloc[1:]
    aps = frontier.aps
    tests = [hypotheses.welch(aps[str(best["architecture"])], aps[str(digest)]).p for digest in others["architecture"]]
    corrected = hypotheses.holm(tests, family=len(repeated) * (len(repeated) - 1) // 2)
    is_below = [p < hypotheses.LEVEL for p in corrected]
    labels = [str(label) for label in others["label"]]
    below = [label for label, is_low in zip(labels, is_below, strict=True) if is_low]
    return below, [label for label, is_low in zip(labels, is_below, strict=True) if not is_low]
