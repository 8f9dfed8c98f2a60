"""What the engine's tests run: small spaces and objectives that take no training. They hold no tests."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from scaling_lab import DetectorSpec, Finalists, Halving, Recipe, Shapes, Study, topologies
from scaling_lab.cost import Cost, PartCost
from scaling_lab.data.readers import read_ahead
from scaling_lab.errors import UserError
from scaling_lab.machine import cores
from scaling_lab.runs.reader import Runs
from scaling_lab.study.run.runner import run_study
from scaling_lab.study.run.trial import Report, Stopped
from scaling_lab.training import Diverged

ROOT = Path(__file__).parents[2]
DATA = Shapes(train_images=16, val_images=8)
ECC = "CUDA error: uncorrectable ECC error encountered\nCUDA kernel errors might be asynchronously reported"


def space(trial: Any) -> DetectorSpec:
    """Six points of two parameters."""
    topology = trial.suggest_categorical("topology", ["none", "fpn", "bifpn"])
    width = trial.suggest_int("width", 16, 32, step=16)
    return spec(getattr(topologies, topology)(3, 7), width=width)


def one_of_three(trial: Any) -> DetectorSpec:
    """Three points of one parameter."""
    return spec(getattr(topologies, trial.suggest_categorical("topology", ["none", "fpn", "bifpn"]))(3, 7))


def spec(topology: Any, *, width: int = 16) -> DetectorSpec:
    return DetectorSpec(
        backbone="mobilenetv3_small_050", topology=topology, width=width, repeats=1, head_repeats=1, image_size=(64, 64)
    )


def make_study(**changes: Any) -> Study:
    values: dict[str, Any] = {
        "question": "Does the engine work?",
        "space": space,
        "data": DATA,
        "recipe": Recipe.short(epochs=3),
        "sampler": "grid",
    }
    return Study(**{**values, **changes})


def count(spec: DetectorSpec) -> Cost:
    """A cost that depends on the spec and needs no backbone: what is tested is what becomes of it."""
    part = PartCost(params=spec.width * 1000, macs=spec.width * 10**7 * (1 + len(spec.topology.nodes)), activations=0)
    memory = spec.width * 10**5
    parts = {"backbone": part, "feature_network": part, "heads": part}
    return Cost(**part.numbers(), memory=memory, activation_memory=memory, **parts)


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """An objective that keeps a checkpoint, and fails on demand by a topology's name.

    Trials from the number `hold` on wait after the first epoch of each start: they are to be stopped there, or until the
    run's folder has a file "release". One that is stopped early takes `linger` seconds to end. Each epoch takes `pause`
    seconds, and writes `ballast` bytes.
    """

    hold: int | None = None
    fail: Mapping[str, str] | None = None
    linger: float = 0.0
    pause: float = 0.0
    ballast: int = 0

    def __call__(self, spec: DetectorSpec, seed: int, folder: Path, report: Report) -> Mapping[str, Any]:
        checkpoint = folder / "checkpoint.pt"
        done = int(checkpoint.read_text()) if checkpoint.exists() else 0
        _log(folder, f"start at {done}")
        metrics: dict[str, Any] = {}
        for epoch in range(done + 1, 4):
            metrics = result(spec, seed, epoch)
            time.sleep(self.pause)
            self._fail(spec, metrics, folder)
            _log(folder, f"epoch {epoch}")
            try:
                report(metrics)
            except Stopped:
                time.sleep(self.linger)
                raise
            (folder / "ballast").write_bytes(b"x" * self.ballast)
            _write_whole(checkpoint, str(epoch))
            while (
                self.hold is not None and int(folder.name) >= self.hold and not (folder.parents[1] / "release").exists()
            ):
                time.sleep(0.02)
        return metrics or result(spec, seed, 3)

    def _fail(self, spec: DetectorSpec, metrics: dict[str, Any], folder: Path) -> None:
        name = spec.topology.describe().split()[0]
        how = (self.fail or {}).get(name)
        if how == "nan":
            metrics["loss"] = float("nan")
        elif how == "none":
            metrics["ap"] = None
        elif how == "raise":
            raise ZeroDivisionError("as asked for")
        elif how == "diverged":
            raise Diverged("the loss is not finite at epoch 1")
        elif how == "memory":
            raise MemoryError
        elif how == "bad_input":
            raise UserError("image 3 is truncated")
        elif how == "exit":
            os._exit(1)
        elif how == "allocate":
            _allocate()
        elif how == "hang" and metrics["epoch"] == 2:
            _hang()
        elif how == "reader" or (how == "reader_once" and metrics["epoch"] == 2 and len(log(folder)) == 2):
            list(read_ahead(_killed, 1, shape=(1, 1, 1, 3), workers=1))
        elif how == "loop" and metrics["epoch"] == 2:
            _loop()
        elif how in FAULTS and FAULTS[how](metrics["epoch"], folder):
            raise torch.AcceleratorError(ECC)


# When a GPU fails, given the epoch and the trial's folder.
FAULTS: dict[str, Callable[[int, Path], bool]] = {
    "fault": lambda epoch, folder: True,
    "fault_once": lambda epoch, folder: epoch == 2 and len(log(folder)) == 2,
    "fault_of_gpu_0": lambda epoch, folder: os.environ["CUDA_VISIBLE_DEVICES"] == "0",
}


def _killed(number: int, pixels: object) -> None:
    """Be a reader that the system kills."""
    os.kill(os.getpid(), signal.SIGKILL)


def _hang() -> None:
    """C code that gives Python back to nobody: no exception and no signal handler reaches this process."""
    re.match("(a+)+$", "a" * 60 + "b")


def _loop() -> None:
    """Code that lets no error out."""
    while True:
        with contextlib.suppress(Exception):
            time.sleep(0.01)


def _allocate() -> None:
    """Ask torch for more memory than this process may have."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 2**28, before[1]))
    try:
        torch.ones(2**30)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def result(spec: DetectorSpec, seed: int, epoch: int) -> dict[str, Any]:
    ap = spec.width + seed + epoch + len(spec.topology.nodes) / 10
    classes = {"a": ap, "b": float("nan")}
    return {
        "epoch": epoch,
        "epochs": 3,
        "loss": 1.0 / epoch,
        "ap": ap,
        "ap50": ap + 1,
        "ap_small": None,
        "ap_by_class": classes,
    }


def start_driver(out: Path, *, executor: str, **options: Any) -> subprocess.Popen[str]:
    """Run a driver in a session of its own, so that signals to its process group reach nobody else; see `main`."""
    arguments = json.dumps({"out": str(out), "executor": executor, **options})
    command = [sys.executable, "-m", "tests.study.engine", arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, cwd=ROOT
    )


def wait_for(condition: Callable[[], Any], *, seconds: float = 300.0) -> Any:
    """Wait for what is to come; the limit is for a test that fails, far beyond what a stalled machine takes."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)
    return value


def some_cores(executor: str) -> int | None:
    """Give two cores for Ray where there are two: a worker for each of many would take long to start."""
    return min(2, cores()) if executor == "ray" else None


def log(folder: Path) -> list[str]:
    return (folder / "log.txt").read_text().splitlines()


def _log(folder: Path, line: str) -> None:
    with (folder / "log.txt").open("a") as file:
        file.write(f"{os.getpid()} {line}\n")


def _write_whole(path: Path, text: str) -> None:
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)


def assert_each_epoch_once(lines: list[str]) -> None:
    """Each start goes on from a checkpoint; an epoch is run again only if the kill came before its checkpoint."""
    words = [line.split(maxsplit=1)[1] for line in lines]
    done = 0
    for word in words:
        number = int(word.split()[-1])
        if word.startswith("start"):
            assert number in (done, done - 1)
            done = number
        else:
            assert number == done + 1
            done = number
    assert done == 3


def rows(run: Path) -> list[dict[str, Any]]:
    """What must not depend on the executor, nor on how often the driver was killed."""
    table = Runs(run).table()
    names = [
        "architecture",
        "seed",
        "role",
        "state",
        "failure_kind",
        "failure_message",
        "epochs_done",
        "ap",
        "ap50",
        "ap_small",
    ]
    return json.loads(table[names].to_json(orient="records"))


def ended(out: Path) -> dict[int, dict[str, Any]]:
    """The rows of trials that have ended, whole: with the seconds that they took and when they ended."""
    table = Runs(out).table()
    ended = table[table["state"] == "complete"].astype(object)
    return {row["trial"]: row for row in ended.where(ended.notna(), None).to_dict(orient="records")}


def main() -> int:
    """A driver to be killed: run what the first argument says, as JSON."""
    options = json.loads(sys.argv[1])
    study = options.get("study", {})
    for name, rule in (("stopping", Halving), ("finalists", Finalists)):
        if name in study:
            study[name] = rule(**study[name])
    try:
        run_study(
            make_study(**study),
            out=options["out"],
            executor=options["executor"],
            address=options.get("address"),
            at_once=options.get("at_once"),
            cpus=None
            if "address" in options or options["executor"] == "local"
            else options.get("cpus", some_cores("ray")),
            count=count,
            objective=Replayed(**options.get("objective", {})),
            retry_failed=options.get("retry_failed", False),
        )
    except UserError as error:
        print(error)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
