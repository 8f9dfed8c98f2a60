"""What `scaling-lab train` shows and keeps while it trains: a bar, a line for each epoch, TensorBoard and JSON lines."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from tensorboardX import SummaryWriter  # type: ignore[import-untyped]
from tqdm import tqdm  # type: ignore[import-untyped]

from scaling_lab.text import duration
from scaling_lab.training.curves import scalars

LINES_EVERY = 30.0  # seconds, where there is no terminal to draw a bar on
_BAR = "{desc} {percentage:3.0f}%|{bar}| {rate_noinv_fmt}{postfix}, {remaining} left"
_EACH_STEPS = ("epoch", "epochs", "loss", "lr")  # not drawn again for the epoch


class TrainingLog:
    """Told of each step and each epoch of a run of `epochs`. What a folder holds of a run that goes on is kept."""

    def __init__(self, folder: Path, stream: TextIO, epochs: int) -> None:
        self._folder, self._stream, self._epochs = folder, stream, epochs
        self._path = folder / "epochs.jsonl"
        self.epochs_done = _repair(self._path) if (folder / "checkpoint.pt").exists() else 0
        if self.epochs_done == 0:
            self._path.unlink(missing_ok=True)
        self._writer: SummaryWriter | None = None
        self._bar: Any = None
        self._loss, self._steps, self._next = 0.0, 0, time.monotonic() + LINES_EVERY

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        if self._writer is not None:
            self._writer.close()

    def step(self, step: Mapping[str, float]) -> None:
        """Show and keep a step, given as `training.train.Progress` says."""
        self._steps = int((step["epoch"] - 1) * step["steps"] + step["step"])
        if self._writer is None:
            # What was drawn after the checkpoint is drawn anew. Without the step in its name, a file would replace one of
            # the same second.
            name = f".{self._steps}"
            self._writer = SummaryWriter(str(self._folder), purge_step=self._steps, filename_suffix=name)
        self._writer.add_scalar("train/loss", step["loss"], self._steps)
        self._writer.add_scalar("train/lr", step["lr"], self._steps)
        self._loss = step["loss"] + (self._loss if step["step"] > 1 else 0.0)
        words = f"loss {self._loss / step['step']:.3f}, {100 * step['waited'] / step['seconds']:.1f} % waiting for data"
        if self._stream.isatty():
            self._draw(step, words)
        elif time.monotonic() >= self._next:
            self._next = time.monotonic() + LINES_EVERY
            seconds = step["seconds"] / step["step"]
            left = duration((self._epochs * step["steps"] - self._steps) * seconds)
            place = f"{self._place(step)}, step {step['step']:.0f}/{step['steps']:.0f}"
            self.say(f"{place}: {words}, {step['images'] / seconds:.1f} images/s, {left} left")

    def epoch(self, metrics: Mapping[str, Any]) -> None:
        """Keep and show what an epoch gave. A run that goes on tells its last one again: that is not kept twice."""
        if metrics["epoch"] > self.epochs_done:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(metrics) + "\n")
            self.epochs_done = metrics["epoch"]
            if self._writer is not None:
                self._plot(self._writer, metrics)
        words = [f"loss {metrics['loss']:.3f}", f"{100 * metrics['waiting']:.1f} % waiting for data"]
        words += [f"{metrics['images_per_second']:.1f} images/s", duration(metrics["seconds"])]
        words += [f"ap {metrics['ap']:.1f}"] if metrics.get("ap") is not None else []
        if metrics.get("too_large"):
            words.append(
                f"batches in {metrics['accumulate']} parts: {metrics['too_large']} images were too many at once"
            )
        if self._bar is not None:
            self._bar.set_description_str(self._place(metrics), refresh=False)
        self.say(f"{self._place(metrics)}: {', '.join(words)}")

    def say(self, line: str) -> None:
        """Write a line, above the bar where there is one."""
        tqdm.write(line, file=self._stream)
        self._stream.flush()

    def _plot(self, writer: SummaryWriter, metrics: Mapping[str, Any]) -> None:
        for name, value in scalars(metrics, without=_EACH_STEPS):
            writer.add_scalar(name, value, self._steps)
        writer.flush()

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
        # Not by the batch's images: an epoch begins anew where the memory did not suffice.
        self._bar.update(int(self._steps * step["images"]) - self._bar.n)
        if last:
            self._bar.refresh()

    def _place(self, values: Mapping[str, float]) -> str:
        return f"epoch {values['epoch']:.0f}/{self._epochs}"


def _repair(path: Path) -> int:
    """Drop a last line that a kill has cut short; its epoch is told again. Give the number of lines kept."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    kept = [line for line in lines if line.endswith("}\n")]
    if kept != lines:
        path.write_text("".join(kept), encoding="utf-8")
    return len(kept)
