"""What two architectures differ in, factor by factor, read from their specs. It judges no result.

A difference in AP can be put down to a factor only where no other differs with it.
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache

from scaling_lab.architecture import DetectorSpec, Topology
from scaling_lab.report.analysis.architecture_names import topology_fusion

# Fields of a spec whose name does not say it well; a field that is not here goes by its name.
_SPELLINGS = {
    "repeats": "cells",
    "head_repeats": "head layers",
    "num_classes": "classes",
    "separable": "kind of convolution",
}
_PARTS = ("anchors", "pixels")  # fields with fields of their own, each of which is a factor


def differing_factors(spec: DetectorSpec, other: DetectorSpec) -> list[str]:
    """Name every factor in which two specs differ, the topology's first: topology (its wiring), fusion, levels, width, …

    A choice of topology may carry its fusion with it (BiFPN's fast against PANet's sum): these are two factors.
    """
    found = _topology_factors(spec.topology, other.topology)
    for field in dataclasses.fields(DetectorSpec):
        first, second = getattr(spec, field.name), getattr(other, field.name)
        if field.name == "topology" or first == second:
            continue
        if field.name == "backbone_options" and spec.backbone != other.backbone:
            continue  # another backbone has options of its own
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
    """Tell the wiring, the fusion and the levels of two topologies apart."""
    if first == second:
        return []
    levels = ["levels"] if first.levels != second.levels else []
    if wiring(first) == wiring(second):
        if _fused(first) != _fused(second):
            return ["fusion"]
        return ["fusion of single inputs"] if first.digest != second.digest else []
    names = first.published_name, second.published_name
    # At other levels every wiring is another; by its name it can be the same one.
    topology = [] if levels and names[0] is not None and names[0] == names[1] else ["topology"]
    fusions = topology_fusion(first), topology_fusion(second)
    # Where no node has two inputs, as without a feature network, there is no fusion that could differ.
    fusion = ["fusion"] if fusions[0] != fusions[1] and all(fusions) else []
    return [*topology, *fusion, *levels]


@lru_cache(maxsize=4096)
def wiring(topology: Topology) -> str:
    """Give a digest that is equal where two topologies are the same graph but for the nodes' fusion."""
    return topology.with_fusion("sum").digest


@lru_cache(maxsize=4096)
def _fused(topology: Topology) -> str:
    """Give a digest in which a node with one input has no fusion of its own: its weight is the only one."""
    nodes = (node if len(node.inputs) > 1 else dataclasses.replace(node, fusion="sum") for node in topology.nodes)
    return dataclasses.replace(topology, nodes=tuple(nodes)).digest
