"""What a budget buys: the largest detector within it, and one step further none."""

from __future__ import annotations

import dataclasses

import pytest

from scaling_lab import CompoundScaling, DetectorSpec, count
from scaling_lab.cost.solver import solve
from scaling_lab.errors import UserError
from search_spaces.compound import SMALL

# Every phi has another width, so that the budget can be spent to the last digit.
FINE = dataclasses.replace(SMALL, width_multiple=1).only("width")


@pytest.mark.parametrize("gmacs", [0.025, 0.04, 0.5])
def test_the_next_step_is_beyond_the_budget(gmacs: float) -> None:
    found = solve(FINE, {"gmacs": gmacs})
    assert found.spec == FINE.spec(found.phi)
    assert found.costs["gmacs"] == count(found.spec).gmacs <= gmacs
    assert count(FINE.spec(found.phi + 0.001)).gmacs > gmacs
    assert found.costs["gmacs"] > 0.9 * gmacs


def test_every_dimension_can_be_asked_for() -> None:
    base = count(SMALL.base).gmacs
    for dimension, field in (("width", "width"), ("depth", "repeats"), ("image_size", "image_size")):
        spec = solve(SMALL.only(dimension), {"gmacs": 1.5 * base}).spec
        changed = {f.name for f in dataclasses.fields(spec) if getattr(spec, f.name) != getattr(SMALL.base, f.name)}
        assert changed == {field}


def test_the_tightest_of_several_budgets_holds() -> None:
    loose = solve(FINE, {"gmacs": 0.5})
    params = count(SMALL.base).params_m
    both = solve(FINE, {"gmacs": 0.5, "params_m": params})
    assert both.phi < loose.phi
    assert both.costs["params_m"] == pytest.approx(params, rel=0.01)


def test_a_latency_is_measured_only_within_what_is_counted() -> None:
    asked: list[DetectorSpec] = []

    def measure(spec: DetectorSpec) -> float:
        asked.append(spec)
        return spec.width / 10

    found = solve(FINE, {"latency_ms": 6.0, "gmacs": 10.0}, measure=measure)
    assert 56 <= found.spec.width <= 60
    assert len(asked) == len(set(asked)) < 15
    limited = solve(FINE, {"latency_ms": 6.0, "gmacs": count(FINE.spec(1.0)).gmacs}, measure=measure)
    assert limited.spec == FINE.spec(1.0)


def test_what_is_found_below_phi_0_was_itself_within_the_budget() -> None:
    rule = dataclasses.replace(SMALL, base=dataclasses.replace(SMALL.base, image_size=(512, 512))).only("image_size")
    for side in (12, 13, 40):
        budget = count(dataclasses.replace(rule.base, image_size=(side, side))).gmacs
        found = solve(rule, {"gmacs": budget})
        assert found.costs["gmacs"] <= budget
        assert found.spec.image_size[0] >= side  # larger where that costs the same


def test_heads_without_convolutions_may_stay_so() -> None:
    base = dataclasses.replace(SMALL.base, head_repeats=0)
    found = solve(dataclasses.replace(FINE, base=base), {"gmacs": 1.2 * count(base).gmacs})
    assert found.spec.head_repeats == 0


@pytest.mark.parametrize(
    ("rule", "budget", "said"),
    [
        (SMALL, {}, "budget is empty; allowed are gmacs, params_m, activations_m, memory_mb"),
        (SMALL, {"flops": 1.0}, "budget 'flops' is unknown; allowed are gmacs, params_m, activations_m, memory_mb"),
        (SMALL, {"latency_ms": 1.0}, "budget 'latency_ms' is unknown"),
        (SMALL, {"gmacs": -1.0}, "budget 'gmacs' is -1.0"),
        (SMALL, {"gmacs": 1e-6}, "is within gmacs 1e-06; the lowest found was gmacs"),
        (
            SMALL.only("backbone"),
            {"gmacs": 1.0},
            "scaling backbone does not reach the budget: scale other dimensions too",
        ),
    ],
)
def test_what_no_detector_can_spend_is_refused(rule: CompoundScaling, budget: dict[str, float], said: str) -> None:
    with pytest.raises(UserError) as raised:
        solve(rule, budget)
    assert said in str(raised.value)
