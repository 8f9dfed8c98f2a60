"""One process of the protocol: python -m scaling_lab.latency.worker reads a job and writes a line of JSON for each event.

Contestants run in blocks, in a random order for every second round, reversed for the next. An anchor, one of them, runs
between every few. protocol.py decides which runs are valid.
"""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Callable
from typing import Any

import torch

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.errors import UserError, first_line
from scaling_lab.latency.conditions import Conditions
from scaling_lab.latency.contestants import prepare_or_tell, used
from scaling_lab.latency.device import Others
from scaling_lab.latency.peak_memory import peak_memory
from scaling_lab.latency.profiling import profile
from scaling_lab.latency.timing import BLOCK, block, protocol_warm_up, turns

Tell = Callable[[dict[str, Any]], None]


def main() -> None:
    """Read a job, run it and write events to stdout. Output of libraries goes to stderr."""
    stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(event: dict[str, Any]) -> None:
        stream.write(json.dumps(event) + "\n")
        stream.flush()

    job = json.loads(sys.stdin.read())
    try:
        work(job, tell)
    except UserError as error:
        tell({"error": str(error)})
    except torch.OutOfMemoryError as error:
        tell({"error": f"the detectors do not fit the device's memory together: {first_line(error)}"})


def work(job: dict[str, Any], tell: Tell) -> None:
    """Run a job.

    Its keys: specs, anchor, conditions, rounds, warm_runs, seed, and whether a profile and the peak memory are wanted.
    Events, in order: {"built"} and {"warm", "change"} for each contestant; {"round"} and {"anchors", "blocks"} for each
    group of a round; {"others"}; {"profile", "milliseconds"} for each contestant; {"memory"}.
    """
    conditions = Conditions(**job["conditions"])
    with used(conditions):
        _work(job, conditions, tell)


def _work(job: dict[str, Any], conditions: Conditions, tell: Tell) -> None:
    specs = [DetectorSpec.from_dict(values) for values in job["specs"]]
    anchor = prepare_or_tell(DetectorSpec.from_dict(job["anchor"]), conditions)
    contestants = []
    for index, spec in enumerate(specs):
        contestants.append(prepare_or_tell(spec, conditions))
        tell({"built": index})
    for index, run in enumerate((anchor, *contestants)):
        change, runs = protocol_warm_up(run, job["warm_runs"])
        tell({"warm": index - 1, "change": change, "runs": runs})
    others = Others()
    before = block(anchor, BLOCK)
    for number, chunk in turns(len(contestants), job["rounds"], random.Random(job["seed"])):
        tell({"round": number})
        blocks = [(index, block(contestants[index], BLOCK)) for index in chunk]
        after = block(anchor, BLOCK)
        tell({"anchors": (before, after), "blocks": blocks})
        before = after
    tell({"others": others.cores()})
    if job["profile"]:
        for index, spec in enumerate(specs):
            tell({"profile": index, "milliseconds": profile(spec, conditions)})
    if job["memory"]:
        tell({"memory": [peak_memory(each, conditions, each.held) for each in contestants]})


if __name__ == "__main__":
    main()
