from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from scaling_lab.latency import timing


@pytest.fixture
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run takes what it gives."""
    monkeypatch.setattr(timing, "timed", lambda run: float(run()))


def taking(*milliseconds: float) -> Iterator[float]:
    yield from milliseconds
    while True:
        yield milliseconds[-1]


@pytest.mark.usefixtures("_clock")
def test_warm_up_goes_on_until_it_has_settled() -> None:
    times = taking(*[9.0] * 10, *[6.0] * 10, *[5.0] * 10, *[4.99] * 10)
    change, runs = timing.warm_up(lambda: next(times), drift=0.01, block=10, least=20, most=200)
    assert runs == 40
    assert change == pytest.approx(0.01 / 4.99)


@pytest.mark.usefixtures("_clock")
def test_warm_up_ends_where_it_never_settles() -> None:
    times = (float(1 + number // 10 % 2) for number in range(10_000))
    change, runs = timing.warm_up(lambda: next(times), drift=0.01, block=10, least=50, most=200)
    assert runs == 200
    assert change >= 0.5


@pytest.mark.usefixtures("_clock")
def test_warm_up_takes_its_least() -> None:
    assert timing.warm_up(lambda: 1.0, drift=0.01, block=10, least=50, most=200) == (0.0, 50)


@pytest.mark.usefixtures("_clock")
def test_a_blocks_first_run_does_not_count() -> None:
    times = taking(100.0, 1.0, 2.0, 3.0)
    assert timing.block(lambda: next(times), 3) == [1.0, 2.0, 3.0]


def test_a_summary_is_of_quantiles() -> None:
    found = timing.summary([float(number) for number in range(1, 101)])
    assert found == {"median_ms": 50.5, "p90_ms": pytest.approx(90.9), "spread_ms": pytest.approx(50.5), "runs": 100}


def test_what_runs_is_timed_in_milliseconds() -> None:
    start = time.perf_counter()
    milliseconds = timing.timed(lambda: time.sleep(0.005))
    assert 5.0 <= milliseconds <= 1e3 * (time.perf_counter() - start)
