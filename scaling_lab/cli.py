"""The command line: one verb for each thing a user does. It only reads arguments and prints; each verb imports its branch.

A UserError becomes one line and exit code 2; Ctrl-C becomes exit code 130.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_lab.console import text_table, trial_rows, trial_table
from scaling_lab.errors import UserError

if TYPE_CHECKING:
    from scaling_lab.architecture.spec import DetectorSpec

_DETECTOR_HELP = "a released model (d0 … d7x, lite0 … lite4), a topology (bifpn, …) in D0, or a spec's JSON file"


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; give the exit code."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.verb(options) or 0)
    except UserError as error:
        print(f"scaling-lab: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scaling-lab",
        description="Questions about detector architecture: one file, one command, one honest report.",
        epilog="examples:\n  scaling-lab run studies/topology_ablation.py\n  scaling-lab show bifpn\n"
        "  scaling-lab count d0 d3 --json\n  scaling-lab report runs/topology_ablation\n  scaling-lab init my_project",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    run = _verb(verbs, "run", _run, "run a study, or go on with it, and write its report", _RUN_EXAMPLES)
    run.add_argument("study", help="a study's file")
    run.add_argument("--form", help="one of the study's named forms, such as smoke")
    run.add_argument("--data", help="in place of the study's data: shapes, or coco:DIR")
    run.add_argument("--out", type=Path, help="the run's folder (runs/<study>[-<form>])")
    run.add_argument("--executor", choices=["ray", "local"], default="ray", help="local: in this process, one by one")
    run.add_argument("--address", help="a Ray cluster's address; without it, Ray starts on this machine")
    run.add_argument("--cpus", type=int, help="how many of this machine's cores Ray may use (all)")

    show = _verb(verbs, "show", _show, "show a detector, a topology, or a run's trials", _SHOW_EXAMPLES)
    show.add_argument("thing", help=f"{_DETECTOR_HELP}; or a run's folder")
    _add_changes(show)

    count = _verb(verbs, "count", _count, "count parameters and multiply-adds, by part", _COUNT_EXAMPLES)
    count.add_argument("detectors", nargs="+", metavar="detector", help=_DETECTOR_HELP)
    _add_changes(count)

    report = _verb(
        verbs, "report", _report, "write a run's report", "examples:\n  scaling-lab report runs/width_factor"
    )
    report.add_argument("run", type=Path, help="a run's folder")
    report.add_argument("--report", type=Path, help="a report's file (the study's, or reports/frontier.py)")
    report.add_argument("--out", type=Path, help="where to write (<run>/report)")

    init = _verb(verbs, "init", _init, "copy studies, search spaces and reports to start from", _INIT_EXAMPLES)
    init.add_argument("folder", type=Path, help="a folder that is new or empty")
    return parser


_RUN_EXAMPLES = """examples:
  scaling-lab run studies/topology_ablation.py
  scaling-lab run studies/width_factor.py --form smoke --executor local
  scaling-lab run studies/topology_ablation.py --data coco:/data/coco --out runs/on_coco"""
_SHOW_EXAMPLES = """examples:
  scaling-lab show d3
  scaling-lab show quad_fpn --min-level 3 --max-level 6
  scaling-lab show runs/topology_ablation --json"""
_COUNT_EXAMPLES = """examples:
  scaling-lab count d0 d1 d2
  scaling-lab count d0 --topology quad_fpn
  scaling-lab count runs/topology_ablation/specs/*.json --json"""
_INIT_EXAMPLES = """examples:
  scaling-lab init my_project && cd my_project && scaling-lab run studies/topology_ablation.py"""


def _verb(verbs: Any, name: str, run: Any, text: str, examples: str) -> argparse.ArgumentParser:
    formatter = argparse.RawDescriptionHelpFormatter
    parser: argparse.ArgumentParser = verbs.add_parser(
        name, help=text, description=text, epilog=examples, formatter_class=formatter
    )
    parser.set_defaults(verb=run)
    parser.add_argument("--json", action="store_true", help="print JSON for a program to read")
    return parser


def _add_changes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--topology", help="in place of the detector's: a topology's name")
    parser.add_argument("--fusion", help="in place of the topology's: sum, fast, softmax, …")
    for name in ("min-level", "max-level", "width", "repeats", "image-size"):
        parser.add_argument(f"--{name}", type=int, help="in place of the detector's")


# --- run, report, init -----------------------------------------------------------------------------------------------


def _run(options: argparse.Namespace) -> int:
    from scaling_lab.report import write_report
    from scaling_lab.study.runner import run_study

    folder = run_study(
        options.study,
        out=options.out,
        executor=options.executor,
        form=options.form,
        data=options.data,
        address=options.address,
        cpus=options.cpus,
        measure_latency=_measure_latency,
        stream=sys.stderr if options.json else sys.stdout,
    )
    page = write_report(folder)
    rows = trial_rows(folder)
    if options.json:
        print(json.dumps({"run": str(folder), "report": str(page), "trials": rows}, indent=1))
    else:
        print(f"\n{trial_table(folder, rows)}\n\nreport: {page}")
    # A script must see that something is missing; what was trained is kept and reported all the same.
    states = [row["state"] for row in rows]
    return 1 if "failed" in states or "complete" not in states else 0


def _measure_latency(specs: list[DetectorSpec]) -> Any:
    from scaling_lab.cost.latency import measure_latency

    return measure_latency(specs)


def _report(options: argparse.Namespace) -> None:
    from scaling_lab.report import write_report

    page = write_report(options.run, options.report, options.out)
    print(json.dumps({"report": str(page)}) if options.json else f"report: {page}")


def _init(options: argparse.Namespace) -> None:
    from scaling_lab.starter import copy_starter

    copied = copy_starter(options.folder)
    if options.json:
        print(json.dumps({"folder": str(options.folder), "files": copied}, indent=1))
    else:
        print("\n".join([*copied, "", f"next: cd {options.folder} && scaling-lab run studies/topology_ablation.py"]))


# --- show and count --------------------------------------------------------------------------------------------------


def _show(options: argparse.Namespace) -> None:
    if Path(options.thing).is_dir():
        rows = trial_rows(Path(options.thing))
        print(json.dumps(rows, indent=1) if options.json else trial_table(Path(options.thing), rows))
        return
    from scaling_lab.architecture.drawing import ascii_drawing

    spec = _detector(options.thing, options)
    if options.json:
        print(spec.to_json(), end="")
        return
    topology = spec.topology
    print(f"{spec.describe()}\n\n{topology.describe()}: {len(topology.nodes)} nodes, {topology.num_edges} edges")
    print(f"{ascii_drawing(topology)}\n(9<1,7: node 9 reads the ids 1 and 7; * the output of its level)\n")
    shown = {name: value for name, value in spec.to_dict().items() if name != "topology"}
    print("\n".join(f"{name:24}{value}" for name, value in shown.items()))
    print(f"{'digest':24}{spec.digest}")


def _count(options: argparse.Namespace) -> None:
    from scaling_lab.cost import count

    specs = {name: _detector(name, options) for name in options.detectors}
    costs = {name: count(spec) for name, spec in specs.items()}
    if options.json:
        print(
            json.dumps(
                {name: {**cost.to_dict(), "spec": specs[name].describe()} for name, cost in costs.items()}, indent=1
            )
        )
        return
    rows = [["detector", "part", "parameters", "GMACs"]]
    for name, cost in costs.items():
        rows.append([name, "all", f"{cost.params:,}", f"{cost.gmacs:.3f}"])
        rows += [["", part, f"{share.params:,}", f"{share.gmacs:.3f}"] for part, share in cost.parts.items()]
    print(text_table(rows))
    print("GMACs: multiply-adds of convolutions and matrix products for one image, / 1e9")


def _detector(name: str, options: argparse.Namespace) -> DetectorSpec:
    """Read a detector's name or file, and change it as the options say."""
    from scaling_lab.architecture import DetectorSpec, efficientdet
    from scaling_lab.architecture.efficientdet import NAMES
    from scaling_lab.architecture.naming import PUBLISHED, topology_by_name

    chosen = options.topology
    if name.endswith(".json"):
        spec = DetectorSpec.from_json(_read(Path(name)))
    elif name in NAMES:
        spec = efficientdet(name)
    elif name in PUBLISHED:
        spec, chosen = efficientdet("d0"), chosen or name
    else:
        raise UserError(
            f"{name!r} is no detector; allowed are a released model ({', '.join(NAMES)}), a topology "
            f"({', '.join(PUBLISHED)}), or a spec's .json file"
        )
    topology = spec.topology
    lowest = options.min_level or topology.min_level
    highest = options.max_level or topology.max_level
    if chosen or options.fusion or (lowest, highest) != (topology.min_level, topology.max_level):
        topology = topology_by_name(chosen or _name(topology), lowest, highest, options.fusion)
    changes = {"width": options.width, "repeats": options.repeats, "image_size": options.image_size}
    changes = {field: value for field, value in changes.items() if value is not None}
    return dataclasses.replace(spec, topology=topology, **changes)


def _name(topology: Any) -> str:
    from scaling_lab.architecture.naming import published_name

    name = published_name(topology)
    if name is None:
        raise UserError("levels and fusion can be changed only where the topology has a name; give --topology")
    return name


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None


if __name__ == "__main__":
    sys.exit(main())
