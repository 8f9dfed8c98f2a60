"""The factors in which two architectures differ, read from their specs.

A difference in AP can be attributed to a factor only if no other factor differs.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache

from scaling_lab.architecture import DetectorSpec, Topology
from scaling_lab.report.analysis.architecture_names import topology_fusion

# Clearer names for fields of a spec; other fields keep their own.
_SPELLINGS = {
    "repeats": "cells",
    "head_repeats": "head layers",
    "num_classes": "classes",
    "separable": "kind of convolution",
}
_PARTS = ("anchors", "pixels")  # fields whose own fields are the factors


def differing_factors(spec: DetectorSpec, other: DetectorSpec) -> list[str]:
    """Return every factor in which two specs differ: topology (its wiring), fusion, levels, width, …

    Topologies that also differ in fusion (BiFPN's fast, PANet's sum) differ in two factors.
    """
    found = _topology_factors(spec.topology, other.topology)
    for field in dataclasses.fields(DetectorSpec):
        first, second = getattr(spec, field.name), getattr(other, field.name)
        if field.name == "topology" or first == second:
            continue
        if field.name == "backbone_options" and spec.backbone != other.backbone:
            continue  # options belong to their backbone
        if field.name == "anchors" and spec.head != other.head:
            continue  # only one of the two has anchors
        if field.name in _PARTS:
            name = field.name.rstrip("s")
            parts = [part.name for part in dataclasses.fields(first)]
            found += [
                f"{name} {part.replace('_', ' ')}" for part in parts if getattr(first, part) != getattr(second, part)
            ]
        else:
            found.append(_SPELLINGS.get(field.name, field.name.replace("_", " ")))
    return found


def _topology_factors(first: Topology, second: Topology) -> list[str]:
    """Return which of wiring, fusion and levels differ between two topologies."""
    if first == second:
        return []
    levels = ["levels"] if first.levels != second.levels else []
    if wiring(first) == wiring(second):
        if _fused(first) != _fused(second):
            return ["fusion"]
        return ["fusion of single inputs"] if first.digest != second.digest else []
    names = first.published_name, second.published_name
    # Wirings at different levels always differ; an equal name means the same design.
    topology = [] if levels and names[0] is not None and names[0] == names[1] else ["topology"]
    fusions = topology_fusion(first), topology_fusion(second)
    # Without a node of two inputs there is no fusion to differ.
    fusion = ["fusion"] if fusions[0] != fusions[1] and all(fusions) else []
    return [*topology, *fusion, *levels]


@lru_cache(maxsize=4096)
def wiring(topology: Topology) -> str:
    """Return a digest that is equal for topologies that differ at most in their nodes' fusion."""
    return topology.with_fusion("sum").digest


@lru_cache(maxsize=4096)
def _fused(topology: Topology) -> str:
    """Return a digest that ignores the fusion of nodes with one input."""
    nodes = (node if len(node.inputs) > 1 else dataclasses.replace(node, fusion="sum") for node in topology.nodes)
    return dataclasses.replace(topology, nodes=tuple(nodes)).digest
