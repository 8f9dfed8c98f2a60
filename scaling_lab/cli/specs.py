"""A detector as the command line names it: a name or a file, and what is to be changed in it. It builds nothing."""

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
    "a released model (d0 … d7x, lite0 … lite4), one of effdet's (tf_efficientdet_d0, …), a topology (bifpn, …) in D0, "
    "or a spec's JSON file"
)
MODEL_HELP = (
    "what the weights are of: a released model (d0, …), one of effdet's (tf_efficientdet_d0, …), a spec's JSON file "
    "(told by the file, or by effdet's name for it)"
)
CHANGES = {
    "topology": (str, "NAME", "the feature network's cell by its name: none, fpn, panet, bifpn, …"),
    "fusion": (str, "FUSION", "how every node combines its inputs: sum, mean, fast, softmax, …"),
    "min_level": (int, "LEVEL", "the finest level of the feature network; 3 is P3, with stride 8"),
    "max_level": (int, "LEVEL", "the coarsest level of the feature network; 7 is P7, with stride 128"),
    "width": (int, "CHANNELS", "channels of the feature network and of the heads"),
    "repeats": (int, "CELLS", "how many cells of the feature network are stacked"),
    "image_size": (int, "PIXELS", "height and width of the images, in pixels"),
}


def add_changes(parser: argparse.ArgumentParser) -> None:
    """Add the options of `CHANGES`."""
    group = parser.add_argument_group("changes", "what to change in the detector")
    for name, (kind, metavar, text) in CHANGES.items():
        group.add_argument(f"--{name.replace('_', '-')}", metavar=metavar, type=kind, help=text)


def read_detector(name: str, options: argparse.Namespace) -> DetectorSpec:
    """Read a detector's name or file, and change it as the options say."""
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
    changes = {"width": options.width, "repeats": options.repeats, "image_size": options.image_size}
    changes = {field: value for field, value in changes.items() if value is not None}
    return dataclasses.replace(spec, topology=topology, **changes)


def _name(topology: Topology) -> str:
    name = topology.published_name
    if name is None:
        raise UserError("levels and fusion can be changed only where the topology has a name; give --topology")
    return name
