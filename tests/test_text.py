"""Numbers, lists and plurals as text."""

from __future__ import annotations

import pytest

from scaling_lab.text import duration, interval, listed, number, p_value, plainly, plural, signed, significant


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "none"),
        (["A, 1"], "A, 1"),
        (["A", "B", "C"], "A, B and C"),
        (["A, 1", "B", "C, 2"], "A, 1; B and C, 2"),
    ],
)
def test_names_with_commas_are_kept_apart_by_semicolons(names: list[str], said: str) -> None:
    assert listed(names) == said


def test_numbers_have_a_true_minus_and_no_negative_zero() -> None:
    assert number(-0.04, 1) == "0.0"
    assert number(-1.26, 1) == "−1.3"
    assert signed(-1.26) == "−1.3"
    assert interval(-0.04, 2.5) == "[0.0, 2.5]"
    assert interval(float("nan"), 1.0) == "–"


@pytest.mark.parametrize(("value", "written"), [(0.01096, "0.0110"), (2.492, "2.49"), (1234.0, "1,230"), (0.0, "0.00")])
def test_significant_digits_are_never_a_power_of_ten(value: float, written: str) -> None:
    assert significant(value) == written


def test_a_p_is_never_nothing_at_all() -> None:
    assert [p_value(p) for p in (0.0, 0.0312, float("nan"))] == ["< 0.001", "0.031", "–"]


def test_counts_spans_and_values() -> None:
    assert [plural(1, "seed"), plural(1200, "seed"), plural(2, "box", "boxes")] == ["1 seed", "1,200 seeds", "2 boxes"]
    assert [duration(8), duration(200), duration(9000)] == ["8 s", "3 min", "2.5 h"]
    assert plainly({"weight_decay": 0.1, "freeze": [], "sync_norm": True, "pretrained": None}) == (
        "weight decay 0.1, freeze none, sync norm yes, pretrained none"
    )
