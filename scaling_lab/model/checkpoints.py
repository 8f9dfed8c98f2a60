"""Weights from a file into a built detector: our own, or those of any model that effdet defines. It writes none."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scaling_lab.architecture.effdet import effdet_name, effdet_spec
from scaling_lab.architecture.naming import spec_by_name
from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.architecture.topology import Topology
from scaling_lab.checks import check_whole
from scaling_lab.errors import UserError
from scaling_lab.model.detector import Detector, build
from scaling_lab.model.weights_file import find_tensors, read_file

_SHOWN = 10


def load_checkpoint(
    name_or_spec: str | DetectorSpec | None, file: str | Path, num_classes: int | None = None
) -> Detector:
    """Build a detector and give it the weights in a file: .safetensors, or what torch.save wrote (tensors only).

    `name_or_spec` is a spec, a released model ("d0"), one of effdet's ("tf_efficientdet_d0"), a spec's JSON file, or None
    where the file says it: one of ours, or one with effdet's name. Weights may have our names or effdet's, with averaged
    weights preferred where a file holds both. The number of classes is the file's. Where `num_classes` is another, the last
    layer of the class head starts anew, to be trained. Call `.eval()` on the detector for inference.

    Raises UserError for a file that cannot be read, for tensors that are missing, too many, of another shape or not finite,
    and for a model's name where the file's own name says another that has the same tensors, but other anchors or pixels.
    """
    if num_classes is not None:
        check_whole("num_classes", num_classes, least=1)
    path = Path(file)
    read = read_file(path)
    spec = _spec(name_or_spec, path, read)
    state = _our_names(find_tensors(read, path), spec.topology)
    classes_there = _classes(state, spec)
    detector = build(dataclasses.replace(spec, num_classes=num_classes or classes_there or spec.num_classes))
    if num_classes and num_classes != classes_there:
        state = {name: tensor for name, tensor in state.items() if not name.startswith("class_head.predict.")}
        new = {n: t for n, t in detector.state_dict().items() if n.startswith("class_head.predict.")}
        state.update(new)
    _check_fit(detector, state, path, name_or_spec)
    detector.load_state_dict(state, strict=False)
    return detector


def _spec(name_or_spec: str | DetectorSpec | None, path: Path, read: Mapping[str, Any]) -> DetectorSpec:
    if isinstance(name_or_spec, DetectorSpec):
        return name_or_spec
    own = _own_spec(path, read)
    if name_or_spec is None:
        if own is None:
            raise UserError(
                f"{path} says neither in itself nor by its name what it is of; name the model, such as d0, "
                "tf_efficientdet_d0 or a spec's .json file"
            )
        return own
    spec = spec_by_name(name_or_spec)
    for field in ("anchors", "pixels"):
        if own is not None and not name_or_spec.endswith(".json") and getattr(own, field) != getattr(spec, field):
            said = "in itself" if "spec" in read else f"by its name ({effdet_name(path.name)})"
            raise UserError(
                f"{path} says {said} that its {field} are {getattr(own, field)}; {name_or_spec}'s are "
                f"{getattr(spec, field)}; name no model, or give a spec"
            )
    return spec


def _own_spec(path: Path, read: Mapping[str, Any]) -> DetectorSpec | None:
    """Give the spec that the file holds, or that its name is known for."""
    if isinstance(read.get("spec"), Mapping):
        try:
            return DetectorSpec.from_dict(read["spec"])
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
    name = effdet_name(path.name)
    return None if name is None else effdet_spec(name)


# --- effdet's names --------------------------------------------------------------------------------------------------

_EXTRA = re.compile(r"fpn\.resample\.\d+\.conv\.(conv|bn)\.(\w+)")
_EDGE = re.compile(r"fpn\.cell\.(\d+)\.fnode\.(\d+)\.combine\.resample\.(\d+)\.conv\.(conv|bn)\.(\w+)")
_WEIGHTS = re.compile(r"fpn\.cell\.(\d+)\.fnode\.(\d+)\.combine\.edge_weights")
_NODE = re.compile(r"fpn\.cell\.(\d+)\.fnode\.(\d+)\.after_combine\.conv\.(conv_dw|conv_pw|conv|bn)\.(\w+)")
_HEAD = re.compile(r"(class|box)_net\.(conv_rep\.\d+|predict)\.(conv_dw|conv_pw|conv)\.(\w+)")
_HEAD_NORM = re.compile(r"(class|box)_net\.bn_rep\.(\d+)\.(\d+)(\.bn)?\.(\w+)")
_PROJECTION = {"conv": "conv", "bn": "norm"}
_CONVOLUTION = {"conv_dw": ".depthwise", "conv_pw": ".pointwise", "conv": ""}


def _our_names(state: dict[str, Tensor], topology: Topology) -> dict[str, Tensor]:
    """Rename effdet's tensors; those with our names, and unknown ones, keep theirs."""
    if not any(name.startswith("fpn.cell.") for name in state):
        return state
    place = _places(topology)
    return {_our_name(name, topology, place): tensor for name, tensor in state.items()}


def _places(topology: Topology) -> dict[int, int]:
    """Where in our list a node of effdet's list stands: its last nodes are the outputs, always the finest level first."""
    levels = topology.num_inputs
    order = list(range(len(topology.nodes)))
    order[-levels:] = sorted(order[-levels:], key=lambda index: topology.nodes[index].level)
    return dict(enumerate(order))


def _our_name(name: str, topology: Topology, place: Mapping[int, int]) -> str:
    if found := _EXTRA.fullmatch(name):
        return f"feature_network.extra.{_PROJECTION[found[1]]}.{found[2]}"
    if found := _EDGE.fullmatch(name):
        index = place.get(int(found[2]), -1)
        if index < 0 or int(found[3]) not in topology.nodes[index].inputs:
            return name
        edge = topology.nodes[index].inputs.index(int(found[3]))
        return f"feature_network.cells.{found[1]}.nodes.{index}.projections.{edge}.{_PROJECTION[found[4]]}.{found[5]}"
    if (found := _WEIGHTS.fullmatch(name)) and int(found[2]) in place:
        return f"feature_network.cells.{found[1]}.nodes.{place[int(found[2])]}.fusion.weights"
    if (found := _NODE.fullmatch(name)) and int(found[2]) in place:
        step = "norm" if found[3] == "bn" else f"convolution{_CONVOLUTION[found[3]]}"
        return f"feature_network.cells.{found[1]}.nodes.{place[int(found[2])]}.{step}.{found[4]}"
    if found := _HEAD.fullmatch(name):
        part = found[2].replace("conv_rep", "convolutions")
        return f"{found[1]}_head.{part}{_CONVOLUTION[found[3]]}.{found[4]}"
    if found := _HEAD_NORM.fullmatch(name):
        # Without ".bn" the list is level first (effdet's head_bn_level_first).
        repeat, level = (found[2], found[3]) if found[4] else (found[3], found[2])
        return f"{found[1]}_head.norms.{repeat}.{level}.{found[5]}"
    return name


# --- fitting ---------------------------------------------------------------------------------------------------------


def _classes(state: Mapping[str, Tensor], spec: DetectorSpec) -> int | None:
    bias = next((state[n] for n in state if n.startswith("class_head.predict.") and n.endswith("bias")), None)
    return None if bias is None or bias.dim() != 1 else len(bias) // spec.anchors.per_position


def _check_fit(detector: Detector, state: Mapping[str, Tensor], path: Path, name: object) -> None:
    wanted = detector.state_dict()
    # Files from before torch 0.4.1 lack the counters, which nothing here reads.
    missing = [name for name in wanted if name not in state and not name.endswith("num_batches_tracked")]
    both = [name for name in wanted if name in state]
    other = [name for name in both if state[name].shape != wanted[name].shape]
    floating = [name for name in both if wanted[name].is_floating_point()]
    groups = [
        (missing, "missing"),
        ([name for name in state if name not in wanted], "that the model lacks"),
        (
            [f"{n} is {_shape(state[n])} in the file, {_shape(wanted[n])} in the model" for n in other],
            "of another shape",
        ),
        ([n for n in floating if not state[n].is_floating_point()], "that are no floating-point numbers"),
        ([n for n in floating if not bool(torch.isfinite(state[n]).all())], "that are not finite"),
    ]
    said = [f"{len(names)} {words} ({_some(names)})" for names, words in groups if names]
    if said:
        what = name if isinstance(name, str) else detector.spec.describe()
        raise UserError(f"{path} does not fit {what}: tensors {'; '.join(said)}")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
