from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from scaling_lab import count, efficientdet
from scaling_lab.cli.parsing import usable_device
from scaling_lab.errors import UserError
from scaling_lab.latency import Conditions, device, quiet
from scaling_lab.latency.contestants import images_for, prepare
from scaling_lab.latency.device import Others, device_name, free_memory, gpu_use, versions
from scaling_lab.latency.peak_memory import peak_memory
from scaling_lab.machine import hidden_gpus


@pytest.fixture
def _another_program() -> Iterator[None]:
    """Compute beside this process, and as no child of it."""
    code = "import os, time\nif os.fork(): os._exit(0)\nprint(os.getpid(), flush=True)\nend = time.time() + 60\n"
    code += "while time.time() < end: pass\n"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        yield
        os.kill(pid, 9)


@pytest.mark.usefixtures("_another_program")
def test_a_busy_processor_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"the processor is busy: other programs use \S+ cores; measure when nothing else"
    ):
        quiet.refuse_busy(Conditions(), print)


@pytest.mark.usefixtures("_another_program")
def test_what_others_use_is_told_from_what_we_do() -> None:
    others = Others()
    end = time.perf_counter() + 1.0
    while time.perf_counter() < end:
        pass
    assert others.cores() > 0.3


def test_what_we_do_is_not_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second in which the machine was busy for 1.5 seconds, 1.2 of them by us."""
    readings = {"_busy": iter([100.0, 101.5]), "_own": iter([7.0, 8.2])}
    for name, values in readings.items():
        monkeypatch.setattr(device, name, lambda values=values: next(values))
    clock = iter([50.0, 51.0])
    monkeypatch.setattr(device.time, "perf_counter", lambda: next(clock))
    assert Others().cores() == pytest.approx(0.3)


def test_a_device_that_is_not_there_is_refused() -> None:
    quiet.refuse_absent(Conditions())
    with pytest.raises(UserError, match=r"the device cuda:97 cannot be used: "):
        quiet.refuse_absent(Conditions(device="cuda:97"))
    with pytest.raises(UserError, match=r"threads is 100000; allowed are 1 to \d+, the cores"):
        quiet.refuse_absent(Conditions(threads=100_000))


def nvidia_smi(folder: Path, monkeypatch: pytest.MonkeyPatch, printed: str, code: int = 0) -> None:
    """Put a program of that name first on the path."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{printed}'\nexit {code}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.usefixtures("_another_program")
def test_of_a_gpu_its_own_load_is_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "gpu_identity", lambda device: "GPU-1")
    said: list[str] = []
    nvidia_smi(tmp_path, monkeypatch, "3\\n")
    quiet.refuse_busy(Conditions(device="cuda"), said.append)
    (note,) = said
    assert "cores; small networks wait for the processor that starts their kernels" in note
    nvidia_smi(tmp_path, monkeypatch, "97\\n")
    with pytest.raises(UserError, match="cuda is busy: 97% utilisation; measure when nothing else runs"):
        quiet.refuse_busy(Conditions(device="cuda"), said.append)


@pytest.mark.parametrize(("printed", "code", "expected"), [("97", 0, 0.97), ("[N/A]", 0, None), ("97", 9, None)])
def test_a_gpus_use_is_what_nvidia_smi_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: str, code: int, expected: float | None
) -> None:
    nvidia_smi(tmp_path, monkeypatch, printed, code)
    assert gpu_use("GPU-1") == expected


def test_a_gpus_use_is_unknown_without_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_use("GPU-1") is None


def test_gpus_that_torch_does_not_see_are_named_with_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    nvidia_smi(tmp_path, monkeypatch, "550.54.15\\n550.54.15\\n")
    expected = (
        "nvidia-smi sees 2 GPUs, torch none: torch's CUDA 13.2 needs driver 580 or newer, and the driver is 550.54.15; "
    )
    found = hidden_gpus(0, "13.2")
    assert found == expected + "update the driver, or install torch for another CUDA (see pytorch.org/get-started)"
    assert "the driver is 550.54.15; `python -c" in str(hidden_gpus(1, "12.8"))
    assert hidden_gpus(2, "13.2") is None
    assert "torch 1: torch is built without CUDA" in str(hidden_gpus(1, None))
    if not torch.cuda.is_available():
        assert usable_device(None).type == "cpu"
        assert capsys.readouterr().err.startswith("using the processor: nvidia-smi sees 2 GPUs, torch none: ")
    for hiding, seen in (("", 0), ("-1", 0), ("1", 1)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hiding)
        assert hidden_gpus(seen, "13.2") is None


def test_a_processor_has_a_name_and_free_memory() -> None:
    assert device_name("cpu")
    assert 1e6 < free_memory("cpu") < 1e15
    assert versions(Conditions()) == {"torch": torch.__version__, "cuda": None}
    assert "onnxruntime" in versions(Conditions(backend="onnxruntime"))


@pytest.mark.parametrize("batch", [1, 3])
def test_the_peak_is_at_most_what_was_counted(batch: int) -> None:
    """Both are of torch's tensors; oneDNN's scratch memory is in neither. A prepared detector pads without a copy."""
    spec = dataclasses.replace(efficientdet("d0"), image_size=(128, 128))
    conditions = Conditions(batch=batch)
    contestant = prepare(spec, conditions)
    measured = peak_memory(contestant, conditions, contestant.held)
    images = images_for(spec, conditions).nbytes
    assert measured is not None
    weights, activations = contestant.held - images, batch * count(spec).activation_memory
    assert 0.6 * activations <= 1e6 * measured - weights <= 1.03 * activations


def test_nobody_tells_the_peak_of_onnx_runtime() -> None:
    assert peak_memory(lambda: None, Conditions(backend="onnxruntime"), 1) is None
