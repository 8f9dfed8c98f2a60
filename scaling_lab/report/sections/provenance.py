"""The sections Failures and Provenance of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scaling_lab.metrics import COSTS, METRICS
from scaling_lab.report.page.blocks import Block, Code, Column, Details, Facts, Section, Table, Text
from scaling_lab.report.sections import conclusion_words
from scaling_lab.report.tables import is_missing, records
from scaling_lab.runs.reader import NO_KIND, ROLES
from scaling_lab.stats import estimates
from scaling_lab.text import plainly, plural

if TYPE_CHECKING:
    from scaling_lab.report.analysis.frontier import Frontier
    from scaling_lab.runs.reader import Runs

MOST_FAILURES = 8  # more are counted by kind and listed in a collapsed table
NAMES = {"cpu": "CPU", "gpus": "GPUs", "memory_gb": "memory, GB", "lr": "learning rate", "ema_decay": "EMA decay"}
WAYS = {"maximize": "high", "minimize": "low"}


def failures(runs: Runs, frontier: Frontier) -> Section:
    """Show failed and stopped trials by kind, and points of the space rejected by limits."""
    trials = runs.table()
    found: list[Block] = [Text(text=f"{conclusion_words.states(trials)}.")]
    failed = trials[trials["state"] == "failed"]
    if len(failed):
        found += _failure_tables(runs, failed, frontier)
    elif len(trials):
        found.append(Text(text="No trial failed.", tone="note"))
    if (trials["state"] == "stopped").any():
        text = "Stopped trials ended before their planned epochs; they are never on the front."
        found.append(Text(text=text, tone="note"))
    return Section(title="Failures", blocks=(*found, *_outliers(frontier), *_rejections(runs)))


def _outliers(frontier: Frontier) -> list[Block]:
    """Return the training runs that are outliers, far below others of their architecture."""
    limit, marks = frontier.far_below
    if not marks.any():
        return []
    found = frontier.trials[marks]
    table = Table(
        name="outliers",
        frame=found[["label", "trial", "seed", "ap"]].assign(
            median=[float(np.median(frontier.aps[str(digest)])) for digest in found["architecture"]]
        ),
        columns=(
            Column(key="label", label="Outlier"),
            Column(key="seed", label="Seed", digits=0),
            Column(key="ap", label="AP", digits=1),
            Column(key="median", label="Median", digits=1, help="over the seeds of the architecture"),
        ),
        caption=f"Complete training runs over {limit:.1f} AP ({estimates.FAR:g} robust SDs) below their architecture's median. "
        "Where most runs of an architecture fail, its median is low and few are listed.",
    )
    return [table]


def _failure_tables(runs: Runs, failed: pd.DataFrame, frontier: Frontier) -> list[Block]:
    """Return the failed trials; many of them collapsed behind their counts by kind."""
    whys = [conclusion_words.why_failed(kind) for kind in failed["failure_kind"]]
    frame = failed.assign(label=[frontier.labels.get(digest, "") for digest in failed["architecture"]], why=whys)
    logged = any((runs.folder.trial(int(trial)) / "error.txt").is_file() for trial in frame["trial"])
    each = Table(
        name="failures",
        frame=frame[["label", "trial", "seed", "epochs_done", "failure_kind", "why", "failure_message"]],
        columns=(
            Column(key="label", label="Architecture"),
            Column(key="trial", label="Trial", digits=0),
            Column(key="seed", label="Seed", digits=0),
            Column(key="epochs_done", label="Epochs", digits=0),
            Column(key="why", label="Why"),
            Column(key="failure_message", label="Message"),
        ),
        caption="Details are in the run's folder, in trials/<trial>/error.txt." if logged else "",
    )
    if len(frame) <= MOST_FAILURES:
        return [each]
    counts = frame["why"].value_counts().rename_axis("why").reset_index(name="trials")
    by_kind = Table(
        name="failures_by_kind",
        frame=counts.sort_values(["trials", "why"], ascending=[False, True]),
        columns=(Column(key="why", label="Why"), Column(key="trials", label="Trials", digits=0)),
    )
    return [by_kind, Details(title=f"{plural(len(frame), 'failed trial')}, one by one", blocks=(each,))]


def _rejections(runs: Runs) -> list[Block]:
    rejected = runs.rejections()
    if rejected.empty:
        return []
    counts = rejected["reason"].value_counts().rename_axis("reason").reset_index(name="points")
    table = Table(
        name="rejections",
        frame=counts.sort_values(["points", "reason"], ascending=[False, True]),
        columns=(Column(key="reason", label="Reason"), Column(key="points", label="Points", digits=0)),
        caption="Points of the space rejected by the study's limits before training.",
    )
    return [Details(title=f"{plural(len(rejected), 'point')} of the space rejected by limits", blocks=(table,))]


def provenance(runs: Runs, frontier: Frontier | None = None) -> Section:
    """Show what is needed to repeat the run: study file, command, versions, commit, seeds, data, devices, dates."""
    meta, sessions, trials = runs.meta, runs.sessions(), runs.table()
    protocols = sorted({str(value) for value in trials["protocol"]}) if len(trials) else []
    facts = [
        ("Question", str(meta.get("question") or "not recorded")),
        ("Study", str(meta.get("study", runs.path.name)) + (f", form {meta['form']}" if meta.get("form") else "")),
        ("Study file", str(meta.get("study_file") or "not recorded")),
        ("Data", str(meta.get("data_description") or "not recorded")),
        ("Digest of the data", str(meta.get("data_digest") or "not recorded")),
        ("Training protocol", f"{', '.join(protocols) or 'none'} (a digest of data and recipe)"),
        *(
            [("Shared weights", f"{meta['shared']['between']} random detectors in a step")]
            if meta.get("shared")
            else []
        ),
        ("Seeds", seeds_by_role(meta, trials)),
        ("Trained on", trained_on(trials)),
        ("Latency measured on", _timed_on(runs)),
        ("Trials", conclusion_words.states(trials)),
        ("Failures", failure_counts(trials) or "none"),
    ]
    facts += _objectives(meta) + _last_session(sessions)
    found: list[Block] = [Facts(items=tuple(facts))]
    if len(sessions):
        found.append(Details(title=plural(len(sessions), "session"), blocks=(_sessions_table(sessions),)))
        found.append(Details(title="Versions and host", blocks=tuple(_versions(records(sessions)[-1]))))
    if meta.get("recipe"):
        found.append(Details(title="Training recipe", blocks=(Facts(items=_flat(meta["recipe"])),)))
    if meta.get("study_source"):
        found.append(Details(title="Source of the study file", blocks=(Code(text=str(meta["study_source"])),)))
    return Section(title="Provenance", blocks=tuple(found))


def _objectives(meta: dict[str, Any]) -> list[tuple[str, str]]:
    found = [("Sampler", str(meta["sampler"]))] if meta.get("sampler") else []
    if meta.get("warm_start"):
        found.append(("Warm start", f"{warm_start(meta)}; as a prior, not as results"))
    if meta.get("objectives"):
        wishes = (f"{_quantity(name)} as {WAYS.get(way, way)} as possible" for name, way in meta["objectives"].items())
        found.append(("Objectives", ", ".join(wishes)))
    if meta.get("limits"):
        found.append(("Limits", ", ".join(f"{_quantity(name)} ≤ {limit:g}" for name, limit in meta["limits"].items())))
    if meta.get("latency_model"):
        found.append(("Latency model", f"{meta['latency_model']}, digest {meta['latency_model_digest']}"))
    if meta.get("finalists"):
        seeds = ", ".join(str(seed) for seed in meta["finalists"]["seeds"])
        found.append(("Finalists", f"{meta['finalists']['count']}, trained again with seeds {seeds}"))
    if meta.get("baseline"):
        found.append(("Baseline", ", ".join(f"{name} = {value}" for name, value in meta["baseline"].items())))
    return found


def warm_start(meta: Mapping[str, Any]) -> str:
    """List the runs that the search was warm-started from, with what was read of them."""
    runs = (f"{run['run']} ({plural(run['trials'], 'trial')}, digest {run['digest']})" for run in meta["warm_start"])
    return " and ".join(runs)


def _quantity(name: str) -> str:
    return METRICS[name].unit if name in COSTS else METRICS[name].label


def trained_on(trials: pd.DataFrame) -> str:
    """List the devices that trained."""
    return ", ".join(sorted({_device(name) for name in trials["device"].dropna()})) or "not recorded"


def failure_counts(trials: pd.DataFrame) -> str:
    """Count failed trials by kind: "3 diverged, 1 error"; "" if none failed."""
    counts = trials.loc[trials["state"] == "failed", "failure_kind"].fillna(NO_KIND).value_counts()
    by_kind = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    return ", ".join(f"{count} {str(kind).replace('_', ' ')}" for kind, count in by_kind)


def seeds_by_role(meta: dict[str, Any], trials: pd.DataFrame) -> str:
    """List the seeds of the trials by role: the search, then finalists and their baseline.

    A run without a trial has the seeds of its study.
    """
    by_role = {str(role): sorted({int(seed) for seed in group}) for role, group in trials.groupby("role")["seed"]}
    if not by_role:
        by_role = {"search": sorted(meta.get("seeds") or [])}
    if set(by_role) == {"search"}:
        return _numbers(by_role["search"]) or "not recorded"
    return "; ".join(f"{_numbers(by_role[role])} ({role})" for role in ROLES if role in by_role)


def _numbers(values: list[int]) -> str:
    """List integers, with three or more consecutive ones as a range."""
    found: list[list[int]] = []
    for value in values:
        if found and value == found[-1][-1] + 1:
            found[-1].append(value)
        else:
            found.append([value])
    parts = [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in found]
    return ", ".join(parts)


def _timed_on(runs: Runs) -> str:
    return ", ".join(sorted({_device(name) for name in runs.latencies()["device"].dropna()})) or "not measured"


def _device(name: object) -> str:
    return "CPU" if name == "cpu" else str(name)


def _last_session(sessions: pd.DataFrame) -> list[tuple[str, str]]:
    if sessions.empty:
        return [("Sessions", "none recorded")]
    last = records(sessions)[-1]
    return [
        ("Last command", str(last["command"])),
        ("Commit", commit(last)),
        ("First started", _time(sessions["started"].iloc[0])),
        ("Last ended", _time(last["ended"]) or "not ended: still running, or it was killed"),
    ]


def _time(text: object) -> str:
    """Format a time to the minute; "" without a time."""
    if is_missing(text):
        return ""
    return datetime.fromisoformat(str(text)).astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def commit(session: dict[str, Any]) -> str:
    """Return a session's commit, with a note on uncommitted changes."""
    if is_missing(session["git_commit"]):
        return "not in a git repository"
    return str(session["git_commit"]) + (" with uncommitted changes" if session["git_dirty"] == 1 else "")


def _sessions_table(sessions: pd.DataFrame) -> Table:
    shown = sessions.assign(
        commit=[commit(row) for row in records(sessions)],
        began=[_time(value) for value in sessions["started"]],
        stopped=[_time(value) for value in sessions["ended"]],
        **{name: [json.dumps(value, sort_keys=True) for value in sessions[name]] for name in ("versions", "host")},
    )
    return Table(
        name="sessions",
        frame=shown,
        columns=(
            Column(key="began", label="Started"),
            Column(key="stopped", label="Ended"),
            Column(key="executor", label="Executor"),
            Column(key="command", label="Command"),
            Column(key="commit", label="Commit"),
        ),
    )


def _versions(session: dict[str, Any]) -> list[Block]:
    return [Facts(items=_flat(session[name])) for name in ("host", "versions") if session[name]]


def _flat(values: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return a nested dictionary as names and values."""
    return tuple((NAMES.get(name, name.replace("_", " ")), plainly(value)) for name, value in values.items())
