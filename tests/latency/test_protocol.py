"""What counts and what does not, on scripted processes; and one measurement as it really is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from scaling_lab import count
from scaling_lab.errors import UserError
from scaling_lab.latency import Conditions, protocol, timing
from scaling_lab.latency.protocol import measure
from scaling_lab.latency.rules import Protocol
from scaling_lab.latency.worker_process import run_worker
from tests.latency.tiny import tiny

ANCHOR = 10.0

# Gives the anchor's milliseconds before and after a block, by process and number of the block.
Anchors = Callable[[int, int], tuple[float, float]]


class Scripted:
    """Stands in for the processes: a detector takes its width in ms, slower by as much as the anchor is."""

    def __init__(self, anchors: Anchors) -> None:
        self.anchors = anchors
        self.jobs: list[dict[str, Any]] = []

    def __call__(self, job: dict[str, Any]) -> Iterator[dict[str, Any]]:
        number = len(self.jobs)
        self.jobs.append(json.loads(json.dumps(job)))
        for index in range(len(job["specs"])):
            yield {"warm": index, "change": 0.0, "runs": 50}
        block = 0
        for turn in range(job["rounds"]):
            for index, spec in enumerate(job["specs"]):
                before, after = self.anchors(number, block)
                block += 1
                yield {"round": turn}
                times = [spec["width"] * (before + after) / 2 / ANCHOR] * timing.BLOCK
                yield {"anchors": ([before] * timing.BLOCK, [after] * timing.BLOCK), "blocks": [(index, times)]}
        yield {"others": 0.0}
        for index, _ in enumerate(job["specs"]):
            if job["profile"]:
                yield {"profile": index, "milliseconds": [1.0] * 8 + [8.0 + number]}
        if job["memory"]:
            yield {"memory": [1.5] * len(job["specs"])}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[Anchors], Scripted]:
    def use(anchors: Anchors) -> Scripted:
        scripted = Scripted(anchors)
        monkeypatch.setattr(protocol, "run_worker", scripted)
        monkeypatch.setattr(protocol, "refuse_busy", lambda conditions, say: None)
        return scripted

    return use


def test_quiet_processes_all_count(script: Any) -> None:
    scripted = script(lambda process, block: (ANCHOR, 1.01 * ANCHOR))
    said: list[str] = []
    rows = list(measure([tiny(), tiny(width=16)], Conditions(), Protocol(seed=5), say=said.append))
    assert [row["median_ms"] for row in rows] == pytest.approx([8 * 1.005, 16 * 1.005])
    first = rows[0]
    assert (first["runs"], first["processes"], first["method"]) == (3 * 14 * 5, 3, "anchored")
    assert first["anchor_ms"] == pytest.approx(1.005 * ANCHOR)
    assert first["anchor_drift"] == pytest.approx(0.005, rel=0.01)
    assert (first["process_spread"], first["peak_memory_mb"]) == (0.0, 1.5)
    assert [(job["seed"], job["memory"], job["profile"]) for job in scripted.jobs] == [
        (5, True, False), (6, False, False), (7, False, False)
    ]  # fmt: skip
    assert said[0] == "process 1 of 3: 2 detectors, batch 1, float32, eager, network alone, 1 thread"


def test_runs_beside_an_anchor_that_drifts_are_run_again(script: Any) -> None:
    """Every second block of the first three processes is 20 % slower, and its anchor tells."""
    slow = lambda process, block: (ANCHOR, (1.2 if block % 2 and process < 3 else 1.0) * ANCHOR)  # noqa: E731
    scripted = script(slow)
    (row,) = measure([tiny()], Conditions())
    assert len(scripted.jobs) == 5
    assert row["median_ms"] == pytest.approx(8.0)
    assert row["p90_ms"] == pytest.approx(8.0)
    assert (row["runs"], row["processes"], row["anchor_drift"]) == (3 * 35 + 2 * 70, 5, 0.0)


def test_a_whole_process_of_another_speed_does_not_count(script: Any) -> None:
    scripted = script(lambda process, block: (ANCHOR * (1.3 if process == 1 else 1.0),) * 2)
    said: list[str] = []
    (row,) = measure([tiny()], Conditions(), say=said.append)
    assert said[-1] == "the anchor's median is 10.00 ms: 75% of all runs are valid, in 3 of 4 processes"
    assert (len(scripted.jobs), row["processes"], row["median_ms"]) == (4, 3, 8.0)


def test_a_detector_that_has_enough_does_not_run_again(script: Any) -> None:
    """The second of two runs beside a bad anchor."""
    scripted = script(lambda process, block: (ANCHOR, ANCHOR * (1.5 if block % 2 and process < 3 else 1.0)))
    rows = list(measure([tiny(), tiny(width=16)], Conditions()))
    assert [len(job["specs"]) for job in scripted.jobs] == [2, 2, 2, 1, 1, 1]
    assert [row["median_ms"] for row in rows] == [8.0, 16.0]


def test_a_device_that_drifts_is_refused(script: Any) -> None:
    scripted = script(lambda process, block: (ANCHOR * (1.0 + 0.1 * (block % 5)),) * 2)
    with pytest.raises(
        UserError, match=r"drifts: the anchor, 12\.00 ms, deviated by up to 17%\. resnet10t.* valid runs"
    ):
        list(measure([tiny()], Conditions()))
    assert len(scripted.jobs) == 9


def test_anyway_counts_all_and_tells_the_drift(script: Any) -> None:
    scripted = script(lambda process, block: (ANCHOR, ANCHOR * (1.0 + 0.5 * (block % 2))))
    (row,) = measure([tiny()], Conditions(), Protocol(anyway=True))
    assert (len(scripted.jobs), row["runs"], row["anchor_drift"], row["method"]) == (3, 210, 0.5, "unchecked")


def test_a_slow_drift_is_corrected_where_that_is_asked_for(script: Any) -> None:
    """The device becomes slower by 1 % with each block of a process, and starts each process faster than the last."""
    at = lambda process, block: ANCHOR * (1.2 - 0.1 * process) * (1 + 0.01 * block)  # noqa: E731
    scripted = script(lambda process, block: (at(process, block), at(process, block + 1)))
    (row,) = measure([tiny()], Conditions(), Protocol(correct=True))
    assert (len(scripted.jobs), row["runs"], row["method"]) == (3, 210, "corrected")
    assert row["median_ms"] == pytest.approx(8.0 * row["anchor_ms"] / ANCHOR)
    assert row["process_spread"] == pytest.approx(0.0, abs=1e-9)
    assert row["spread_ms"] == pytest.approx(0.0, abs=1e-9)
    assert 0.1 < row["anchor_drift"] < 0.3


def test_a_sudden_drift_is_not_corrected(script: Any) -> None:
    scripted = script(lambda process, block: (ANCHOR, 1.05 * ANCHOR))
    with pytest.raises(UserError, match=r"0 valid runs in 0 processes, with anchors that agree within 3%"):
        list(measure([tiny()], Conditions(), Protocol(correct=True)))
    assert len(scripted.jobs) == 9


def test_what_had_enough_may_lack_some_when_the_anchor_has_moved(script: Any) -> None:
    """The anchor's median goes from 10 to 10.6 by the later processes, and the first detector's runs do not count any more."""

    def at(process: int, block: int) -> tuple[float, float]:
        if process < 3:
            return (10.0, 10.0) if block % 8 < 4 else (10.7, 10.7)
        return (10.62, 10.62)

    script(at)
    specs = [tiny(width=8 + 4 * number) for number in range(8)]
    rows = list(measure(specs, Conditions()))
    assert len(rows) == 8
    assert all(row["runs"] >= 200 and row["processes"] >= 3 and row["anchor_drift"] <= 0.03 for row in rows)


def test_a_process_that_dies_late_costs_only_what_it_was_for(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted = script(lambda process, block: (ANCHOR, ANCHOR * (1.5 if block % 2 else 1.0)))

    def dying(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if len(scripted.jobs) == 3:
            raise UserError("a measuring process died")
        yield from scripted(job)

    monkeypatch.setattr(protocol, "run_worker", dying)
    rows = measure([tiny(), tiny(width=16)], Conditions())
    assert next(rows)["median_ms"] == 8.0
    with pytest.raises(UserError, match="a measuring process died"):
        next(rows)


def test_an_earlier_anchor_is_gone_on_with(script: Any) -> None:
    scripted = script(lambda process, block: (ANCHOR, ANCHOR))
    (row,) = measure([tiny()], Conditions(), anchor=(tiny(width=16), 10.1))
    assert (row["anchor"], row["anchor_ms"]) == (tiny(width=16).digest, 10.1)
    assert scripted.jobs[0]["anchor"] == tiny(width=16).to_dict()
    with pytest.raises(UserError, match=r"drifts: the anchor, 12\.00 ms, deviated by up to 17%"):
        list(measure([tiny()], Conditions(), anchor=(tiny(width=16), 12.0)))


def test_what_could_be_measured_comes_before_the_refusal(script: Any) -> None:
    """Of two detectors the second runs beside an anchor that drifts, and so does all in later processes."""
    script(lambda process, block: (ANCHOR, ANCHOR * (1.5 if block % 2 or process > 2 else 1.0)))
    rows = measure([tiny(), tiny(width=16)], Conditions())
    assert next(rows)["median_ms"] == 8.0
    with pytest.raises(UserError, match=r"width 16.* 0 valid runs in 0 processes.*1 of 2 detectors lack some"):
        next(rows)


def test_a_later_group_has_to_find_the_device_as_it_was(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    specs = [tiny(), tiny(width=16)]
    needed = sum(protocol.memory_needed(count(specs[1]), Conditions()))
    monkeypatch.setattr(protocol, "free_memory", lambda device: 2.1 * needed)
    script(lambda process, block: (ANCHOR * (1.0 if process < 3 else 1.1),) * 2)
    rows = measure(specs, Conditions())
    assert next(rows)["median_ms"] == 8.0
    with pytest.raises(UserError, match=r"the anchor, 10\.00 ms, deviated by up to 10%"):
        next(rows)


def test_a_profile_is_shares_of_the_median(script: Any) -> None:
    script(lambda process, block: (ANCHOR, ANCHOR))
    (row,) = measure([tiny()], Conditions(), with_profile=True)
    assert sum(row["pieces_ms"]) == pytest.approx(row["median_ms"])
    assert row["pieces_ms"][-1] / row["pieces_ms"][0] == pytest.approx(9.0)  # the median over processes of 8, 9 and 10
    with pytest.raises(
        UserError, match=r"a profile needs backend eager and scope network; got batch 1, float32, compile"
    ):
        list(measure([tiny()], Conditions(backend="compile"), with_profile=True))


def test_what_cannot_fit_is_told_before_anything_runs(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted = script(lambda process, block: (ANCHOR, ANCHOR))
    monkeypatch.setattr(protocol, "free_memory", lambda device: 2e6)
    with pytest.raises(
        UserError, match=r"width 8, 64 px needs at least \S+ GB \(batch 4096, .* cpu has 0\.002 GB free"
    ):
        list(measure([tiny()], Conditions(batch=4096)))
    assert not scripted.jobs


def test_half_precision_needs_half() -> None:
    cost = count(tiny())
    weights, activations = protocol.memory_needed(cost, Conditions(batch=4))
    assert weights + activations / 4 == cost.memory
    assert protocol.memory_needed(cost, Conditions(batch=4, dtype="bf16")) == (weights / 2, activations / 2)


@pytest.mark.parametrize(
    ("fields", "words"),
    [({"runs": 1}, "runs is 1"), ({"processes": 0}, "processes is 0"), ({"seed": -1}, "seed is -1"),
     ({"warm_runs": 0}, "warm_runs is 0"), ({"anyway": 1}, "anyway is 1"),
     ({"anyway": True, "correct": True}, "correct and anyway are both set")],
)  # fmt: skip
def test_a_protocol_that_makes_no_sense_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Protocol(**fields)


def test_a_process_that_dies_is_told() -> None:
    with pytest.raises(UserError, match=r"a measuring process died with exit code 1: KeyError: 'conditions'"):
        list(run_worker({"specs": []}))


def test_what_a_process_refuses_is_told_as_it_is() -> None:
    job = {"specs": [tiny().to_dict()], "conditions": {"dtype": "int8"}}
    with pytest.raises(UserError, match=r"^dtype is 'int8'; allowed are"):
        list(run_worker(job))


def test_turns_are_drawn_and_turned_round() -> None:
    import random

    turns = list(timing.turns(10, 4, random.Random(1)))
    assert all(len(chunk) <= timing.EVERY for _, chunk in turns)
    orders = [[index for number, chunk in turns if number == wanted for index in chunk] for wanted in range(4)]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert orders[1] == orders[0][::-1]
    assert orders[3] == orders[2][::-1]
    assert orders[2] not in (orders[0], orders[1])


@pytest.mark.slow
def test_detectors_are_measured() -> None:
    """With real processes, as short as they may be."""
    specs = [tiny(), tiny(image_size=(96, 96))]
    short = Protocol(runs=10, processes=2, warm_runs=10, anyway=True)
    small, large = measure(specs, Conditions(), short, with_profile=True)
    assert small["architecture"] == specs[0].digest
    assert (small["runs"], small["processes"], small["threads"], small["dtype"]) == (10, 2, 1, "float32")
    for row, spec in zip((small, large), specs, strict=True):
        assert 0 < row["median_ms"] <= row["p90_ms"]
        assert sum(row["pieces_ms"]) == pytest.approx(row["median_ms"])
        assert row["peak_memory_mb"] > count(spec).params * 4e-6
