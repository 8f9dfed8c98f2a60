"""Exports a detector to a file for other programs: ONNX, or torch.export's own format.

The graph is for one image size; its batch is fixed or, on request, dynamic.
"""

from __future__ import annotations

import copy
import dataclasses
import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scaling_lab.checks import check_whole
from scaling_lab.errors import UserError
from scaling_lab.files import check_writable, whole_file, whole_stream
from scaling_lab.model.detector import Detector

# From the opset of torch's own translations to the last known to torch 2.11.
OPSETS = range(18, 24)
PACKAGES = ("onnx", "onnxscript")

Translations = Mapping[Callable[..., Any], Callable[..., Any]]


class Postprocessing(Protocol):
    """A module after the detector in the graph, such as detection.exportable's DetectionLayer."""

    @property
    def image_size(self) -> tuple[int, int]:
        """The (height, width) of its images."""

    @property
    def output_names(self) -> Sequence[str]:
        """The names of its outputs."""

    def __call__(self, class_logits: list[Tensor], box_deltas: list[Tensor]) -> tuple[Tensor, ...]:
        """Map the detector's two lists to the outputs."""

    def onnx_translations(self) -> Translations:
        """Return ONNX translations of operators unknown to torch."""


def export_onnx(
    detector: Detector,
    path: str | Path,
    *,
    image_size: tuple[int, int] | None = None,
    batch: int = 1,
    dynamic_batch: bool = False,
    postprocessing: Postprocessing | None = None,
    opset: int = OPSETS[0],
) -> None:
    """Write an ONNX file: input "images" (B, 3, H, W), normalised; outputs class_logits_p3 …, box_deltas_p3 …

    `image_size` (height, width) defaults to the spec's. With `postprocessing` the outputs are its own. With `dynamic_batch`
    the file accepts any number of images. The file's metadata has the spec as JSON under "spec", and the class names, if
    known, under "class_names". Weights beyond ONNX's 2 GB are in a second file next to it.

    Raises UserError where onnx or onnxscript is not installed, and for invalid settings. Raises WriteError for a failed
    write, such as on a full disk; an older file of that name is then kept.
    """
    if opset not in OPSETS:
        raise UserError(f"opset is {opset!r}; allowed are {OPSETS[0]} to {OPSETS[-1]}")
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"ONNX export needs {' and '.join(missing)}: pip install {' '.join(missing)}")
    module, images, shapes = _prepared(detector, path, image_size, batch, dynamic_batch, postprocessing)
    translations = {**_translations(), **(postprocessing.onnx_translations() if postprocessing else {})}
    program = torch.onnx.export(
        module,
        (images,),
        dynamic_shapes=shapes,
        input_names=["images"],
        output_names=_output_names(detector, postprocessing),
        opset_version=opset,
        custom_translation_table=translations,
        verbose=False,
    )
    assert program is not None
    program.model.metadata_props["spec"] = _spec_json(detector, images)
    if detector.class_names is not None:
        program.model.metadata_props["class_names"] = json.dumps(detector.class_names)
    size = sum(tensor.nbytes for tensor in module.state_dict().values())
    with whole_file(Path(path), lasting=True) as made:
        program.save(made, external_data=size > 2e9)


def export_program(
    detector: Detector,
    path: str | Path,
    *,
    image_size: tuple[int, int] | None = None,
    batch: int = 1,
    dynamic_batch: bool = False,
    postprocessing: Postprocessing | None = None,
) -> None:
    """Write a .pt2 file for torch.export.load, from images (B, 3, H, W), normalised, to the detector's outputs.

    Arguments as in `export_onnx`. The extra file "spec.json" holds the spec, "class_names.json" the class names, if known.
    With `postprocessing` the batch is fixed, and torchvision must be imported before the file is loaded. Raises UserError
    and WriteError like `export_onnx`.
    """
    if dynamic_batch and postprocessing:
        raise UserError("a .pt2 file with post-processing needs a fixed batch; allowed is .onnx or a fixed batch")
    module, images, shapes = _prepared(detector, path, image_size, batch, dynamic_batch, postprocessing)
    program = torch.export.export(module, (images,), dynamic_shapes=shapes)
    extra = {"spec.json": _spec_json(detector, images)}
    if detector.class_names is not None:
        extra["class_names.json"] = json.dumps(detector.class_names)
    with whole_stream(Path(path), lasting=True) as stream:
        torch.export.save(program, stream, extra_files=extra)


class _Exported(nn.Module):
    """The exported module: the detector, and the post-processing, if any."""

    def __init__(self, detector: Detector, postprocessing: Postprocessing | None) -> None:
        super().__init__()
        self.detector = detector
        self.postprocessing = postprocessing

    def forward(self, images: Tensor) -> Any:
        outputs = self.detector(images)
        return self.postprocessing(*outputs) if self.postprocessing else outputs


def _prepared(
    detector: Detector,
    path: str | Path,
    image_size: tuple[int, int] | None,
    batch: int,
    dynamic_batch: bool,
    postprocessing: Postprocessing | None,
) -> tuple[_Exported, Tensor, Any]:
    """Return the exported module, on the CPU and for inference, its example input and dynamic shapes."""
    height, width = image_size or detector.spec.image_size
    for name, value in (("image height", height), ("image width", width), ("batch", batch)):
        check_whole(name, value, least=1)
    if postprocessing and postprocessing.image_size != (height, width):
        made_for = "{}x{}".format(*postprocessing.image_size)
        raise UserError(f"the post-processing is for images of {made_for}, but the file is for {height}x{width}")
    check_writable(Path(path))
    module = copy.deepcopy(_Exported(detector, postprocessing)).cpu().eval().requires_grad_(False)
    # torch.export would treat a batch of 1 as fixed.
    images = torch.zeros(max(batch, 2) if dynamic_batch else batch, 3, height, width)
    return module, images, {"images": {0: torch.export.Dim("batch")}} if dynamic_batch else None


def _spec_json(detector: Detector, images: Tensor) -> str:
    """Return the JSON of the exported spec, with its image size."""
    height, width = images.shape[2:]
    return dataclasses.replace(detector.spec, image_size=(height, width)).to_json()


def _output_names(detector: Detector, postprocessing: Postprocessing | None) -> list[str]:
    if postprocessing:
        return list(postprocessing.output_names)
    levels = detector.spec.topology.levels
    return [f"{name}_p{level}" for name in ("class_logits", "box_deltas") for level in levels]


# --- operators with another meaning in ONNX --------------------------------------------------------------------------


def _translations() -> Translations:
    return {torch.ops.aten.upsample_nearest2d.vec: _onnx_upsample_nearest}


def _onnx_upsample_nearest(
    x_BCHW: Any, output_size: Sequence[int] | None = None, scale_factors: Sequence[float] | None = None
) -> Any:
    """Repeat pixels with ONNX's Resize where the sizes divide, else gather torch's pixels by index.

    For other sizes, the nearest pixel depends on a runtime's rounding; ONNX Runtime differs, for example from 28 to 114.
    """
    from onnxscript import opset18

    op: Any = opset18  # typed for onnxscript's compiler, which is not used here
    sides = x_BCHW.shape[2:]
    if output_size is None:
        assert scale_factors is not None
        output_size = [int(side * factor) for side, factor in zip(sides, scale_factors, strict=True)]
    nearest = [_nearest(before, after) for before, after in zip(sides, output_size, strict=True)]
    repeats = [max(after // before, 1) for before, after in zip(sides, output_size, strict=True)]
    repeated = [[i // times for i in range(side * times)] for side, times in zip(sides, repeats, strict=True)]
    if nearest == repeated:
        scales = op.Constant(value_floats=[1.0, 1.0, *map(float, repeats)])
        return op.Resize(
            x_BCHW, None, scales, mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric"
        )
    for axis, pixels in enumerate(nearest, start=2):
        x_BCHW = op.Gather(x_BCHW, op.Constant(value_ints=pixels), axis=axis)
    return x_BCHW


def _nearest(before: int, after: int) -> list[int]:
    """Return the index of the pixel that torch repeats at each of `after` positions."""
    pixels = torch.arange(before, dtype=torch.float64)[None, None]
    return [int(pixel) for pixel in F.interpolate(pixels, size=after, mode="nearest").flatten()]
