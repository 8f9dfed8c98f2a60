"""Whether changed code still gives a kept run's numbers: one of its trials trained again, and its AP the same.

For a change that alters no number, such as another shape of the same code. Rounding differs between machines and grows in
training, so only the machine that a run was made on can tell; elsewhere the run has to be made again.
"""

from __future__ import annotations

import datetime
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scaling_lab.code_digest import code_digest
from scaling_lab.errors import UserError
from scaling_lab.files import write_whole
from scaling_lab.report.tables import records
from scaling_lab.runs import Runs

NAME = "confirmed.json"
SAME = 0.005  # AP, on a scale of 100: what is printed is the same


def confirmed_digests(folder: Path) -> set[str]:
    """Give the digests of code with which a trial of a kept run had the same AP again."""
    return {str(row["code"]) for row in _read(folder)}


def confirm(folder: Path, report: Callable[[str], None] = print) -> dict[str, Any]:
    """Train a kept run's cheapest trial again with the code as it is and note that it had the same AP.

    Raises UserError where it had another: then the run no longer is what the code gives, or this is another machine.
    """
    runs = Runs(folder)
    table = runs.table()
    complete = table[(table["state"] == "complete") & table["ap"].notna()]
    if complete.empty:
        raise UserError(f"{folder} has no complete trial to train again")
    row = min(records(complete), key=lambda each: (each["seconds"], each["trial"]))
    report(f"training trial {row['trial']} of {folder.name} again ({row['description']}, seed {row['seed']})")
    again = _train(runs, row)
    if abs(again - row["ap"]) > SAME:
        raise UserError(
            f"trial {row['trial']} of {folder} has AP {again:.2f} now and had {row['ap']:.2f}: the code gives other numbers, or "
            "this machine rounds otherwise; run the study again"
        )
    found = {
        "code": code_digest(),
        "trial": int(row["trial"]),
        "ap": row["ap"],
        "ap_again": again,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
    }
    write_whole(folder / NAME, json.dumps([*_read(folder), found], indent=1) + "\n")
    return found


def _train(runs: Runs, row: dict[str, Any]) -> float:
    import torch

    from scaling_lab.data import source_from_dict
    from scaling_lab.training.recipe import Recipe
    from scaling_lab.training.train import nothing, train

    threads = max(1, int(runs.meta["cpus_per_trial"]))
    torch.set_num_threads(threads)
    spec = runs.specs()[str(row["architecture"])]
    with tempfile.TemporaryDirectory() as folder:
        metrics = train(
            spec,
            source_from_dict(runs.meta["data"]),
            Recipe.from_dict(runs.meta["recipe"]),
            seed=int(row["seed"]),
            folder=Path(folder),
            report=nothing,
            workers=threads - 1,
        )
    return float(metrics["ap"])


def _read(folder: Path) -> list[dict[str, Any]]:
    path = folder / NAME
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
