"""show, count: detectors without weights, and their costs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.cli.console import decimals, text_table, trial_rows, trial_table
from scaling_lab.cli.parsing import add_verb
from scaling_lab.cli.specs import CHANGES, DETECTOR_HELP, add_changes, read_detector
from scaling_lab.cost import Cost, PartCost
from scaling_lab.errors import UserError


def add_verbs(verbs: Any) -> None:
    """Add both verbs to the parser."""
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
    add_changes(show)

    count = add_verb(
        verbs,
        "count",
        _count,
        "count parameters, multiply-adds and activations, by part, level or node, and memory for one image",
        "count d0 d1 d2",
        "count d0 --by node",
        "count d0 --topology quad_fpn",
        "count runs/topology_ablation/specs/*.json --json",
    )
    count.add_argument("detectors", nargs="+", metavar="detector", help=DETECTOR_HELP)
    count.add_argument(
        "--by", choices=list(_SHARES), default="part", help="the breakdown shown beside the totals (part)"
    )
    add_changes(count)


def _by_level(spec: DetectorSpec, cost: Cost) -> dict[str, PartCost]:
    """Return costs of the backbone and of each level; the heads' parameters are shared by all levels."""
    levels = cost.levels
    shared = cost.heads.params - sum(piece.params for piece in cost.pieces if piece.kind == "heads")
    return {
        "backbone": cost.backbone,
        **{f"P{level}": share for level, share in levels.items()},
        "heads, all levels": PartCost(params=shared, macs=0, activations=0),
    }


def _by_node(spec: DetectorSpec, cost: Cost) -> dict[str, PartCost]:
    """Return the cost of every node by cell, id and level."""
    ids = [(cell, node_id) for cell in range(1, spec.repeats + 1) for node_id in spec.topology.node_ids]
    return {
        f"cell {cell}, node {node_id} (P{node.level})": node
        for (cell, node_id), node in zip(ids, cost.nodes, strict=True)
    }


_SHARES: dict[str, Callable[[DetectorSpec, Cost], dict[str, PartCost]]] = {
    "part": lambda _, cost: cost.parts,
    "level": _by_level,
    "node": _by_node,
}


def _show(options: argparse.Namespace) -> None:
    if Path(options.thing).is_dir():
        for name in CHANGES:
            if getattr(options, name) is not None:
                raise UserError(f"--{name.replace('_', '-')} changes a detector, but {options.thing} is a folder")
        rows = trial_rows(Path(options.thing))
        print(json.dumps(rows, indent=1) if options.json else trial_table(Path(options.thing), rows))
        return
    from scaling_lab.architecture.drawing import ascii_drawing, legend

    spec = read_detector(options.thing, options)
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

    specs = {name: read_detector(name, options) for name in options.detectors}
    costs = {name: count(spec) for name, spec in specs.items()}
    shares = {name: _SHARES[options.by](specs[name], cost) for name, cost in costs.items()}
    if options.json:
        counted = {}
        for name, cost in costs.items():
            nodes = {title: node.to_dict() for title, node in _by_node(specs[name], cost).items()}
            counted[name] = {**cost.to_dict(), "nodes": nodes, "spec": specs[name].describe()}
        print(json.dumps(counted, indent=1))
        return
    places = decimals((share.gmacs for each in shares.values() for share in each.values()), least=3, digits=3)

    def numbers(cost: PartCost) -> list[str]:
        return [f"{cost.params:,}", f"{cost.gmacs:.{places}f}", f"{cost.activations_m:.3f}"]

    rows = [["detector", options.by, "parameters", "GMACs", "activations", "MB"]]
    for name, cost in costs.items():
        rows.append([name, "all", *numbers(cost), f"{cost.memory_mb:.3g}"])
        rows += [["", title, *numbers(share), ""] for title, share in shares[name].items()]
    print(text_table(rows))
    print(
        "GMACs: multiply-adds of convolutions and matrix products for one image, / 1e9; activations: their outputs, / 1e6"
    )
    print("MB: weights plus peak activations for one image in float32, without workspaces, / 1e6")
