"""The command line: one verb for each thing a user does. Each verb reads its arguments, calls its package and prints.

A UserError, and a file error such as "Permission denied" or "No space left on device", is printed as one line, with exit
code 2. Ctrl-C, SIGTERM and SIGHUP give exit code 130.
"""

from __future__ import annotations

import argparse
import contextlib
import sys

from scaling_lab.cli import (
    backbones,
    data,
    detectors,
    doctor,
    frontier,
    measure,
    plan,
    predict,
    published,
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

_NO_READER = 141  # 128 + SIGPIPE, as shells report it


def main(arguments: list[str] | None = None) -> int:
    """Run one verb and return the exit code. Raises SystemExit where argparse has shown help or refused the arguments."""
    prepare_streams()
    try:
        code = _run(arguments)
    except SystemExit as end:
        if wrong := _flush():
            return wrong
        raise end
    except BrokenPipeError:  # the reader is gone, perhaps before the work was done
        discard_output()
        return _NO_READER
    return _flush() or code


def _flush() -> int:
    """Flush stdout; return a non-zero exit code where that fails."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # the work itself is done
        discard_output()
    except OSError as error:
        discard_output()
        return _refuse(f"the output cannot be written: {error.strerror or error}")
    return 0


def _run(arguments: list[str] | None) -> int:
    try:
        options, unknown = _parser().parse_known_args(arguments)
        if unknown:  # the verb's own parser prints the verb's usage
            options.parser.error(f"unrecognized arguments: {' '.join(unknown)}")
        # Covers the time before a verb installs its own handlers: child processes are ended too.
        with interruptible(lambda text: print(text, file=sys.stderr, flush=True), at_once=True):
            return int(options.verb(options) or 0)
    except UserError as error:
        return _refuse(str(error))
    except MemoryError as error:
        return _refuse(f"out of memory: {first_line(error)}")
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        if isinstance(error, BrokenPipeError) or not is_of_files(error):
            raise
        return _refuse(said(error))


def _refuse(words: str) -> int:
    with contextlib.suppress(OSError):  # stderr may be closed too
        print(f"scaling-lab: {words}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scaling-lab",
        description="Detector-architecture studies: one file, one command, one report.",
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
    published.add_verbs(verbs)
    reproduce.add_verbs(verbs)
    solve.add_verbs(verbs)
    measure.add_verbs(verbs)
    frontier.add_verbs(verbs)
    data.add_verbs(verbs)
    weights.add_verbs(verbs)
    backbones.add_verbs(verbs)
    train.add_verbs(verbs)
    predict.add_verbs(verbs)
    return parser
