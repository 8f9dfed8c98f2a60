"""A trial whose choices hypothesis draws. It holds no tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from scaling_lab.study.space.enumeration import Suggestions


class Drawn(Suggestions):
    """Suggests what hypothesis draws; no space here has a continuous parameter."""

    def __init__(self, data: st.DataObject) -> None:
        super().__init__()
        self._data = data

    def _choose(self, name: str, choices: Sequence[Any]) -> Any:
        return self._data.draw(st.sampled_from(choices), label=name)

    def _choose_between(self, name: str, low: float, high: float) -> float:
        raise NotImplementedError
