"""One trial: every way to end is an outcome, and what was reported is told again after a kill."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from scaling_lab import Coco, Recipe, topologies
from scaling_lab.errors import UserError
from scaling_lab.runs.reader import FAILURE_KINDS
from scaling_lab.study.run.runner import training_objective
from scaling_lab.study.run.trial import Outcome, Stopped, run_trial
from scaling_lab.training import Diverged
from scaling_lab.training.out_of_memory import CONTEXT, fraction_of, limit_to
from tests.study.engine import ECC, Replayed, make_study, spec

FPN = spec(topologies.fpn(3, 7))


def run(objective: Any, folder: Path, report: Callable[[dict[str, Any]], None] = lambda metrics: None) -> Outcome:
    return run_trial(objective, spec=FPN, seed=0, folder=folder, report=report)


def raising(error: BaseException) -> Any:
    def objective(*_: Any) -> Mapping[str, Any]:
        raise error

    return objective


class OutOfMemoryError(RuntimeError):
    """As torch names its own."""


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (Diverged("the loss is not finite"), "diverged", "the loss is not finite"),
        (UserError("image 3 is truncated"), "bad_input", "image 3 is truncated"),
        (MemoryError(), "out_of_memory", "the machine is out of memory"),
        (OutOfMemoryError("CUDA out of memory.\nTried to"), "out_of_memory", "CUDA out of memory."),
        (KeyError("x"), "error", "KeyError: 'x'"),
        (RuntimeError("a\nb"), "error", "RuntimeError: a"),
        (AssertionError(), "error", "AssertionError"),
        (SystemExit(3), "error", "SystemExit: 3"),
        (torch.AcceleratorError(ECC), "device_fault", f"AcceleratorError: {ECC.splitlines()[0]}"),
        (
            torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
            "device_fault",
            "AcceleratorError: CUDA error: an illegal memory access was encountered",
        ),
        (torch.AcceleratorError("CUDA error: out of memory"), "out_of_memory", "CUDA error: out of memory"),
        (
            torch.AcceleratorError("CUDA error: device-side assert triggered"),
            "error",
            "AcceleratorError: CUDA error: device-side assert triggered",
        ),
        (
            dist.DistBackendError("NCCL error in: NCCLUtils.cpp:94, unhandled cuda error"),
            "device_fault",
            "DistBackendError: NCCL error in: NCCLUtils.cpp:94, unhandled cuda error",
        ),
        (
            dist.DistBackendError("NCCL error: invalid usage\nDuplicate GPU detected : rank 0 and rank 1"),
            "error",
            "DistBackendError: NCCL error: invalid usage",
        ),
        (
            dist.DistStoreError("Timed out after 1801 seconds waiting for clients"),
            "device_fault",
            "DistStoreError: Timed out after 1801 seconds waiting for clients",
        ),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
            "device_fault",
            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        ),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_INVALID_VALUE when calling `cublasSgemm`"),
            "error",
            "RuntimeError: CUDA error: CUBLAS_STATUS_INVALID_VALUE when calling `cublasSgemm`",
        ),
        (
            RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED_CUDART"),
            "device_fault",
            "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED_CUDART",
        ),
        (
            RuntimeError(f"worker 1 failed:\nTraceback (most recent call last):\ntorch.AcceleratorError: {ECC}\n"),
            "device_fault",
            f"torch.AcceleratorError: {ECC.splitlines()[0]}",
        ),
        (RuntimeError("No CUDA GPUs are available"), "device_fault", "No CUDA GPUs are available"),
        (UserError("image CUDA error: .png is truncated"), "bad_input", "image CUDA error: .png is truncated"),
    ],
)
def test_an_error_is_a_failure_with_a_kind(tmp_path: Path, error: BaseException, kind: str, message: str) -> None:
    outcome = run(raising(error), tmp_path / "new")
    assert (outcome.state, outcome.kind, outcome.message) == ("failed", kind, message)
    assert kind in FAILURE_KINDS
    assert "Traceback" in (tmp_path / "new" / "error.txt").read_text()


def test_ctrl_c_is_no_outcome(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(raising(KeyboardInterrupt()), tmp_path)


def test_a_complete_trial(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    outcome = run(Replayed(), tmp_path, told.append)
    assert outcome.state == "complete"
    assert outcome.device
    assert [metrics["epoch"] for metrics in told] == [1, 2, 3]
    assert outcome.metrics["ap"] == told[-1]["ap"]
    assert Outcome(**json.loads(json.dumps(outcome.to_dict()))).metrics["ap"] == outcome.metrics["ap"]


def test_a_number_that_is_not_finite_ends_the_trial_before_it_is_told(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    outcome = run(Replayed(fail={"fpn": "nan"}), tmp_path, told.append)
    assert (outcome.kind, outcome.message, told) == ("diverged", "loss is nan at epoch 1", [])


def test_final_metrics_are_checked_too(tmp_path: Path) -> None:
    assert run(lambda *_: {"ap": float("inf")}, tmp_path).message == "ap is inf at the end"
    assert run(lambda *_: None, tmp_path).message == "TypeError: the objective returned NoneType, not a dict of metrics"


def test_a_report_may_stop_the_trial(tmp_path: Path) -> None:
    def report(metrics: dict[str, Any]) -> None:
        raise Stopped

    assert run(Replayed(), tmp_path, report).state == "stopped"


def test_what_was_reported_before_a_kill_is_told_again(tmp_path: Path) -> None:
    def killed(metrics: dict[str, Any]) -> None:
        if metrics["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(Replayed(), tmp_path, killed)
    with (tmp_path / "epochs.jsonl").open("a") as file:
        file.write('{"epoch": 3, "cut sho')
    told: list[dict[str, Any]] = []
    assert run(Replayed(), tmp_path, told.append).state == "complete"
    assert [metrics["epoch"] for metrics in told] == [1, 2, 2, 3]


def test_without_a_checkpoint_a_trial_begins_anew(tmp_path: Path) -> None:
    run(Replayed(), tmp_path)
    (tmp_path / "checkpoint.pt").unlink()
    told: list[dict[str, Any]] = []
    run(Replayed(), tmp_path, told.append)
    assert [metrics["epoch"] for metrics in told] == [1, 2, 3]
    assert len((tmp_path / "epochs.jsonl").read_text().splitlines()) == 3


def test_workers_elsewhere_get_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    recipe = Recipe.short(epochs=3, pretrained="weights")
    for folder, expected in (("coco", "coco"), ("~/coco", "home/coco"), (str(tmp_path / "x"), "x")):
        study = make_study(data=Coco(folder=folder), recipe=recipe)
        training = training_objective(study, features=Path("features"))
        assert training.data["folder"] == str(tmp_path / expected)
        assert training.recipe["pretrained"] == str(tmp_path / "weights")
        assert training.features == str(tmp_path / "features")
        assert study.to_dict()["data"]["folder"] == folder  # what the ledger keeps
    assert training_objective(make_study()).data == make_study().data.to_dict()


def test_a_share_of_a_gpu_is_one_of_its_memory() -> None:
    total = 80 * 10**9
    shares = [training_objective(make_study(gpus_per_trial=gpus)).gpu_share for gpus in (0.25, 1)]
    assert shares == [0.25, 1.0]
    assert fraction_of(1.0, total) == 1.0
    # Four processes and their CUDA contexts fill the GPU.
    assert 4 * (fraction_of(0.25, total) * total + CONTEXT) == pytest.approx(total)
    assert fraction_of(0.05, 8 * 10**9) == 0.025


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_process_gets_no_more_than_its_share() -> None:
    total = torch.cuda.get_device_properties(0).total_memory
    try:
        limit_to(0.05)
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(int(0.06 * total), dtype=torch.uint8, device="cuda")
        torch.empty(int(0.02 * total), dtype=torch.uint8, device="cuda")
    finally:
        limit_to(1.0)
