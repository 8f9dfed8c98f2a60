"""From a few measured architectures to all trials: which are picked, what lies between them, when the last trial ends."""

from __future__ import annotations

import pytest

from scaling_lab import topologies
from scaling_lab.study.ledger.database import Architecture
from scaling_lab.study.plan.forecast import between, makespan, picks
from tests.study.engine import spec


def test_trials_start_where_a_place_is_free() -> None:
    assert makespan([3.0, 1.0, 1.0, 1.0], 2) == 3.0
    assert makespan([1.0, 1.0, 1.0, 3.0], 2) == 4.0
    assert makespan([2.0, 2.0], 5) == 2.0
    assert makespan([], 2) == 0.0


def _architecture(gmacs: float) -> Architecture:
    known = {"params_m": 1.0, "gmacs": gmacs, "memory_mb": 1.0}
    return Architecture(digest=str(gmacs), spec=spec(topologies.none(3, 7)), known=known, parts={})


def test_three_are_picked_and_the_others_lie_between() -> None:
    known = picks([_architecture(gmacs) for gmacs in (5.0, 1.0, 2.0, 4.0, 9.0)], "gmacs")
    assert {which: each.known["gmacs"] for which, each in known.items()} == {
        "cheapest": 1.0,
        "median": 4.0,
        "most expensive": 9.0,
    }
    assert between({"cheapest": 10.0, "median": 40.0, "most expensive": 50.0}, known, "gmacs", 2.0) == pytest.approx(
        20.0
    )
    assert list(picks([_architecture(1.0), _architecture(1.0)], "gmacs")) == ["cheapest"]
    assert picks([], "gmacs") == {}
