"""A detector named on the command line, by name or file, with changes to it."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING

from scaling_lab.checks import near
from scaling_lab.errors import UserError

if TYPE_CHECKING:
    from scaling_lab.architecture.spec import DetectorSpec
    from scaling_lab.architecture.topology import Topology

DETECTOR_HELP = (
    "a released model (d0 … d7x, lite0 … lite4), an effdet name (tf_efficientdet_d0, …), a topology (bifpn, …) in D0, "
    "or a spec's JSON file"
)
MODEL_HELP = (
    "the weights' architecture: a released model (d0, …), an effdet name (tf_efficientdet_d0, …), a spec's JSON file "
    "(read from the file, or from its effdet name)"
)
CHANGES = {
    "topology": (str, "NAME", "the feature network's topology: none, fpn, panet, bifpn, …"),
    "fusion": (str, "FUSION", "how nodes combine their inputs: sum, mean, fast, softmax, …"),
    "min_level": (int, "LEVEL", "the finest level of the feature network; 3 is P3, with stride 8"),
    "max_level": (int, "LEVEL", "the coarsest level of the feature network; 7 is P7, with stride 128"),
    "width": (int, "CHANNELS", "channels of the feature network and of the heads"),
    "repeats": (int, "CELLS", "number of stacked cells of the feature network"),
    "head": (str, "HEAD", "how boxes are predicted: anchors or points"),
    "image_size": (int, "PIXELS", "height and width of the images"),
}


def add_changes(parser: argparse.ArgumentParser) -> None:
    """Add the options of `CHANGES`."""
    group = parser.add_argument_group("changes", "what to change in the detector")
    for name, (kind, metavar, text) in CHANGES.items():
        group.add_argument(f"--{name.replace('_', '-')}", metavar=metavar, type=kind, help=text)


def detector_named(name: str) -> DetectorSpec:
    """Read a detector by name or file, without changes. Raises UserError."""
    return read_detector(name, argparse.Namespace(**dict.fromkeys(CHANGES)))


def read_detector(name: str, options: argparse.Namespace) -> DetectorSpec:
    """Read a detector by name or file and apply the changes of the options. Raises UserError."""
    from scaling_lab.architecture.naming import spec_by_name, topology_by_name
    from scaling_lab.architecture.published import PUBLISHED

    is_topology = name in PUBLISHED
    if not is_topology and near(name, PUBLISHED):
        raise UserError(f"{name!r} is neither a detector nor a topology{near(name, PUBLISHED)}")
    spec = spec_by_name("d0" if is_topology else name)
    chosen = options.topology or (name if is_topology else None)
    topology = spec.topology
    lowest = topology.min_level if options.min_level is None else options.min_level
    highest = topology.max_level if options.max_level is None else options.max_level
    same_levels = (lowest, highest) == (topology.min_level, topology.max_level)
    if chosen is not None or options.fusion is not None or not same_levels:
        name = _name(topology) if chosen is None else chosen
        topology = topology_by_name(name, lowest, highest, options.fusion)
    fields = ("width", "repeats", "head", "image_size")
    changes = {name: getattr(options, name) for name in fields if getattr(options, name) is not None}
    return dataclasses.replace(spec, topology=topology, **changes)


def _name(topology: Topology) -> str:
    name = topology.published_name
    if name is None:
        raise UserError("levels and fusion can be changed only for a named topology; give --topology")
    return name
