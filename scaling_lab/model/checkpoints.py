"""Weights from a file into a built detector: our own, or those of any model that effdet defines. It writes none.

Files are read as tensors alone: nothing in them is executed.
"""

from __future__ import annotations

import argparse
import dataclasses
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from scaling_lab.architecture.effdet import effdet_name, effdet_spec
from scaling_lab.architecture.naming import spec_by_name
from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.architecture.topology import Topology
from scaling_lab.errors import UserError
from scaling_lab.model.detector import Detector, build

# What a training checkpoint keeps its weights under; averaged weights first, as effdet's --use-ema.
_WRAPPERS = ("state", "average", "state_dict_ema", "state_dict", "model_state_dict", "model")
_SHOWN = 3


def load_checkpoint(
    name_or_spec: str | DetectorSpec | None, file: str | Path, num_classes: int | None = None
) -> Detector:
    """Build a detector and give it the weights in a file: .safetensors, or what torch.save wrote (tensors only).

    `name_or_spec` is a spec, a released model ("d0"), one of effdet's ("tf_efficientdet_d0"), a spec's JSON file, or None
    where the file says it: one of ours, or one with effdet's name. Weights may have our names or effdet's, with averaged weights
    preferred where a file holds both. The number of classes is the file's. Where `num_classes` is another, the last
    layer of the class head starts anew, to be trained.

    Raises UserError for a file that cannot be read, and for tensors that are missing, too many or of another shape.
    """
    path = Path(file)
    read = _read(path)
    spec = _spec(name_or_spec, path, read)
    state = _our_names(_tensors(read, path), spec.topology)
    classes_there = _classes(state, spec)
    detector = build(dataclasses.replace(spec, num_classes=num_classes or classes_there or spec.num_classes))
    if num_classes and num_classes != classes_there:
        state = {name: tensor for name, tensor in state.items() if not name.startswith("class_head.predict.")}
        new = {n: t for n, t in detector.state_dict().items() if n.startswith("class_head.predict.")}
        state.update(new)
    _check_fit(detector, state, path, name_or_spec)
    detector.load_state_dict(state, strict=False)
    return detector


def checkpoint_spec(name_or_spec: str | DetectorSpec | None, file: str | Path) -> DetectorSpec:
    """Give the spec that `load_checkpoint` would build; with None it is told by the file or by its name."""
    if name_or_spec is not None:
        return _named(name_or_spec)
    return _spec(None, Path(file), _read(Path(file)))


# --- the file --------------------------------------------------------------------------------------------------------


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise UserError(f"the weights {path} do not exist; allowed is a .safetensors, .pth or .pt file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # timm's and effdet's training scripts keep their command line beside the weights; it is plain values.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files that are not torch's; they are refused below
            read = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise UserError(
            f"{path} is no file of tensors: it is broken, or holds Python objects, which are not read; "
            "allowed is a state dict from torch.save, or .safetensors"
        ) from None
    except (OSError, RuntimeError, EOFError, SafetensorError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} cannot be read as weights: {(str(error) or type(error).__name__).splitlines()[0]}"
        ) from None
    if not isinstance(read, Mapping):
        raise UserError(f"{path} holds {type(read).__name__}; allowed is a state dict: names with tensors")
    return read


def _tensors(read: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Find the state dict, and drop what a wrapper has put before the names."""
    while True:
        inner = next((read[name] for name in _WRAPPERS if isinstance(read.get(name), Mapping)), None)
        if inner is None:
            break
        read = inner
    state = {str(name): value for name, value in read.items() if isinstance(value, Tensor)}
    for prefix in ("module.", "model.", "_orig_mod."):  # data-parallel, effdet's bench, torch.compile
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    state.pop("anchors.boxes", None)  # effdet's bench keeps its anchors
    if not state:
        raise UserError(f"{path} holds no tensors; its keys are {_some(read)}")
    return state


def _spec(name_or_spec: str | DetectorSpec | None, path: Path, read: Mapping[str, Any]) -> DetectorSpec:
    if name_or_spec is not None:
        return _named(name_or_spec)
    if isinstance(read.get("spec"), Mapping):
        return DetectorSpec.from_dict(read["spec"])
    name = effdet_name(path.name)
    if name is None:
        raise UserError(
            f"{path} says neither in itself nor by its name what it is of; name the model, such as d0, "
            "tf_efficientdet_d0 or a spec's .json file"
        )
    return effdet_spec(name)


def _named(name_or_spec: str | DetectorSpec) -> DetectorSpec:
    return name_or_spec if isinstance(name_or_spec, DetectorSpec) else spec_by_name(name_or_spec)


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
    # With norm_before_activation (effdet's conv_bn_relu_pattern) the convolution comes first, and has no bias.
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
    return None if bias is None else len(bias) // spec.anchors.per_position


def _check_fit(detector: Detector, state: Mapping[str, Tensor], path: Path, name: object) -> None:
    wanted = detector.state_dict()
    # Files from before torch 0.4.1 lack the counters, which nothing here reads.
    missing = [name for name in wanted if name not in state and not name.endswith("num_batches_tracked")]
    extra = [name for name in state if name not in wanted]
    other = [
        f"{name} is {tuple(state[name].shape)} in the file, {tuple(wanted[name].shape)} in the model"
        for name in wanted
        if name in state and state[name].shape != wanted[name].shape
    ]
    if not (missing or extra or other):
        return
    groups = [
        f"{len(names)} {words} ({_some(names)})"
        for names, words in ((missing, "missing"), (extra, "that the model lacks"), (other, "of another shape"))
        if names
    ]
    what = name if isinstance(name, str) else detector.spec.describe()
    raise UserError(f"{path} does not fit {what}: tensors {'; '.join(groups)}")


def _some(names: Any) -> str:
    names = [str(name) for name in names]
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
