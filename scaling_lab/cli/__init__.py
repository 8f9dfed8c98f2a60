"""The command line: one verb for each thing a user does. It reads arguments and prints; each verb imports its branch.

A UserError becomes one line and exit code 2; Ctrl-C becomes exit code 130.
"""

from __future__ import annotations

import argparse
import sys

from scaling_lab.cli import (
    budget,
    checkup,
    data,
    detectors,
    latency,
    planning,
    prediction,
    reproduce,
    status,
    studies,
    training,
    weights,
)
from scaling_lab.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; give the exit code."""
    options, unknown = _parser().parse_known_args(arguments)
    if unknown:  # by the verb's own parser, whose usage says what there is
        options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    try:
        return int(options.verb(options) or 0)
    except UserError as error:
        print(f"scaling-lab: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scaling-lab",
        description="Questions about detector architecture: one file, one command, one honest report.",
        epilog="examples:\n  scaling-lab run studies/topology_ablation.py\n  scaling-lab show bifpn\n"
        "  scaling-lab count d0 d3 --json\n  scaling-lab train d0 --data coco:/data/mine\n"
        "  scaling-lab report runs/topology_ablation\n  scaling-lab init my_project",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    studies.add_verbs(verbs)
    status.add_verbs(verbs)
    planning.add_verbs(verbs)
    checkup.add_verbs(verbs)
    detectors.add_verbs(verbs)
    reproduce.add_verbs(verbs)
    budget.add_verbs(verbs)
    latency.add_verbs(verbs)
    data.add_verbs(verbs)
    weights.add_verbs(verbs)
    training.add_verbs(verbs)
    prediction.add_verbs(verbs)
    return parser
