"""Exported files run elsewhere and give what torch gives.

Every topology with every fusion at several sizes takes some 25 minutes:
`.venv/bin/python -m pytest -m slow tests/model/test_export.py`.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from scaling_lab import Anchors, DetectorSpec, Node, Topology, build, topologies
from scaling_lab.architecture import FUSIONS
from scaling_lab.architecture.published import PUBLISHED
from scaling_lab.architecture.spec import HEADS
from scaling_lab.detection import detect
from scaling_lab.detection.exportable import detection_layer
from scaling_lab.errors import UserError
from scaling_lab.model import Detector
from scaling_lab.model.export import export_onnx, export_program
from search_spaces.compound import SMALL

WITH_HEADS = dataclasses.replace(SMALL.base, width=16, repeats=1, num_classes=3)
BASE = dataclasses.replace(WITH_HEADS, head_repeats=0)
TOLERANCE = 1e-4

# One node of each kind, and one that fuses nothing.
ALL_FUSIONS = Topology(
    3,
    6,
    (
        Node(5, (2, 3), "sum"),
        Node(4, (1, 4, 0), "mean"),
        Node(3, (0, 5, 3), "fast"),
        Node(4, (5, 6), "softmax"),
        Node(5, (4, 7), "unbounded"),
        Node(6, (3, 8, 6), "channel_fast"),
        Node(5, (8, 9), "channel_softmax"),
        Node(4, (7, 10, 6), "attention_max"),
        Node(3, (6, 11, 9), "attention_avg"),
        Node(6, (9,), "fast"),
    ),
)
JUMP = Topology(2, 4, (Node(2, (0, 2), "sum"),))


def _detector(spec: DetectorSpec, size: tuple[int, int]) -> Detector:
    """Build a detector with the batch norms of a trained one, random fusion weights, and outputs of scale 1."""
    torch.manual_seed(0)
    detector = build(spec)
    for name, parameter in detector.named_parameters():
        if "fusion.weights" in name:
            nn.init.uniform_(parameter, 0.2, 2.0)
    for module in detector.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    for head in (detector.class_head, detector.box_head):
        convolutions = [module for module in head.modules() if isinstance(module, nn.Conv2d)]
        nn.init.zeros_(convolutions[-1].bias)  # type: ignore[arg-type]
    with torch.no_grad():
        detector.train()(torch.randn(4, 3, *size))
    return detector.eval()


def _run_onnx(path: Path, images: Tensor) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    outputs = session.run(None, {"images": images.numpy()})
    return dict(zip([output.name for output in session.get_outputs()], outputs, strict=True))


@torch.no_grad()
def _largest_difference(detector: Detector, images: Tensor, outputs: dict[str, np.ndarray]) -> float:
    """Give the largest difference from torch at any level, relative to the level's largest value."""
    class_logits, box_deltas = detector(images)
    names = [f"{kind}_p{level}" for kind in ("class_logits", "box_deltas") for level in detector.spec.topology.levels]
    assert list(outputs) == names
    differences = []
    for expected, given in zip([*class_logits, *box_deltas], outputs.values(), strict=True):
        assert given.shape == tuple(expected.shape)
        scale = expected.abs().max().item()
        assert scale > 0.05
        differences.append(np.abs(given - expected.numpy()).max() / scale)
    return float(max(differences))


@pytest.mark.parametrize(
    ("topology", "size", "padding"),
    [
        pytest.param(ALL_FUSIONS, (97, 131), "symmetric", id="all fusions"),
        pytest.param(
            topologies.panet(3, 7),
            (107, 33),
            "same",
            id="levels of one pixel, sizes rounded down",
            marks=pytest.mark.slow,
        ),
        # From 28 rows to 114 the pixel that is nearest depends on how a runtime rounds.
        pytest.param(JUMP, (456, 64), "same", id="a jump that does not divide", marks=pytest.mark.slow),
    ],
)
def test_onnx_runtime_gives_torchs_outputs(
    topology: Topology, size: tuple[int, int], padding: str, tmp_path: Path
) -> None:
    detector = _detector(dataclasses.replace(BASE, topology=topology, padding=padding), size)
    detector.class_names = ("größe", "dog")
    export_onnx(detector, tmp_path / "model.onnx", image_size=size, dynamic_batch=True)
    for batch in (1, 3):
        images = torch.randn(batch, 3, *size)
        outputs = _run_onnx(tmp_path / "model.onnx", images)
        assert _largest_difference(detector, images, outputs) < TOLERANCE
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    metadata = {entry.key: entry.value for entry in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert DetectorSpec.from_json(metadata["spec"]) == dataclasses.replace(detector.spec, image_size=size)
    assert json.loads(metadata["class_names"]) == ["größe", "dog"]


@pytest.mark.slow
def test_a_head_of_points_exports_as_any(tmp_path: Path) -> None:
    detector = _detector(dataclasses.replace(WITH_HEADS, topology=topologies.none(3, 4), head="points"), (97, 131))
    export_onnx(detector, tmp_path / "model.onnx", image_size=(97, 131), batch=2)
    images = torch.randn(2, 3, 97, 131)
    outputs = _run_onnx(tmp_path / "model.onnx", images)
    assert [(outputs[f"{name}_p3"].shape[1]) for name in ("class_logits", "box_deltas")] == [3, 4]
    assert _largest_difference(detector, images, outputs) < TOLERANCE
    metadata = {entry.key: entry.value for entry in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert DetectorSpec.from_json(metadata["spec"]).head == "points"


def test_torch_loads_the_program_and_gives_the_same_outputs(tmp_path: Path) -> None:
    detector = _detector(dataclasses.replace(BASE, topology=ALL_FUSIONS, padding="same"), (97, 131)).train()
    before = {name: tensor.clone() for name, tensor in detector.state_dict().items()}
    detector.class_names = ("größe", "dog")
    export_program(detector, tmp_path / "model.pt2", image_size=(97, 131), dynamic_batch=True)
    assert detector.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in detector.state_dict().items())
    files = {"spec.json": "", "class_names.json": ""}
    program = torch.export.load(tmp_path / "model.pt2", extra_files=files).module()
    assert DetectorSpec.from_json(files["spec.json"]) == dataclasses.replace(detector.spec, image_size=(97, 131))
    assert json.loads(files["class_names.json"]) == ["größe", "dog"]
    detector.eval()
    for batch in (1, 3):
        images = torch.randn(batch, 3, 97, 131)
        torch.testing.assert_close(program(images), detector(images))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("kind", [pytest.param("onnx", marks=pytest.mark.slow), "pt2"])
@pytest.mark.filterwarnings("ignore:.create_unbacked_symint:FutureWarning")  # torchvision's
@torch.no_grad()
def test_post_processing_in_the_graph_gives_the_detections(kind: str, head: str, tmp_path: Path) -> None:
    size, path = (97, 131), tmp_path / f"model.{kind}"
    spec = dataclasses.replace(WITH_HEADS, topology=topologies.bifpn(3, 5), anchors=Anchors(scale=6.0), head=head)
    detector = _detector(spec, size)
    for parameter in detector.box_head.predict.parameters():
        parameter.mul_(0.1)  # boxes near their anchors overlap
    if head == "points":
        detector.box_head.predict.pointwise.bias.add_(1.0)  # type: ignore[union-attr, operator]
    settings: dict[str, Any] = {"candidates": 500, "iou_threshold": 0.3, "most": 60}
    layer = detection_layer(detector, size, **settings)
    images = torch.randn(2, 3, *size)
    if kind == "onnx":
        export_onnx(detector, path, image_size=size, dynamic_batch=True, postprocessing=layer)
        outputs = {name: torch.from_numpy(values) for name, values in _run_onnx(path, images).items()}
    else:
        export_program(detector, path, image_size=size, batch=2, postprocessing=layer)
        outputs = dict(zip(layer.output_names, torch.export.load(path).module()(images), strict=True))
    for image, found in enumerate(detect(*detector(images), spec, size, **settings)):
        assert -found.scores_D.diff().max() > 5e-6  # far enough apart that rounding does not change the order
        assert found.labels_D.unique().tolist() == [0, 1, 2]
        count = len(found.scores_D)
        assert outputs["count"][image] == count < 60  # of 500 candidates most are suppressed, and the end is padded
        assert outputs["classes"][image].tolist() == [*found.labels_D.tolist(), *[-1] * (60 - count)]
        for name, expected in (("scores", found.scores_D), ("boxes", found.boxes_D4)):
            scale = expected.abs().max().item()
            torch.testing.assert_close(outputs[name][image][:count], expected, atol=TOLERANCE * scale, rtol=0)
            assert not outputs[name][image][count:].any()


def test_the_package_to_install_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"onnxscript: pip install onnxscript"):
        export_onnx(build(BASE), tmp_path / "model.onnx")


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    detector = build(BASE)
    with pytest.raises(UserError, match=r"there is no folder .*missing"):
        export_program(detector, tmp_path / "missing" / "model.pt2")
    with pytest.raises(UserError, match="batch is 0; allowed are whole numbers from 1"):
        export_onnx(detector, tmp_path / "model.onnx", batch=0)
    with pytest.raises(UserError, match="opset is 11; allowed are 18 to 23"):
        export_onnx(detector, tmp_path / "model.onnx", opset=11)
    layer = detection_layer(detector, (64, 64))
    with pytest.raises(UserError, match="with post-processing needs a fixed batch"):
        export_program(detector, tmp_path / "a.pt2", image_size=(64, 64), dynamic_batch=True, postprocessing=layer)
    with pytest.raises(UserError, match="the post-processing is for images of 64x64, but the file is for 128x128"):
        export_onnx(detector, tmp_path / "model.onnx", postprocessing=layer)


# --- all of them -----------------------------------------------------------------------------------------------------


def _with_fusion(topology: Topology, fusion: str) -> Topology:
    """Give every node the fusion, save nodes of one input that cannot have it."""
    nodes = [
        node if FUSIONS[fusion].ordered_inputs and len(node.inputs) == 1 else dataclasses.replace(node, fusion=fusion)
        for node in topology.nodes
    ]
    return dataclasses.replace(topology, nodes=tuple(nodes))


@pytest.mark.long
@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize(
    ("size", "padding", "batch"),
    [
        ((128, 128), "same", 1),
        ((97, 131), "symmetric", 2),
        ((107, 200), "same", 2),
        ((33, 47), "symmetric", 1),
    ],
)
def test_every_topology_fusion_and_size(
    name: str, fusion: str, size: tuple[int, int], padding: str, batch: int, tmp_path: Path
) -> None:
    if name == "none" and fusion != FUSIONS[0]:
        pytest.skip("no nodes, no fusion")
    topology = _with_fusion(PUBLISHED[name](3, 7), fusion)
    detector = _detector(dataclasses.replace(BASE, topology=topology, padding=padding), size)
    images = torch.randn(batch, 3, *size)
    export_onnx(detector, tmp_path / "model.onnx", image_size=size, batch=batch)
    difference = _largest_difference(detector, images, _run_onnx(tmp_path / "model.onnx", images))
    assert difference < TOLERANCE
    export_program(detector, tmp_path / "model.pt2", image_size=size, batch=batch)
    program = torch.export.load(tmp_path / "model.pt2").module()
    torch.testing.assert_close(program(images), detector(images))
