"""Loads weights from a file into a detector: our own, or those of any effdet model."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scaling_lab.architecture.effdet import effdet_name, effdet_spec
from scaling_lab.architecture.naming import spec_by_name
from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.architecture.topology import Topology
from scaling_lab.checks import check_whole
from scaling_lab.errors import UserError, first_line
from scaling_lab.model.class_names import difference, places_by_name, unused_words
from scaling_lab.model.detector import Detector, build
from scaling_lab.model.weights_file import (
    Fit,
    TensorSet,
    class_names_of,
    counted_tensors,
    find_tensors,
    fit,
    read_file,
    some,
)

# First parts of a detector's tensor names, ours and effdet's.
_PARTS = ("backbone.", "feature_network.", "class_head.", "box_head.", "fpn.", "class_net.", "box_net.")


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A detector with a file's weights; `notes` are sentences on what was used, mapped or ignored."""

    detector: Detector
    notes: tuple[str, ...]


def load_checkpoint(
    name_or_spec: str | DetectorSpec | None, file: str | Path, num_classes: int | None = None
) -> Detector:
    """Build a detector with the weights in a file: .safetensors, or a file of torch.save (tensors only).

    `name_or_spec` is a spec, a released model ("d0"), an effdet name ("tf_efficientdet_d0"), a spec's JSON file, or None for
    a file that identifies its model: one of ours, or one with an effdet name. Weights may have our names or effdet's, under
    any keys and with any common prefix; averaged weights (EMA) are preferred. The number of classes and the detector's
    `class_names` come from the file. With another `num_classes`, the last layer of the class head is newly initialised.
    Call `.eval()` on the detector for inference.

    Raises UserError for an unreadable file, and for tensors that are missing, superfluous, of another shape or not finite.
    Also for a model name that contradicts the file's own, if only head, anchors or pixels differ.
    """
    if num_classes is not None:
        check_whole("num_classes", num_classes, least=1)
    return load_with_notes(name_or_spec, file, num_classes=num_classes).detector


def load_with_notes(
    name_or_spec: str | DetectorSpec | None,
    file: str | Path,
    *,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
) -> Loaded:
    """Load like `load_checkpoint`, with notes on what was done.

    With `class_names`, the detector gets these classes in this order. Rows of the class layer match by name if the file has
    all of the names. Without names, they match in order if the numbers are equal. Otherwise the layer is new.
    """
    path = Path(file)
    read = read_file(path)
    spec = _spec(name_or_spec, path, read)
    found = find_tensors(read, path, lambda name: name.startswith(_PARTS))
    state = _our_names(found.tensors, spec.topology)
    _check_anchors(state, spec, path)
    there = _classes(state, spec)
    file_spec = dataclasses.replace(spec, num_classes=there or spec.num_classes)
    named = class_names_of(read)
    names = named if named is not None and len(named) == file_spec.num_classes else None
    notes = [*found.notes, *_left_out(found, path, named, file_spec.num_classes)]
    rows: Sequence[int] | None
    if class_names is not None:
        num_classes = len(class_names)
        rows, said = _rows(names, class_names, file_spec.num_classes)
        notes.append(f"{path}: {said}")
    else:
        rows = range(file_spec.num_classes) if num_classes in (None, file_spec.num_classes) else None
    wanted = _without_memory(file_spec, path, len(state))
    if rows is None:
        state, wanted = _without_class_layer(state), _without_class_layer(wanted)
    _check_fit(fit(state, wanted), file_spec, path, name_or_spec)
    detector = build(dataclasses.replace(spec, num_classes=num_classes or file_spec.num_classes))
    if rows is not None:
        state = {name: _reordered(name, tensor, rows, file_spec) for name, tensor in state.items()}
    detector.load_state_dict(state, strict=False)
    if class_names is not None:
        detector.class_names = tuple(class_names)
    elif rows is not None:
        detector.class_names = names
    return Loaded(detector=detector, notes=tuple(notes))


def _left_out(found: TensorSet, path: Path, named: Sequence[str] | None, number: int) -> Iterator[str]:
    if found.unused:
        left = f"{counted_tensors(len(found.unused))} outside {found.place!r} not used"
        yield f"{path}: {left} ({some(found.unused)})"
    if named is not None and len(named) != number:
        yield f"{path}: its {len(named)} class names are not used, since it has {number} classes"


def _spec(name_or_spec: str | DetectorSpec | None, path: Path, read: Mapping[str, Any]) -> DetectorSpec:
    if isinstance(name_or_spec, DetectorSpec):
        return name_or_spec
    own = _own_spec(path, read)
    if name_or_spec is None:
        if own is None:
            raise UserError(
                f"{path} does not identify its model; name the model, such as d0, "
                "tf_efficientdet_d0 or a spec's .json file"
            )
        return own
    spec = spec_by_name(name_or_spec)
    for field in ("head", "anchors", "pixels"):
        if own is not None and not name_or_spec.endswith(".json") and getattr(own, field) != getattr(spec, field):
            said = "in its contents" if "spec" in read else f"in its name ({effdet_name(path.name)})"
            raise UserError(
                f"{path} gives {field} {getattr(own, field)} {said}, but {name_or_spec} has "
                f"{getattr(spec, field)}; omit the model, or give a spec"
            )
    return spec


def _own_spec(path: Path, read: Mapping[str, Any]) -> DetectorSpec | None:
    """Return the spec in the file, or that of its effdet name. Raises UserError."""
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


def _our_names(state: Mapping[str, Tensor], topology: Topology) -> dict[str, Tensor]:
    """Rename effdet's tensors to our names; other names do not change."""
    if not any(name.startswith("fpn.cell.") for name in state):
        return dict(state)
    place = _places(topology)
    return {_our_name(name, topology, place): tensor for name, tensor in state.items()}


def _places(topology: Topology) -> dict[int, int]:
    """Map effdet's node indices to ours. effdet's last nodes are the outputs, finest level first."""
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
        # Without ".bn", the list is indexed by level first (effdet's head_bn_level_first).
        repeat, level = (found[2], found[3]) if found[4] else (found[3], found[2])
        return f"{found[1]}_head.norms.{repeat}.{level}.{found[5]}"
    return name


# --- classes ---------------------------------------------------------------------------------------------------------

_CLASS_LAYER, _BOX_LAYER = "class_head.predict.", "box_head.predict."


def _classes(state: Mapping[str, Tensor], spec: DetectorSpec) -> int | None:
    """Return the number of classes of the class layer's last convolution, or None if unclear."""
    for name, bias in state.items():
        if name.startswith(_CLASS_LAYER) and name.endswith(".bias") and bias.dim() == 1:
            weight = state.get(f"{name.removesuffix('bias')}weight")
            classes, rest = divmod(len(bias), spec.boxes_per_position)
            is_clear = weight is not None and weight.dim() == 4 and len(weight) == len(bias) and rest == 0
            return classes or None if is_clear else None
    return None


def _rows(names: Sequence[str] | None, wanted: Sequence[str], number: int) -> tuple[Sequence[int] | None, str]:
    """Return the file's class for each wanted one, or None for a new layer, and a note."""
    if names is None:
        if number == len(wanted):
            return range(number), "it has no class names; its classes are used as the data's, in order"
        unnamed = f"it has {number} classes without names, but the data have {len(wanted)}"
        return None, f"{unnamed}; the class layer is newly initialised"
    places = places_by_name(wanted, names)
    if places is None:
        return None, f"the class layer is newly initialised, since the classes differ: {difference(names, wanted)}"
    if places == list(range(number)):
        return places, "its classes match the data's, in the same order"
    idle = unused_words(names, wanted)
    return places, "the class layer's rows are matched by class name" + (f"; {idle}" if idle else "")


def _without_class_layer(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith(_CLASS_LAYER)}


def _reordered(name: str, tensor: Tensor, rows: Sequence[int], spec: DetectorSpec) -> Tensor:
    """Select classes' rows of the class layer's last convolution (box-major); return other tensors unchanged."""
    is_first = ".depthwise." in name
    if not name.startswith(_CLASS_LAYER) or is_first or list(rows) == list(range(spec.num_classes)):
        return tensor
    by_box = tensor.reshape(spec.boxes_per_position, spec.num_classes, *tensor.shape[1:])
    return by_box[:, list(rows)].flatten(0, 1)


# --- fitting ---------------------------------------------------------------------------------------------------------


def _without_memory(spec: DetectorSpec, path: Path, tensors: int) -> dict[str, Tensor]:
    """Return the state dict of a spec's detector on device "meta", without allocation. Raises UserError."""
    modules = spec.repeats * len(spec.topology.nodes) + spec.head_repeats  # each has at least one tensor
    if modules > tensors:
        raise UserError(f"{path} does not fit {spec.describe()}: it has only {counted_tensors(tensors)}")
    try:
        with torch.device("meta"):
            return build(spec).state_dict()
    except (RuntimeError, OverflowError) as error:  # sizes beyond 64 bits
        raise UserError(f"{path} does not fit {spec.describe()}, which cannot be built: {first_line(error)}") from None


def _check_anchors(state: Mapping[str, Tensor], spec: DetectorSpec, path: Path) -> None:
    """Raise UserError where the box layer is one for another number of anchors, or boxes of points, per position."""
    wanted = spec.boxes_per_position
    for name, bias in state.items():
        if name.startswith(_BOX_LAYER) and name.endswith(".bias") and bias.dim() == 1 and len(bias) % 4 == 0:
            there = len(bias) // 4
            if there not in (0, wanted):
                raise UserError(
                    f"{path} has {there} anchors per position, but the detector {wanted}; weights fit only a detector with "
                    "as many (in training, --anchors default)"
                )


def _check_fit(found: Fit, spec: DetectorSpec, path: Path, name: object) -> None:
    if found.faults:
        what = name if isinstance(name, str) else spec.describe()
        raise UserError(f"{path} does not fit {what}: {found}")
