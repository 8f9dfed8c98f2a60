"""Whether changed code still gives a kept run's numbers: its architectures trained a few steps by the code of then and of now.

For a change that alters no number, such as another shape of the same code. Both train here, one beside the other, for rounding
differs between machines; a few steps, for rounding grows in training. The code of then is that of the commits which the run
recorded. Compared are the losses, the held-out images' AP and what is detected on some of them.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import scaling_lab
from scaling_lab.code_digest import code_digest
from scaling_lab.errors import UserError
from scaling_lab.files import write_whole
from scaling_lab.report.analysis.tables import records
from scaling_lab.results.kept import CONFIRMED
from scaling_lab.runs.reader import Runs

STEPS, HELD_OUT = 6, 16  # of training, and images
SAME = 1e-4  # relative: six steps of float32
_HERE = Path(scaling_lab.__file__).resolve().parents[1]

# Run by the code of then too, so it asks for nothing but what a trial is: specs, data, a recipe and a seed.
_TRAINING = """
import json, sys, tempfile
from pathlib import Path
import torch
from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.data import source_from_dict
from scaling_lab.training.recipe import Recipe
from scaling_lab.training.train import train

asked = json.loads(sys.stdin.read())
torch.set_num_threads(1)
found = []
for spec in asked["specs"]:
    with tempfile.TemporaryDirectory() as folder:
        metrics = train(
            DetectorSpec.from_dict(spec), source_from_dict(asked["data"]), Recipe.from_dict(asked["recipe"]),
            seed=asked["seed"], folder=Path(folder), report=lambda metrics: None,
        )
        detections = json.loads((Path(folder) / "detections.json").read_text())
    found.append([metrics[name] for name in sorted(metrics) if name.startswith(("loss", "ap")) and name != "ap_by_class"]
        + [number for image in detections for each in image["detections"] for number in [*each["bbox"], each["score"]]])
print(json.dumps(found))
"""


def confirmed_digests(folder: Path) -> set[str]:
    """Give the digests of code that gave the same numbers as the code of a kept run."""
    return {str(row["code"]) for row in _read(folder)}


def confirm(folder: Path, report: Callable[[str], None] = print) -> dict[str, Any]:
    """Compare a kept run's own code with the present one, and note where both give the same numbers.

    Raises UserError where they do not, where the run's code is no commit that is here, or where it cannot train any more.
    """
    runs = Runs(folder)
    commits, asked = _commits(runs), _asked(runs)
    found: dict[str, Any] = {"code": code_digest(), "commits": commits, "specs": len(asked["specs"])}
    report(
        f"{folder.name}: {STEPS} steps of {len(asked['specs'])} architectures by {', '.join(c[:7] for c in commits)} and now"
    )
    with tempfile.TemporaryDirectory() as home, contextlib.ExitStack() as started:
        folders = [_unpack(commit, Path(home) / commit) for commit in commits]
        processes = [started.enter_context(_start(each, asked)) for each in (*folders, _HERE)]
        *then, now = [_numbers(process, name) for process, name in zip(processes, (*commits, "now"), strict=True)]
    for commit, numbers in zip(commits, then, strict=True):
        for place, (before, after) in enumerate(zip(numbers, now, strict=True)):
            if len(before) != len(after) or not np.allclose(
                _floats(before), _floats(after), rtol=SAME, atol=SAME, equal_nan=True
            ):
                which = runs.specs()[sorted(runs.specs())[place]].describe()
                raise UserError(
                    f"{folder}: the code of {commit[:7]} and that of now give other numbers for {which}; run the study again"
                )
    found["date"] = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    write_whole(folder / CONFIRMED, json.dumps([*_read(folder), found], indent=1) + "\n")
    return found


def _asked(runs: Runs) -> dict[str, Any]:
    """Cut a run's trials short: the same specs and recipe for one epoch of a few images. Raises UserError for data on disk."""
    if runs.meta["data"]["kind"] != "shapes":
        raise UserError(f"{runs.path} was trained on {runs.meta['data']['kind']}; only runs on shapes can be confirmed")
    specs = runs.specs()
    batch = int(runs.meta["recipe"]["batch_size"])
    return {
        "specs": [specs[digest].to_dict() for digest in sorted(specs)],
        "data": {**runs.meta["data"], "train_images": STEPS * batch, "val_images": HELD_OUT},
        "recipe": {**runs.meta["recipe"], "epochs": 1, "eval_every": 1, "warmup_epochs": 0.0},
        "seed": 0,
    }


def training_sessions(runs: Runs) -> list[dict[str, Any]]:
    """Give the sessions in which trials were trained, not those that only wrote a report."""
    trained = set(runs.table()["session"].dropna().astype(int))
    return [row for row in records(runs.sessions()) if row["id"] in trained]


def _commits(runs: Runs) -> list[str]:
    """Give the commits of the sessions that trained. Raises UserError where one ran without one, or with other changes."""
    sessions = training_sessions(runs)
    for row in sessions:
        if not isinstance(row["git_commit"], str) or row["git_dirty"]:
            raise UserError(
                f"{runs.path} did not run from a clean commit, so its code cannot be had again; run the study again"
            )
    return list(dict.fromkeys(str(row["git_commit"]) for row in sessions))


def _unpack(commit: str, home: Path) -> Path:
    """Put the package of a commit into a folder. Raises UserError where the commit is not here."""
    command = ["git", "-C", str(_HERE), "archive", commit, "scaling_lab"]
    try:
        packed = subprocess.run(command, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        raise UserError(f"the commit {commit} is not in the repository of {_HERE}; fetch its whole history") from None
    home.mkdir()
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(home, filter="data")
    return home


def _start(home: Path, asked: dict[str, Any]) -> subprocess.Popen[str]:
    """Begin to train by the package in a folder."""
    with tempfile.TemporaryFile("w+") as file:
        file.write(json.dumps(asked))
        file.seek(0)
        return subprocess.Popen(
            [sys.executable, "-c", _TRAINING],
            cwd=home,
            env={**os.environ, "PYTHONPATH": str(home)},
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def _numbers(process: subprocess.Popen[str], name: str) -> list[list[float | None]]:
    output, errors = process.communicate()
    if process.returncode:
        raise UserError(f"the code of {name} cannot train it: {(errors.strip().splitlines() or ['no message'])[-1]}")
    found: list[list[float | None]] = json.loads(output.splitlines()[-1])
    return found


def _floats(values: list[float | None]) -> np.ndarray[Any, Any]:
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _read(folder: Path) -> list[dict[str, Any]]:
    path = folder / CONFIRMED
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
