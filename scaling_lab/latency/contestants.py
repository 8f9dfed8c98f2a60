"""Turns a spec into a call that runs its detector once under given conditions and waits for the result.

Weights are random and the same in every process, prepared by `for_inference`, which chooses the memory layout.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.cost.activation_memory import module_tensors, size
from scaling_lab.detection.exportable import DetectionLayer, detection_layer
from scaling_lab.errors import UserError, first_line
from scaling_lab.latency.conditions import Conditions
from scaling_lab.latency.spread_outputs import spread_outputs, textured_images
from scaling_lab.model import build, for_inference
from scaling_lab.model.detector import Detector
from scaling_lab.model.export import export_onnx
from scaling_lab.model.inference import PreparedDetector

Run = Callable[[], Any]

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Contestant:
    """A call that returns the detector's outputs, or boxes, scores, classes and count; and the bytes it holds."""

    run: Run
    held: int

    def __call__(self) -> Any:
        """Run once and wait for the device."""
        return self.run()


def prepare(spec: DetectorSpec, conditions: Conditions) -> Contestant:
    """Return the call. Errors of torch, a compiler or a backbone's code pass through."""
    return _onnxruntime(spec, conditions) if conditions.backend == "onnxruntime" else _torch(spec, conditions)


def prepare_or_tell(spec: DetectorSpec, conditions: Conditions) -> Contestant:
    """Return the call. Raises UserError with the spec and the reason where it cannot run."""
    try:
        return prepare(spec, conditions)
    except UserError:
        raise
    except torch.OutOfMemoryError:
        raise UserError(
            f"{spec.describe()} does not fit in the memory of {conditions.device}: {conditions.words()}"
        ) from None
    except Exception as error:
        raise UserError(f"{spec.describe()} cannot run ({conditions.words()}): {first_line(error)}") from error


@contextmanager
def used(conditions: Conditions) -> Iterator[None]:
    """Set this process to the conditions: a CPU's threads; on CUDA the device, and float32 without TF32.

    Settings are restored at the end, so that a trial that measured trains like the others.
    """
    threads, convolutions, products = (
        torch.get_num_threads(),
        torch.backends.cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
    )
    place = torch.cuda.device(conditions.device) if conditions.kind == "cuda" else nullcontext()
    try:
        with place:
            if conditions.kind == "cpu":
                torch.set_num_threads(conditions.threads)
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
            yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.cudnn.allow_tf32 = convolutions
        torch.backends.cuda.matmul.allow_tf32 = products


def detector_for(spec: DetectorSpec, conditions: Conditions) -> tuple[PreparedDetector, DetectionLayer | None]:
    """Build the detector with reproducible random weights, and the detection layer for end_to_end."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        detector = build(spec)
        if conditions.scope == "end_to_end":
            spread_outputs(detector)
        detector = for_inference(detector)
    layer = None
    if conditions.scope == "end_to_end":
        layer = detection_layer(detector, spec.image_size).to(conditions.device)
    return detector.to(conditions.device, DTYPES[conditions.dtype]), layer


def images_for(spec: DetectorSpec, conditions: Conditions) -> Tensor:
    """Return the same random images (batch, 3, height, width) every time, on the device."""
    images = textured_images(conditions.batch, *spec.image_size)
    return images.to(conditions.device, DTYPES[conditions.dtype])


def wait(device: str) -> None:
    """Wait until a device has finished its queue."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device.startswith("mps"):
        torch.mps.synchronize()


# --- torch -----------------------------------------------------------------------------------------------------------


def _torch(spec: DetectorSpec, conditions: Conditions) -> Contestant:
    (detector, layer), images = detector_for(spec, conditions), images_for(spec, conditions)
    network = _BACKENDS[conditions.backend](detector, images)

    def run() -> Any:
        with torch.inference_mode():
            outputs = network()
            if layer is not None:
                outputs = layer(*outputs)
        wait(conditions.device)
        return outputs

    run()
    return Contestant(run, size(module_tensors(detector)) + images.nbytes)


def _eager(detector: Detector, images: Tensor) -> Run:
    return lambda: detector(images)


def _compile(detector: Detector, images: Tensor) -> Run:
    # Dynamo caches programs with the code, which all detectors share, and silently falls back to eager mode at the ninth.
    torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = 100_000
    # For its own image size only: detectors share the code, and from the second size on it would be dynamic.
    compiled = torch.compile(detector, dynamic=False)
    return lambda: compiled(images)


def _cuda_graphs(detector: Detector, images: Tensor) -> Run:
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.inference_mode(), torch.cuda.stream(stream):
        for _ in range(3):
            detector(images)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.inference_mode(), torch.cuda.graph(graph):
        outputs = detector(images)

    def replay() -> Any:
        graph.replay()
        return outputs

    return replay


_BACKENDS: dict[str, Callable[[Detector, Tensor], Run]] = {
    "eager": _eager,
    "compile": _compile,
    "cuda_graphs": _cuda_graphs,
}

# --- ONNX Runtime ----------------------------------------------------------------------------------------------------


def _onnxruntime(spec: DetectorSpec, conditions: Conditions) -> Contestant:
    if importlib.util.find_spec("onnxruntime") is None:
        raise UserError("backend onnxruntime needs ONNX Runtime: pip install onnxruntime")
    import onnxruntime

    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}[conditions.kind]
    available = onnxruntime.get_available_providers()
    if provider not in available:
        raise UserError(f"the installed ONNX Runtime cannot use {conditions.device}; it has {', '.join(available)}")
    place = (conditions.kind, int(conditions.device.partition(":")[2] or 0))
    host = Conditions(batch=conditions.batch, scope=conditions.scope)
    detector, layer = detector_for(spec, host)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, conditions.threads)
    options.log_severity_level = 3
    settings = {"device_id": place[1], "use_tf32": 0} if conditions.kind == "cuda" else {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detector.onnx"
        export_onnx(detector, path, batch=conditions.batch, postprocessing=layer)
        session = onnxruntime.InferenceSession(path, options, providers=[(provider, settings)])
    binding = session.io_binding()  # images and outputs stay on the device
    images = onnxruntime.OrtValue.ortvalue_from_numpy(images_for(spec, host).numpy(), *place)
    binding.bind_ortvalue_input("images", images)
    for output in session.get_outputs():
        binding.bind_output(output.name, *place)

    def run() -> Any:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return binding.get_outputs()

    run()
    return Contestant(run, 0)
