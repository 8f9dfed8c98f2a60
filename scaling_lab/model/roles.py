"""The role of each weight of a detector: the same name in every detector of a search space in which it does the same.

A node's role is its cell, level and direction, and its number among the cell's nodes of that level and direction. The
direction says from where it reads: "down" from coarser levels, "up" from finer ones, "both" or "same". An edge's role has the
roles of its source and its target. Head layers, norms and outputs have their number and level, as in the module's names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.architecture.topology import Topology
from scaling_lab.model.detector import Detector
from scaling_lab.model.fusion import make_fusion

# A weight of a node: its cell's and its node's place, that of an edge's projection, "fusion" or neither, and the rest.
_OF_NODE = re.compile(r"feature_network\.cells\.(\d+)\.nodes\.(\d+)\.(?:projections\.(\d+)\.|(fusion)\.)?(.+)")
# By whether a node reads coarser and finer levels.
_DIRECTIONS = {(False, False): "same", (True, False): "down", (False, True): "up", (True, True): "both"}


@dataclass(frozen=True)
class Slices:
    """A weight as the leading slices of stored tensors: each has `shape`, and `axis` joins them if there are several."""

    roles: tuple[str, ...]
    shape: tuple[int, ...]
    axis: int = 0

    def of(self, stored: Mapping[str, Tensor] | nn.ParameterDict) -> Tensor:
        """Return the weight: a view of one stored tensor, or several joined. Raises KeyError."""
        parts = [stored[role][tuple(slice(side) for side in self.shape)] for role in self.roles]
        return parts[0] if len(parts) == 1 else torch.cat(parts, self.axis)

    def split(self, weight: Tensor) -> dict[str, Tensor]:
        """Return the parts of a weight by their roles."""
        parts = torch.split(weight, self.shape[self.axis], self.axis) if len(self.roles) > 1 else [weight]
        return dict(zip(self.roles, parts, strict=True))


def weight_slices(detector: Detector) -> dict[str, Slices]:
    """Return the roles and shapes of a detector's weights by their names, without the backbone's."""
    spec = detector.spec
    nodes = node_roles(spec.topology)
    found = {}
    for name, weight in detector.named_parameters():
        if not name.startswith("backbone."):
            match = _OF_NODE.fullmatch(name)
            shape = tuple(weight.shape)
            found[name] = _of_node(spec, nodes, shape, *match.groups()) if match else Slices((_path(name),), shape)
    return found


def node_roles(topology: Topology) -> tuple[str, ...]:
    """Return the role of each id within a cell, such as "P4" for an input and "P4 down 1" for a node, numbered from 1."""
    roles = [f"P{level}" for level in topology.levels]
    seen: dict[str, int] = {}
    for node in topology.nodes:
        levels = [topology.level_of[source] for source in node.inputs]
        direction = _DIRECTIONS[max(levels) > node.level, min(levels) < node.level]
        kind = f"P{node.level} {direction}"
        seen[kind] = seen.get(kind, 0) + 1
        roles.append(f"{kind} {seen[kind]}")
    return tuple(roles)


def _of_node(
    spec: DetectorSpec,
    nodes: tuple[str, ...],
    shape: tuple[int, ...],
    cell: str,
    place: str,
    edge: str | None,
    fusion: str | None,
    rest: str,
) -> Slices:
    topology = spec.topology
    node_id = topology.node_ids[int(place)]
    node = topology.node(node_id)
    own = f"cell {int(cell) + 1}/{nodes[node_id]}"
    sources = [nodes[source] for source in node.inputs]
    if edge is not None:
        return Slices((f"{own}/from {sources[int(edge)]}/{_path(rest)}",), shape)
    if fusion is None:
        return Slices((f"{own}/{_path(rest)}",), shape)
    axis = _axis_of_inputs(node.fusion, rest)
    own = f"{own}/{node.fusion}"
    if axis is None:
        return Slices((f"{own}/{_path(rest)}",), shape)
    if axis < 0:
        return Slices((f"{own}/from {', '.join(sources)}/{_path(rest)}",), shape)
    part = tuple(side // len(sources) if place == axis else side for place, side in enumerate(shape))
    return Slices(tuple(f"{own}/from {source}/{_path(rest)}" for source in sources), part, axis)


@lru_cache
def _axis_of_inputs(fusion: str, name: str) -> int | None:
    """Return the axis on which a fusion's weight has a share for each input, found by making it with one input more.

    None where it does not depend on the number of inputs, -1 where it depends on it in another way.
    """
    inputs, width = 3, 8
    with torch.device("meta"):
        fewer, more = (make_fusion(fusion, count, width).get_parameter(name).shape for count in (inputs, inputs + 1))
    if fewer == more:
        return None
    axes = [axis for axis, (side, other) in enumerate(zip(fewer, more, strict=True)) if side != other]
    is_shared = len(axes) == 1 and fewer[axes[0]] * (inputs + 1) == more[axes[0]] * inputs
    return axes[0] if is_shared else -1


def _path(name: str) -> str:
    """Return a module's name without dots, which torch's containers do not allow in a key."""
    return name.replace(".", "/")
