"""Several processes that train one detector: the first error is told within seconds, and none is left, however one ends."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from scaling_lab import Recipe, Shapes
from scaling_lab.training import together
from scaling_lab.training.failures import Diverged, LostProcess
from scaling_lab.training.together import train_together
from tests.study.engine import wait_for
from tests.training.test_group import SPEC

pytestmark = pytest.mark.xdist_group("two workers")
slow = pytest.mark.slow
DATA = Shapes(train_images=16, val_images=4)
RECIPE = Recipe.short(epochs=2, batch_size=4, sync_norm=True, drop_path=0.3)


def _settings(folder: Path, **changes: Any) -> dict[str, Any]:
    return {"spec": SPEC, "source": DATA, "recipe": dataclasses.replace(RECIPE, **changes), "seed": 0, "folder": folder}


def _train(folder: Path, *, processes: int = 2, recipe: dict[str, Any] | None = None, **hear: Any) -> dict[str, Any]:
    return train_together(
        processes, device="cpu", **_settings(folder, **(recipe or {})), **{"report": lambda _: None, **hear}
    )


def _state(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "checkpoint.pt", weights_only=True)  # type: ignore[no-any-return]


def _assert_same(one: Path, other: Path) -> None:
    first, second = _state(one), _state(other)
    for part in ("model", "average"):
        assert all(torch.equal(first[part][name], second[part][name]) for name in first[part])
    assert first["metrics"]["ap_by_class"] == second["metrics"]["ap_by_class"]
    assert torch.equal(first["other_random"][0]["cpu"], second["other_random"][0]["cpu"])


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (signal.SIGKILL, "training process 1 was ended by SIGKILL, as the system does when memory runs out"),
        pytest.param(signal.SIGSTOP, r"training process 1 \(pid \d+\) has been suspended for 0 s", marks=slow),
        pytest.param(signal.SIGTERM, "training process [01] was ended by SIGTERM", marks=slow),
    ],
)
def test_a_process_that_is_lost_ends_all_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    monkeypatch.setattr(together, "_SUSPENDED", 0.0)
    seen: list[int] = []

    def hit(step: dict[str, float]) -> None:
        if step["step"] == 1 and not seen:
            seen.extend(sorted(process.pid for process in multiprocessing.active_children() if process.pid))
            os.kill(seen[1], number)

    with pytest.raises(LostProcess, match=message):
        _train(tmp_path, recipe={"epochs": 1000}, progress=hit)
    assert multiprocessing.active_children() == []
    assert LostProcess.kind == "lost_worker"


@slow
def test_the_error_of_one_process_keeps_its_type_and_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(Diverged, match="the loss is not finite at epoch") as raised:
        _train(tmp_path, recipe={"lr": 1e30, "epochs": 1000, "clip_norm": 1e30})
    assert "in training process" in raised.value.__notes__[0]
    assert "Traceback" in raised.value.__notes__[0]
    assert multiprocessing.active_children() == []


@slow
def test_ctrl_c_lets_all_processes_write_a_checkpoint_and_they_continue_to_the_bit(tmp_path: Path) -> None:
    def stop(step: dict[str, float]) -> None:
        if (step["epoch"], step["step"]) == (1, 2):
            raise KeyboardInterrupt

    _train(tmp_path / "whole", recipe={"epochs": 1})
    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path / "stopped", recipe={"epochs": 1}, progress=stop)
    assert multiprocessing.active_children() == []
    assert 2 <= _state(tmp_path / "stopped")["so_far"]["steps"] <= 4
    random = [_state(tmp_path / "stopped")["random"]["cpu"], _state(tmp_path / "stopped")["other_random"][0]["cpu"]]
    assert not torch.equal(*random)  # each process has its own drop path
    _train(tmp_path / "stopped", recipe={"epochs": 1})
    _assert_same(tmp_path / "whole", tmp_path / "stopped")


ORPHANS = """
import multiprocessing, os, signal, sys
from pathlib import Path
from tests.training.test_supervision import _train

def tell(step):
    if step["step"] == 1:
        print(*[process.pid for process in multiprocessing.active_children()], flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    _train(Path(sys.argv[1]), recipe={"epochs": 1000}, progress=tell)
"""


@slow
def test_a_parent_that_is_killed_leaves_nobody(tmp_path: Path) -> None:
    (tmp_path / "orphans.py").write_text(ORPHANS)
    command = [sys.executable, str(tmp_path / "orphans.py"), str(tmp_path / "run")]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, "PYTHONPATH": os.getcwd()}
    )
    pids = [int(word) for word in run.stdout.split()]
    assert len(pids) == 2, run.stderr
    wait_for(lambda: not any(_runs(pid) for pid in pids))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False
