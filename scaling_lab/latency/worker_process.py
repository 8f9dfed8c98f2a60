"""Runs a worker process with a job and passes on its events."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

from scaling_lab.errors import UserError
from scaling_lab.latency import worker

PAUSE = 15.0  # seconds between two progress messages

Say = Callable[[str], None]


class Progress:
    """Prints the progress of a process from time to time."""

    def __init__(self, detectors: int, rounds: int, say: Say) -> None:
        self._detectors, self._rounds, self._say = detectors, rounds, say
        self._last = time.monotonic()

    def __call__(self, event: dict[str, Any]) -> None:
        """Handle an event."""
        words = ""
        if "built" in event:
            words = f"built {event['built'] + 1} of {self._detectors}"
        elif "warm" in event:
            words = f"warm {event['warm'] + 1} of {self._detectors}"
        elif "round" in event:
            words = f"round {event['round'] + 1} of {self._rounds}"
        elif "profile" in event:
            words = f"profiled {event['profile'] + 1} of {self._detectors}"
        if words and time.monotonic() - self._last > PAUSE:
            self._last = time.monotonic()
            self._say(f"  {words}")


def run_worker(job: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Run worker.py with a job and yield its events. Raises UserError for its errors, and where it dies."""
    command = [sys.executable, "-m", worker.__name__]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(job))
            process.stdin.close()
            for line in process.stdout:
                event = json.loads(line)
                if "error" in event:
                    raise UserError(event["error"])
                yield event
        except BaseException:  # includes GeneratorExit, when the caller stops iterating
            process.kill()
            raise
        if process.wait() != 0:
            errors.seek(0)
            last = ([line for line in errors.read().splitlines() if line.strip()] or ["no message"])[-1]
            raise UserError(f"a measuring process died with exit code {process.returncode}: {last}")
