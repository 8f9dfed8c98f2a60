"""What the doctor makes of a node's facts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from scaling_lab.machine import Space
from scaling_lab.study.plan.checkup import _shared_memory
from scaling_lab.study.plan.node_facts import gather


@pytest.mark.parametrize(
    ("gpus", "free", "is_wrong"),
    [(0, 2**20, False), (1, 2**26, False), (2, 2**26, True), (2, 2**30, False), (2, None, True), (0, None, False)],
)
def test_shared_memory_is_needed_between_gpus_alone(gpus: int, free: int | None, is_wrong: bool) -> None:
    own = gather(Path(), asked="none", name="none", ports=())
    space = None if free is None else Space(total=2**31, free=free)
    check = _shared_memory("here", dataclasses.replace(own, gpus=gpus, shared_memory=space))
    assert (check.advice is not None) == is_wrong
    assert "--shm-size=1g" in (check.advice or "--shm-size=1g")
