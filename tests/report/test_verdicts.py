"""Verdicts: the same words by p and by interval."""

from __future__ import annotations

import math

from scaling_lab.report.analysis import verdicts
from scaling_lab.stats import hypotheses


def test_a_verdict_has_the_same_words_by_p_and_by_interval() -> None:
    for first, second in (((1.0, 1.2, 0.9), (3.0, 3.1, 2.8)), ((1.0, 2.0, 3.0), (1.5, 2.5, 2.0)), ((1.0,), (2.0, 2.1))):
        found = hypotheses.welch(first, second)
        assert verdicts.verdict(found.p) == verdicts.interval_verdict(found.low, found.high)
    assert [verdicts.verdict(p) for p in (0.049, 0.05, math.nan)] == [
        "significant",
        "not significant",
        "not tested",
    ]
