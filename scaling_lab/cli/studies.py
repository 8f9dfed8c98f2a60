"""run, report, fetch, init: from a study file to its report."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from scaling_lab.cli.console import trial_rows, trial_table
from scaling_lab.cli.parsing import add_feature_options, add_log_option, add_verb


def add_verbs(verbs: Any) -> None:
    """Add the four verbs to the parser."""
    run = add_verb(
        verbs,
        "run",
        _run,
        "run or continue a study, and write its report",
        "run studies/topology_ablation.py",
        "run studies/width_factor.py --form smoke --executor local",
        "run studies/topology_ablation.py --data coco:/data/coco --out runs/on_coco",
        "run studies/topology_ablation.py --sampler ehvi --warm-start runs/topology_ablation --out runs/warm",
    )
    run.add_argument("study", help="a study file, such as studies/topology_ablation.py")
    run.add_argument("--form", help="one of the study's named forms, such as smoke")
    run.add_argument("--sampler", help="in place of the study's; random is the baseline that reports compare with")
    run.add_argument(
        "--warm-start",
        type=Path,
        nargs="+",
        default=[],
        metavar="RUN",
        help="other runs whose trials a search with sampler ehvi takes as a guess at its own, not as results",
    )
    run.add_argument("--data", help="in place of the study's data: shapes, or a folder, with fields after commas")
    run.add_argument("--out", type=Path, help="the run's folder (runs/<study>[-<form>][-<sampler>])")
    run.add_argument(
        "--executor", choices=["ray", "local"], default="ray", help="local: one trial at a time, in this process"
    )
    run.add_argument("--address", help="a Ray cluster's address; without it, Ray starts on this machine")
    run.add_argument(
        "--at-once",
        type=int,
        metavar="N",
        help="trials at once on a cluster that grows until they fit (as many as fit now)",
    )
    run.add_argument("--cpus", type=int, help="number of this machine's cores for Ray (all)")
    add_log_option(run)
    add_feature_options(run, "<run>/features")
    run.add_argument(
        "--storage",
        metavar="URL",
        help="copy checkpoints and ledger to URL/<run>, such as s3://bucket/runs, and continue from there; nodes then need "
        "no shared folder",
    )
    run.add_argument(
        "--retry-failed",
        action="store_true",
        help="rerun failed trials, from their checkpoint if the machine caused the failure, else from the start",
    )

    report = add_verb(
        verbs,
        "report",
        _report,
        "write the report of a run, compare several, or report on measured latencies",
        "report runs/width_factor",
        "report runs/width_factor --report reports/frontier.py --out frontier",
        "report runs/search runs/search-random",
        "report latencies.csv",
    )
    report.add_argument(
        "runs",
        type=Path,
        nargs="+",
        metavar="RUN",
        help="a run's folder; several are compared, as far as their images, recipe and epochs agree; or a CSV file of "
        "`scaling-lab measure --out`",
    )
    report.add_argument(
        "--report",
        type=Path,
        help="a report file (the study's, or reports/frontier.py; for several runs reports/comparison.py)",
    )
    report.add_argument(
        "--out",
        type=Path,
        help="output folder (<run>/report; x_report for x.csv; for several runs comparison_<run>_<run>)",
    )

    fetch = add_verb(
        verbs,
        "fetch",
        _fetch,
        "bring a run's copy from a storage into a folder, without checkpoints",
        "fetch s3://bucket/runs/width_factor runs/width_factor",
        "fetch s3://bucket/runs/width_factor runs/width_factor --weights && scaling-lab report runs/width_factor",
    )
    fetch.add_argument("url", help="the URL of `run --storage`, and the run's name")
    fetch.add_argument("folder", type=Path, help="a new or empty folder")
    fetch.add_argument("--weights", action="store_true", help="also the trials' weights.pt and best.pt")

    init = add_verb(
        verbs,
        "init",
        _init,
        "copy example studies, search spaces, reports and cluster files",
        "init my_project && cd my_project && scaling-lab run studies/topology_ablation.py",
    )
    init.add_argument("folder", type=Path, help="a new or empty folder")


def _run(options: argparse.Namespace) -> int:
    from scaling_lab.report import write_report
    from scaling_lab.runs.reader import RunFolder
    from scaling_lab.study.run.run_copies import RunCopies
    from scaling_lab.study.run.runner import run_study
    from scaling_lab.study.run.trial import Latency

    stream = sys.stderr if options.json else sys.stdout
    folder = run_study(
        options.study,
        out=options.out,
        executor=options.executor,
        form=options.form,
        data=options.data,
        sampler=options.sampler,
        warm_start=options.warm_start,
        address=options.address,
        cpus=options.cpus,
        at_once=options.at_once,
        retry_failed=options.retry_failed,
        features=options.features,
        features_gb=options.features_gb,
        log=options.log,
        storage=options.storage,
        measure_latency=Latency(),
        check=_check_report,
        stream=stream,
    )
    print("writing the report", file=stream, flush=True)
    page = write_report(folder)
    if options.storage is not None:
        RunCopies(RunFolder(folder), options.storage).copy_report()
    rows = trial_rows(folder)
    if options.json:
        print(json.dumps({"run": str(folder), "report": str(page), "trials": rows}, indent=1))
    else:
        print(f"\n{trial_table(folder, rows)}\n\nreport: {page}")
    # Scripts see missing results by the exit code; finished trials are still reported.
    states = [row["state"] for row in rows]
    return 1 if "failed" in states or "complete" not in states else 0


def _check_report(folder: Path) -> None:
    """Load the study's report file, so that its errors show before hours of training."""
    from scaling_lab.report.writing import default_report, load_report
    from scaling_lab.runs.reader import Runs

    load_report(default_report(Runs(folder)))


def _report(options: argparse.Namespace) -> None:
    from scaling_lab.report import write_report

    page = write_report(options.runs, options.report, options.out)
    print(json.dumps({"report": str(page)}) if options.json else f"report: {page}")


def _fetch(options: argparse.Namespace) -> None:
    from scaling_lab.runs.reader import RunFolder
    from scaling_lab.storage import Storage
    from scaling_lab.study.run.run_copies import fetch_run

    fetch_run(Storage(options.url), RunFolder(options.folder), weights=options.weights)
    print(json.dumps({"run": str(options.folder)}) if options.json else f"run: {options.folder}")


def _init(options: argparse.Namespace) -> None:
    from scaling_lab.starter import copy_starter

    copied = copy_starter(options.folder)
    if options.json:
        print(json.dumps({"folder": str(options.folder), "files": copied}, indent=1))
    else:
        folder = shlex.quote(str(options.folder))
        print("\n".join([*copied, "", f"next: cd {folder} && scaling-lab run studies/topology_ablation.py"]))
