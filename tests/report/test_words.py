"""Numbers as sentences: how names are listed."""

from __future__ import annotations

import pytest

from scaling_lab.report import words


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
    assert words.listed(names) == said


def test_draws_are_drawn_in_to_what_so_many_architectures_lie_on() -> None:
    assert words.drawn_in(3) == ""
    assert "common mean" in words.drawn_in(7)
    assert "curve of AP by log cost" in words.drawn_in(8)
