"""show, count, reproduce: detectors without weights, and what they cost."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_lab.cli.parsing import add_verb
from scaling_lab.console import decimals, text_table, trial_rows, trial_table
from scaling_lab.errors import UserError

if TYPE_CHECKING:
    from scaling_lab.architecture.spec import DetectorSpec

DETECTOR_HELP = (
    "a released model (d0 … d7x, lite0 … lite4), one of effdet's (tf_efficientdet_d0, …), a topology (bifpn, …) in D0, "
    "or a spec's JSON file"
)
_CHANGES = {
    "topology": (str, "NAME", "the feature network's cell by its name: none, fpn, panet, bifpn, …"),
    "fusion": (str, "FUSION", "how every node combines its inputs: sum, mean, fast, softmax, …"),
    "min_level": (int, "LEVEL", "the finest level of the feature network; 3 is P3, with stride 8"),
    "max_level": (int, "LEVEL", "the coarsest level of the feature network; 7 is P7, with stride 128"),
    "width": (int, "CHANNELS", "channels of the feature network and of the heads"),
    "repeats": (int, "CELLS", "how many cells of the feature network are stacked"),
    "image_size": (int, "PIXELS", "height and width of the images, in pixels"),
}


def add_verbs(verbs: Any) -> None:
    """Add them to the parser."""
    show = add_verb(
        verbs,
        "show",
        _show,
        "show a detector, a topology, or a run's trials",
        "show d3",
        "show quad_fpn --min-level 3 --max-level 6",
        "show runs/topology_ablation --json",
    )
    show.add_argument("thing", help=f"{DETECTOR_HELP}; or a run's folder")
    _add_changes(show)

    count = add_verb(
        verbs,
        "count",
        _count,
        "count parameters and multiply-adds, by part",
        "count d0 d1 d2",
        "count d0 --topology quad_fpn",
        "count runs/topology_ablation/specs/*.json --json",
    )
    count.add_argument("detectors", nargs="+", metavar="detector", help=DETECTOR_HELP)
    _add_changes(count)

    reproduce = add_verb(
        verbs, "reproduce", _reproduce, "print the paper's numbers beside those counted here", "reproduce costs"
    )
    reproduce.add_argument("what", choices=["costs"], help="costs: tables 1, 2, 4 and 5, without training")


def _reproduce(options: argparse.Namespace) -> None:
    from scaling_lab.reproduction import as_text, cost_tables

    tables = cost_tables()
    print(json.dumps([table.to_dict() for table in tables], indent=1) if options.json else as_text(tables))


def _add_changes(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("changes", "what to change in the detector")
    for name, (kind, metavar, text) in _CHANGES.items():
        group.add_argument(f"--{name.replace('_', '-')}", metavar=metavar, type=kind, help=text)


def _show(options: argparse.Namespace) -> None:
    if Path(options.thing).is_dir():
        for name in _CHANGES:
            if getattr(options, name) is not None:
                raise UserError(f"--{name.replace('_', '-')} changes a detector, and {options.thing} is a folder")
        rows = trial_rows(Path(options.thing))
        print(json.dumps(rows, indent=1) if options.json else trial_table(Path(options.thing), rows))
        return
    from scaling_lab.architecture.drawing import ascii_drawing, legend

    spec = _detector(options.thing, options)
    if options.json:
        print(spec.to_json(), end="")
        return
    topology = spec.topology
    print(f"{spec.describe()}\n\n{topology.describe()}: {len(topology.nodes)} nodes, {topology.num_edges} edges")
    print(f"{ascii_drawing(topology)}\n({legend(topology)})\n")
    shown = {name: value for name, value in spec.to_dict().items() if name != "topology"}
    print("\n".join(f"{name:24}{value}" for name, value in shown.items()))
    print(f"{'digest':24}{spec.digest}")


def _count(options: argparse.Namespace) -> None:
    from scaling_lab.cost import count

    specs = {name: _detector(name, options) for name in options.detectors}
    costs = {name: count(spec) for name, spec in specs.items()}
    if options.json:
        print(
            json.dumps(
                {name: {**cost.to_dict(), "spec": specs[name].describe()} for name, cost in costs.items()}, indent=1
            )
        )
        return
    places = decimals((part.gmacs for cost in costs.values() for part in cost.parts.values()), least=3, digits=3)
    rows = [["detector", "part", "parameters", "GMACs"]]
    for name, cost in costs.items():
        rows.append([name, "all", f"{cost.params:,}", f"{cost.gmacs:.{places}f}"])
        rows += [["", part, f"{share.params:,}", f"{share.gmacs:.{places}f}"] for part, share in cost.parts.items()]
    print(text_table(rows))
    print("GMACs: multiply-adds of convolutions and matrix products for one image, / 1e9")


def _detector(name: str, options: argparse.Namespace) -> DetectorSpec:
    """Read a detector's name or file, and change it as the options say."""
    from scaling_lab.architecture.naming import PUBLISHED, spec_by_name, topology_by_name

    is_topology = name in PUBLISHED
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


def _name(topology: Any) -> str:
    from scaling_lab.architecture.naming import published_name

    name = published_name(topology)
    if name is None:
        raise UserError("levels and fusion can be changed only where the topology has a name; give --topology")
    return name
