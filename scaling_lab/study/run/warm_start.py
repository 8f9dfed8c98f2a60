"""Warm starts: the trials of other runs that a search starts from, copied into its ledger at its first start."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scaling_lab.errors import UserError
from scaling_lab.metrics import ACCURACIES
from scaling_lab.runs.reader import Runs
from scaling_lab.study.samplers import SAMPLERS
from scaling_lab.study.study import Study

# Fitting more takes minutes.
MOST_TRIALS = 400
Warm = list[dict[str, Any]]


def meta_of(warm: Warm) -> dict[str, Any]:
    """Return what the ledger stores: `warm_start` for readers, `warm_start_trials` to continue from."""
    facts = [{"run": run["run"], "trials": len(run["trials"]), "digest": run["digest"]} for run in warm]
    return {"warm_start": facts, "warm_start_trials": warm}


def check_warm_start(study: Study, runs: Sequence[str | Path]) -> None:
    """Raise UserError where the study's sampler cannot start from other runs."""
    able = [sampler.name for sampler in SAMPLERS.values() if sampler.can_start_warm]
    if runs and study.sampler not in able:
        raise UserError(f"--warm-start with sampler {study.sampler!r}: allowed are {', '.join(able)}")


def read_warm_start(
    runs: Sequence[str | Path],
    study: Study,
    *,
    before: Mapping[str, Any] | None,
    folder: Path,
    say: Callable[[str], None],
) -> Warm:
    """Return what a search starts from: for each run its name, the digest of its trials, and these with their values.

    `before` is the `meta` of a ledger with trials, else None. What was read before the first trial is used again, whatever
    became of the runs. Raises UserError for runs that cannot be read, and for others than those.
    """
    names = [str(Path(run)) for run in runs]
    if before is None:
        return [_read(name, study, folder) for name in names]
    stored: Warm = before.get("warm_start_trials", [])
    if not names or names == [run["run"] for run in stored]:
        for run in stored if names else ():
            if (change := _change(run, study, folder)) is not None:
                say(f"warm start: {change}; the search keeps the trials that it read at its first start")
        return stored
    first = f"from {', '.join(run['run'] for run in stored)}" if stored else "without --warm-start"
    raise UserError(f"{folder} holds a search that was started {first}; choose another folder with --out")


def _change(run: Mapping[str, Any], study: Study, folder: Path) -> str | None:
    """Return what became of a run since it was read, or None."""
    try:
        now = _read(run["run"], study, folder)
    except UserError as error:
        return str(error)
    return None if now["digest"] == run["digest"] else f"{run['run']} has changed"


def _read(name: str, study: Study, folder: Path) -> dict[str, Any]:
    """Read the complete trials of a run, whatever their roles, as the ledger stores them."""
    if Path(name).resolve() == folder.resolve():
        raise UserError(f"--warm-start {name} is the run itself; allowed are other runs")
    runs = Runs(name)
    (measured,) = (objective for objective in study.objectives if objective in ACCURACIES)
    table = runs.table()
    table = table[(table["state"] == "complete") & table[measured].notna()]
    params = dict(reversed(runs.points()))
    rows = zip(table["architecture"], table["seed"], table[measured], strict=True)
    trials = [{"params": params[digest], "seed": int(seed), "value": float(value)} for digest, seed, value in rows]
    if not trials:
        raise UserError(f"{name} has no complete trial with {measured}")
    digest = hashlib.sha256(json.dumps([measured, trials], sort_keys=True).encode()).hexdigest()[:12]
    if len(trials) > MOST_TRIALS:
        places = sorted(random.Random(0).sample(range(len(trials)), MOST_TRIALS))
        trials = [trials[place] for place in places]
    return {"run": name, "digest": digest, "measured": measured, "trials": trials}
