"""The command line: one verb for each thing a user does. It reads arguments and prints; each verb imports its branch.

A UserError becomes one line and exit code 2, and so does what the system says of a file, such as "Permission denied" or "No
space left on device"; Ctrl-C, SIGTERM and SIGHUP become exit code 130.
"""

from __future__ import annotations

import argparse
import contextlib
import sys

from scaling_lab.cli import (
    data,
    detectors,
    doctor,
    measure,
    plan,
    predict,
    reproduce,
    solve,
    status,
    studies,
    train,
    weights,
)
from scaling_lab.cli.streams import discard_output, prepare_streams
from scaling_lab.errors import UserError, first_line
from scaling_lab.files import is_of_files, said
from scaling_lab.signals import interruptible

_NO_READER = 141  # as a shell says of a program that the system ends for it


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; give the exit code. Raises SystemExit where argparse has shown its help or refused the arguments."""
    prepare_streams()
    try:
        code = _run(arguments)
    except SystemExit as end:
        if wrong := _flush():
            return wrong
        raise end
    except BrokenPipeError:  # nobody reads what we say, and what was to be done may not be done
        discard_output()
        return _NO_READER
    return _flush() or code


def _flush() -> int:
    """Write what stdout still holds; give the exit code where that fails."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # what was to be done is done
        discard_output()
    except OSError as error:
        discard_output()
        return _refuse(f"the output cannot be written: {error.strerror or error}")
    return 0


def _run(arguments: list[str] | None) -> int:
    try:
        options, unknown = _parser().parse_known_args(arguments)
        if unknown:  # by the verb's own parser, whose usage says what there is
            options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        # Before a verb has begun to listen for itself, too, and where it never does: what it has started is ended.
        with interruptible(lambda text: print(text, file=sys.stderr, flush=True), at_once=True):
            return int(options.verb(options) or 0)
    except UserError as error:
        return _refuse(str(error))
    except MemoryError as error:
        return _refuse(f"memory does not suffice: {first_line(error)}")
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if isinstance(error, BrokenPipeError) or not is_of_files(error):
            raise
        return _refuse(said(error))


def _refuse(words: str) -> int:
    with contextlib.suppress(OSError):  # nobody may read that either
        print(f"scaling-lab: {words}", file=sys.stderr)
    return 2


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
    plan.add_verbs(verbs)
    doctor.add_verbs(verbs)
    detectors.add_verbs(verbs)
    reproduce.add_verbs(verbs)
    solve.add_verbs(verbs)
    measure.add_verbs(verbs)
    data.add_verbs(verbs)
    weights.add_verbs(verbs)
    train.add_verbs(verbs)
    predict.add_verbs(verbs)
    return parser
