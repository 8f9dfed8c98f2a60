"""Which devices and nodes are left out after faults of hardware."""

from __future__ import annotations

from scaling_lab.study.run.places import DEVICE_FAULTS, NODE_FAULTS, SECONDS, Faults, Place


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def gpu(number: int, node: str = "a") -> Place:
    return Place(node=node, name=f"10.0.0.{node}", gpus=(str(number),))


def test_a_device_is_left_out_after_three_faults_of_two_trials_within_minutes() -> None:
    clock = Clock()
    faults = Faults(clock=clock)
    assert [faults.note(trial, [gpu(1)]) for trial in (1, 2)] == [[], []]
    clock.now = SECONDS + 1
    assert [faults.note(trial, [gpu(1)]) for trial in (3, 3, 3)] == [[], [], []]
    assert faults.left_out == set()
    message = "GPU 1 of 10.0.0.a is left out of this run: 4 faults within 10 minutes"
    assert faults.note(4, [gpu(1)]) == [message]
    assert faults.note(5, [gpu(1)]) == []
    assert faults.left_out == {("a", "1")}
    assert [gpu(1).is_left_out(faults.left_out), gpu(0).is_left_out(faults.left_out)] == [True, False]
    assert not gpu(1, "b").is_left_out(faults.left_out)


def test_a_node_is_left_out_after_six_faults_of_any_of_its_devices() -> None:
    faults = Faults(clock=Clock())
    messages = [faults.note(trial, [gpu(trial)]) for trial in range(NODE_FAULTS)]
    assert messages[:-1] == [[]] * (NODE_FAULTS - 1)
    assert messages[-1] == ["10.0.0.a is left out of this run: 6 faults within 10 minutes"]
    assert gpu(17).is_left_out(faults.left_out)


def test_a_fault_between_workers_counts_once_for_a_node_and_for_each_device() -> None:
    faults = Faults(clock=Clock())
    both = [gpu(0), gpu(1), gpu(0, "b")]
    for trial in range(DEVICE_FAULTS - 1):
        assert faults.note(trial, both) == []
    faults.note(DEVICE_FAULTS, both)
    assert faults.left_out == {("a", "0"), ("a", "1"), ("b", "0")}


def test_a_node_without_gpus_is_a_device() -> None:
    faults = Faults(clock=Clock())
    place = Place(node="a", name="here")
    messages = [faults.note(trial, [place]) for trial in range(DEVICE_FAULTS)]
    assert messages[-1] == ["here is left out of this run: 3 faults within 10 minutes"]
    assert place.is_left_out(faults.left_out)
