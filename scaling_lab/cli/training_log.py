"""The log of `scaling-lab train`: progress bar, a line for each epoch, TensorBoard events and JSON lines."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from tqdm import tqdm  # type: ignore[import-untyped]

from scaling_lab.checks import is_whole
from scaling_lab.errors import UserError
from scaling_lab.files import WriteError, append_line, parse_json, read_bytes, write_whole
from scaling_lab.text import duration
from scaling_lab.training.curves import Events, scalars

LINES_EVERY = 30.0  # seconds, between lines, where there is no terminal for a bar
_BAR = "{desc} {percentage:3.0f}%|{bar}| {rate_noinv_fmt}{postfix}, {remaining} left"
_EACH_STEPS = ("epoch", "epochs", "loss", "lr")  # step values, not logged again for the epoch


class TrainingLog:
    """Logs the steps and epochs of a training run of `epochs`. A continued run keeps its folder's log."""

    def __init__(self, folder: Path, stream: TextIO, epochs: int) -> None:
        self._folder, self._stream, self._epochs = folder, stream, epochs
        self._path = folder / "epochs.jsonl"
        self.epochs_done = _repair(self._path) if (folder / "checkpoint.pt").exists() else 0
        if self.epochs_done == 0:
            self._path.unlink(missing_ok=True)
        self._events: Events | None = None
        self._bar: Any = None
        self._loss, self._summed = 0.0, 0  # over this session's steps of the epoch
        self._steps, self._next = 0, time.monotonic() + LINES_EVERY

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        if self._events is not None:
            with contextlib.suppress(*([] if kind is None else [WriteError])):  # report the first error
                self._events.flush()

    def step(self, step: Mapping[str, float]) -> None:
        """Show and log a step, in the form of `training.train.Progress`."""
        self._steps = int((step["epoch"] - 1) * step["steps"] + step["step"])
        if self._events is None:
            self._events = Events(self._folder, self._steps)  # events after the checkpoint are written again
        self._events.add(self._steps, [("train/loss", step["loss"]), ("train/lr", step["lr"])])
        if step["step"] == 1:
            self._loss, self._summed = 0.0, 0
        self._loss, self._summed = self._loss + step["loss"], self._summed + 1
        words = f"loss {self._loss / self._summed:.3f}, {100 * step['waited'] / step['seconds']:.1f} % waiting for data"
        if self._stream.isatty():
            self._draw(step, words)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + LINES_EVERY
            seconds = step["seconds"] / step["step"]
            left = duration((self._epochs * step["steps"] - self._steps) * seconds)
            place = f"{self._place(step)}, step {step['step']:.0f}/{step['steps']:.0f}"
            self.say(f"{place}: {words}, {step['images'] / seconds:.1f} images/s, {left} left")

    def epoch(self, metrics: Mapping[str, Any]) -> None:
        """Log and show an epoch's metrics. The epoch that a continued run repeats is logged once."""
        if metrics["epoch"] > self.epochs_done:
            append_line(self._path, json.dumps(metrics))
            self.epochs_done = metrics["epoch"]
            if self._events is not None:
                self._events.add(self._steps, scalars(metrics, without=_EACH_STEPS))
                self._events.flush()
        words = [f"loss {metrics['loss']:.3f}", f"{100 * metrics['waiting']:.1f} % waiting for data"]
        words += [f"{metrics['images_per_second']:.1f} images/s", duration(metrics["seconds"])]
        words += [f"{metrics['gpu_memory_mb']:,.0f} MB of GPU memory"] if "gpu_memory_mb" in metrics else []
        words += [f"ap {metrics['ap']:.1f}"] if metrics.get("ap") is not None else []
        if metrics.get("too_large"):
            words.append(
                f"batches in {metrics['accumulate']} parts: {metrics['too_large']} images did not fit in memory"
            )
        if self._bar is not None:
            self._bar.set_description_str(self._place(metrics), refresh=False)
        self.say(f"{self._place(metrics)}: {', '.join(words)}")

    def say(self, line: str) -> None:
        """Write a line, above the bar if there is one."""
        tqdm.write(line, file=self._stream)
        self._stream.flush()

    def _draw(self, step: Mapping[str, float], words: str) -> None:
        if self._bar is None:
            total = int(self._epochs * step["steps"] * step["images"])
            done = int((self._steps - 1) * step["images"])
            self._bar = tqdm(
                total=total, initial=done, unit=" images", desc=self._place(step), file=self._stream,
                bar_format=_BAR, dynamic_ncols=True, leave=False,
            )  # fmt: skip
        last = step["step"] == step["steps"]
        self._bar.set_description_str(self._place(step) + ", evaluating" * last, refresh=False)
        self._bar.set_postfix_str(words, refresh=False)
        # Not counted by the batch's images: an epoch restarts after an out-of-memory error.
        self._bar.update(int(self._steps * step["images"]) - self._bar.n)
        if last:
            self._bar.refresh()

    def _place(self, values: Mapping[str, float]) -> str:
        return f"epoch {values['epoch']:.0f}/{self._epochs}"


def _repair(path: Path) -> int:
    """Drop incomplete lines, as a kill leaves them. Return the last epoch kept."""
    if not path.exists():
        return 0
    lines = read_bytes(path).decode("utf-8", errors="replace").split("\n")
    epochs = {line: epoch for line in lines if (epoch := _epoch(line)) > 0}
    kept = "".join(f"{line}\n" for line in epochs)
    if kept != "\n".join(lines):
        write_whole(path, kept)
    return max(epochs.values(), default=0)


def _epoch(line: str) -> int:
    """Return the epoch of a log line, or 0 for another line."""
    try:
        told = parse_json(line)
    except UserError:
        return 0
    epoch = told.get("epoch") if isinstance(told, dict) else None
    return epoch if is_whole(epoch) else 0
