"""Shared by all verbs: help with examples, --json, and common options."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_lab.errors import UserError, first_line

if TYPE_CHECKING:
    import torch


def add_verb(
    verbs: Any, name: str, run: Callable[[argparse.Namespace], int | None], text: str, *examples: str
) -> argparse.ArgumentParser:
    """Add a verb that calls `run`. Each example is a command line without the program's name."""
    parser: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=text,
        description=text,
        epilog="\n".join(["examples:", *(f"  scaling-lab {example}" for example in examples)]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(verb=run, parser=parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def image_size(text: str) -> tuple[int, int]:
    """Read "512" or "480x640" as (height, width), for argparse. The least is 32 px, the stride of most backbones."""
    if not re.fullmatch("[0-9]{1,5}(x[0-9]{1,5})?", text):
        raise argparse.ArgumentTypeError(f"{text!r}; allowed are a number of pixels, such as 512, and HEIGHTxWIDTH")
    height, _, width = text.partition("x")
    size = (int(height), int(width or height))
    if min(size) < 32:
        raise argparse.ArgumentTypeError(f"{text!r}; allowed are 32 pixels or more")
    return size


def usable_device(name: str | None) -> torch.device:
    """Return the device of that name; without a name, a GPU if available, with a note where torch does not see one.

    Raises UserError where it cannot be used.
    """
    import torch

    from scaling_lab.machine import hidden_gpus

    if name is None and not torch.cuda.is_available() and (note := hidden_gpus(0, torch.version.cuda)):
        print(f"using the processor: {note}", file=sys.stderr, flush=True)
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        if device.type not in ("cpu", "cuda", "mps"):
            raise RuntimeError("allowed are cpu, cuda and mps")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device is {name!r}, which cannot be used: {first_line(error)}") from None
    return device


def add_feature_options(parser: argparse.ArgumentParser, default: str) -> None:
    """Add the options of stored features of frozen backbones, which recipes with `views` use."""
    parser.add_argument(
        "--features",
        type=Path,
        metavar="DIR",
        help=f"the folder of stored features, for recipes with views; runs may share it ({default})",
    )
    parser.add_argument(
        "--features-gb",
        type=float,
        default=20.0,
        help="the most that it may hold; the least recently used go first (20)",
    )


def add_log_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that logs to trackers."""
    parser.add_argument(
        "--log",
        action="append",
        default=[],
        metavar="TRACKER",
        help="also log to mlflow or wandb (Weights & Biases, offline unless WANDB_MODE is set); may be repeated",
    )
