"""An objective for trials of two workers, who meet each epoch. It holds no tests."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling_lab import DetectorSpec, Recipe
from scaling_lab.study.run.trial import Report
from tests.study.engine import log, result

NCCL = "NCCL error in: NCCLUtils.cpp:94, unhandled system error"
RECIPE = Recipe.short(epochs=3, sync_norm=True)
TWO = {"workers_per_trial": 2, "cpus_per_trial": 2, "recipe": RECIPE}


@dataclass(frozen=True, kw_only=True)
class Shared:
    """An objective of a group: each epoch all workers meet; worker 1 ends by a topology's name.

    Each start notes which workers of other trials still live.
    """

    fail: Mapping[str, str]

    def __call__(self, spec: DetectorSpec, seed: int, folder: Path, report: Report) -> Mapping[str, Any]:
        import torch  # here, for the head, which reads this module as well, needs none

        from scaling_lab.training import group

        checkpoint = folder / "checkpoint.pt"
        done = int(checkpoint.read_text()) if checkpoint.exists() else 0
        with (folder / f"pids-{group.rank()}").open("a") as file:
            file.write(f"{os.getpid()} {os.getppid()}\n")
        metrics: dict[str, Any] = {}
        if group.rank() == 0:
            _note(folder, f"start at {done} beside {_others(folder)}")
        for epoch in range(done + 1, 4):
            how = self.fail.get(spec.topology.describe().split()[0])
            if group.rank() == 1 and how == "raise":
                raise ZeroDivisionError("as asked for")
            if group.rank() == 1 and how == "fault":
                raise torch.distributed.DistBackendError(NCCL)
            if group.rank() == 1 and how == "exit" and epoch == 2 and not (folder / "lost").exists():
                while not checkpoint.exists():  # the other worker writes it after its report
                    time.sleep(0.02)
                (folder / "lost").touch()
                os._exit(1)
            metrics = result(spec, seed, epoch) | {"workers": float(group.summed(torch.ones(1)))}
            if group.rank() == 0:
                _note(folder, f"epoch {epoch}")
                report(metrics)
                checkpoint.write_text(str(epoch))
        return metrics


def _note(folder: Path, line: str) -> None:
    with (folder / "log.txt").open("a") as file:
        file.write(f"{os.getpid()} {line}\n")


def _others(folder: Path) -> int:
    """Count the workers of other trials that still live, once those that are about to be gone have had a minute."""
    pids = [
        int(line.split()[0]) for path in folder.parent.glob("*/pids-*") if path.parent != folder for line in path.open()
    ]
    for _ in range(1200):
        left = [pid for pid in pids if _lives(pid)]
        if not left:
            break
        time.sleep(0.05)
    return len(left)


def _lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    return False


def words(out: Path, trial: int) -> list[str]:
    return [line.split(maxsplit=1)[1] for line in log(out / "trials" / str(trial))]
