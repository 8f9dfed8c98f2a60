"""Where a run's numbers come from and what went wrong on the way: the sections Failures and Provenance."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd

from scaling_lab.report import words
from scaling_lab.report.blocks import Block, Code, Column, Details, Facts, Section, Table, Text
from scaling_lab.report.tables import records

if TYPE_CHECKING:
    from scaling_lab.report.frontier import Frontier
    from scaling_lab.runs import Runs

KINDS = {
    "diverged": "the loss was not finite",
    "out_of_memory": "the device's memory was too small",
    "bad_input": "an image or annotation was unusable",
    "lost_worker": "the process that trained it was lost",
    "error": "an error in the program",
}


def failures(runs: Runs, frontier: Frontier) -> Section:
    """Show failed and stopped trials by kind, and points of the space that limits refused."""
    trials = runs.table()
    found: list[Block] = [Text(text=f"{words.states(trials)}.")]
    failed = trials[trials["state"] == "failed"]
    if len(failed):
        found += _failure_tables(failed, frontier)
    elif len(trials):
        found.append(Text(text="No trial failed.", tone="note"))
    if (trials["state"] == "stopped").any():
        text = "Stopped trials were ended before their planned epochs; their AP is never on the front."
        found.append(Text(text=text, tone="note"))
    return Section(title="Failures", blocks=(*found, *_rejections(runs)))


def _failure_tables(failed: pd.DataFrame, frontier: Frontier) -> list[Block]:
    kinds = [
        {"kind": kind, "meaning": KINDS.get(str(kind), ""), "trials": len(group)}
        for kind, group in failed.groupby("failure_kind", dropna=False)
    ]
    by_kind = Table(
        name="failures_by_kind",
        frame=pd.DataFrame(kinds).sort_values(["trials", "kind"], ascending=[False, True]),
        columns=(
            Column(key="kind", label="Kind"),
            Column(key="meaning", label="Meaning"),
            Column(key="trials", label="Trials", digits=0),
        ),
    )
    frame = failed.assign(label=[frontier.labels.get(digest, "") for digest in failed["architecture"]])
    each = Table(
        name="failures",
        frame=frame[["label", "trial", "seed", "failure_kind", "failure_message", "epochs_done"]],
        columns=(
            Column(key="label", label="Architecture"),
            Column(key="trial", label="Trial", digits=0),
            Column(key="seed", label="Seed", digits=0),
            Column(key="epochs_done", label="Epochs", digits=0),
            Column(key="failure_kind", label="Kind"),
            Column(key="failure_message", label="Message"),
        ),
    )
    return [by_kind, Details(title=f"{words.plural(len(frame), 'failed trial')}, one by one", blocks=(each,))]


def _rejections(runs: Runs) -> list[Block]:
    rejected = runs.rejections()
    if rejected.empty:
        return []
    counts = rejected["reason"].value_counts().rename_axis("reason").reset_index(name="points")
    table = Table(
        name="rejections",
        frame=counts.sort_values(["points", "reason"], ascending=[False, True]),
        columns=(Column(key="reason", label="Reason"), Column(key="points", label="Points", digits=0)),
        caption="Points of the space that the study's limits refused before any training.",
    )
    return [Details(title=f"{words.plural(len(rejected), 'point')} of the space refused by limits", blocks=(table,))]


def provenance(runs: Runs) -> Section:
    """Show what is needed to run it again: study file, command, versions, commit, seeds, data, devices, dates."""
    meta, sessions, trials = runs.meta, runs.sessions(), runs.table()
    data = f"{meta.get('data_description') or 'not recorded'} (digest {meta.get('data_digest') or 'not recorded'})"
    protocols = sorted({str(value) for value in trials["protocol"]}) if len(trials) else []
    facts = [
        ("Study", str(meta.get("study", runs.path.name)) + (f", form {meta['form']}" if meta.get("form") else "")),
        ("Study file", str(meta.get("study_file") or "not recorded")),
        ("Data", data),
        ("Seeds", ", ".join(str(seed) for seed in meta.get("seeds") or []) or "not recorded"),
        ("Protocol digests", ", ".join(protocols) or "none"),
        ("Trained on", ", ".join(sorted({str(d) for d in trials["device"].dropna()})) or "not recorded"),
    ]
    facts += _objectives(meta) + _last_session(sessions)
    found: list[Block] = [Facts(items=tuple(facts))]
    if len(sessions):
        found.append(
            Details(title=f"All {words.plural(len(sessions), 'session')}", blocks=(_sessions_table(sessions),))
        )
        found.append(Details(title="Versions and host", blocks=tuple(_versions(records(sessions)[-1]))))
    if meta.get("recipe"):
        found.append(Details(title="Training recipe", blocks=(Facts(items=_flat(meta["recipe"])),)))
    if meta.get("study_source"):
        found.append(Details(title="Source of the study file", blocks=(Code(text=str(meta["study_source"])),)))
    return Section(title="Provenance", blocks=tuple(found))


def _objectives(meta: dict[str, Any]) -> list[tuple[str, str]]:
    found = []
    if meta.get("objectives"):
        found.append(("Objectives", ", ".join(f"{way} {name}" for name, way in meta["objectives"].items())))
    if meta.get("limits"):
        found.append(("Limits", ", ".join(f"{name} ≤ {limit:g}" for name, limit in meta["limits"].items())))
    if meta.get("baseline"):
        found.append(("Baseline", ", ".join(f"{name} = {value}" for name, value in meta["baseline"].items())))
    return found


def _last_session(sessions: pd.DataFrame) -> list[tuple[str, str]]:
    if sessions.empty:
        return [("Sessions", "none recorded")]
    last = records(sessions)[-1]
    return [
        ("Last command", str(last["command"])),
        ("Commit", _commit(last)),
        ("First started", str(sessions["started"].iloc[0])),
        ("Last ended", str(last["ended"]) if pd.notna(last["ended"]) else "not ended: still running, or it was killed"),
    ]


def _commit(session: dict[str, Any]) -> str:
    if pd.isna(session["git_commit"]):
        return "not in a git repository"
    return str(session["git_commit"]) + (" with uncommitted changes" if session["git_dirty"] else "")


def _sessions_table(sessions: pd.DataFrame) -> Table:
    shown = sessions.assign(commit=[_commit(row) for row in records(sessions)])
    shown = shown.assign(
        **{name: [json.dumps(value, sort_keys=True) for value in shown[name]] for name in ("versions", "host")}
    )
    return Table(
        name="sessions",
        frame=shown,
        columns=(
            Column(key="started", label="Started"),
            Column(key="ended", label="Ended"),
            Column(key="executor", label="Executor"),
            Column(key="command", label="Command"),
            Column(key="commit", label="Commit"),
        ),
    )


def _versions(session: dict[str, Any]) -> list[Block]:
    return [Facts(items=_flat(session[name])) for name in ("host", "versions") if session[name]]


def _flat(values: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """Write a dictionary as names and values, a nested one as its JSON."""
    return tuple(
        (name.replace("_", " "), value if isinstance(value, str) else json.dumps(value, sort_keys=True))
        for name, value in values.items()
    )
