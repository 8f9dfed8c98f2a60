"""doctor: checks whether a cluster or this machine can run a study."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_lab.cli.console import text_table
from scaling_lab.cli.parsing import add_verb

if TYPE_CHECKING:
    from scaling_lab.study.plan.checkup import Check


def add_verbs(verbs: Any) -> None:
    """Add the verb to the parser."""
    doctor = add_verb(
        verbs,
        "doctor",
        _doctor,
        "check every node of a cluster, or this machine: versions, code, shared storage, data, GPUs, access",
        "doctor",
        "doctor --address auto --storage /shared/runs --data coco:/data/coco",
    )
    doctor.add_argument("--address", help="a Ray cluster's address; without it, Ray starts on this machine")
    doctor.add_argument("--nodes", type=int, default=1, help="wait until the cluster has this many nodes (1)")
    doctor.add_argument("--storage", type=Path, default=Path("runs"), help="where runs will be written (runs)")
    doctor.add_argument("--data", help="look at these data on every node: their annotations and all image files")


def _doctor(options: argparse.Namespace) -> int:
    from scaling_lab.data import parse_source
    from scaling_lab.study.plan.checkup import check_up

    data = None if options.data is None else parse_source(options.data)
    checks = check_up(address=options.address, storage=options.storage, nodes=options.nodes, data=data)
    if options.json:
        print(json.dumps([check.to_dict() for check in checks], indent=1))
    else:
        print(checks_text(checks))
    return 1 if any(check.advice for check in checks) else 0


def checks_text(checks: list[Check]) -> str:
    """Format a line for each node and check, then the advice."""
    rows = [["node", "check", "state", "found"]]
    rows += [[check.node, check.check, "WRONG" if check.advice else "ok", check.found] for check in checks]
    wrong = [check for check in checks if check.advice]
    words = [f"{check.node}, {check.check}: {check.advice}" for check in wrong] or ["all checks passed"]
    return "\n".join([text_table(rows), "", *words])
