"""What tests of searches share."""

from __future__ import annotations

import pytest

from scaling_lab.study.search import candidates, ehvi


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw as many points as small spaces need, for each costs a millisecond."""
    monkeypatch.setattr(candidates, "AT_FIRST", 200)
    monkeypatch.setattr(ehvi, "MOST_DRAWS", 4)
