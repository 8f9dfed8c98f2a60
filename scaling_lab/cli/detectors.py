"""show, count, reproduce: detectors without weights, and what they cost."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from scaling_lab.cli.parsing import add_verb
from scaling_lab.cli.specs import CHANGES, DETECTOR_HELP, add_changes, read_detector
from scaling_lab.console import decimals, text_table, trial_rows, trial_table
from scaling_lab.errors import UserError


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
    add_changes(show)

    count = add_verb(
        verbs,
        "count",
        _count,
        "count parameters and multiply-adds, by part, and the memory of one image",
        "count d0 d1 d2",
        "count d0 --topology quad_fpn",
        "count runs/topology_ablation/specs/*.json --json",
    )
    count.add_argument("detectors", nargs="+", metavar="detector", help=DETECTOR_HELP)
    add_changes(count)

    reproduce = add_verb(
        verbs, "reproduce", _reproduce, "print the paper's numbers beside those counted here", "reproduce costs"
    )
    reproduce.add_argument("what", choices=["costs"], help="costs: tables 1, 2, 4 and 5, without training")


def _reproduce(options: argparse.Namespace) -> None:
    from scaling_lab.reproduction import as_text, cost_tables

    tables = cost_tables()
    print(json.dumps([table.to_dict() for table in tables], indent=1) if options.json else as_text(tables))


def _show(options: argparse.Namespace) -> None:
    if Path(options.thing).is_dir():
        for name in CHANGES:
            if getattr(options, name) is not None:
                raise UserError(f"--{name.replace('_', '-')} changes a detector, and {options.thing} is a folder")
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
    if options.json:
        print(
            json.dumps(
                {name: {**cost.to_dict(), "spec": specs[name].describe()} for name, cost in costs.items()}, indent=1
            )
        )
        return
    places = decimals((part.gmacs for cost in costs.values() for part in cost.parts.values()), least=3, digits=3)
    rows = [["detector", "part", "parameters", "GMACs", "MB"]]
    for name, cost in costs.items():
        rows.append([name, "all", f"{cost.params:,}", f"{cost.gmacs:.{places}f}", f"{cost.memory_mb:.3g}"])
        rows += [["", part, f"{share.params:,}", f"{share.gmacs:.{places}f}", ""] for part, share in cost.parts.items()]
    print(text_table(rows))
    print("GMACs: multiply-adds of convolutions and matrix products for one image, / 1e9")
    print(
        "MB: weights and the most activations that are alive at once, for one image in float32, without workspaces, / 1e6"
    )
