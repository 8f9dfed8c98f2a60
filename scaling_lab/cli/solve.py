"""solve, enumerate: the detectors that fit a budget, without training."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_lab.cli.parsing import add_verb, usable_device
from scaling_lab.cli.spaces import points_of, read_space
from scaling_lab.cli.specs import DETECTOR_HELP, add_changes, read_detector
from scaling_lab.errors import UserError
from scaling_lab.files import write_whole
from scaling_lab.metrics import BEFORE_A_TRIAL, METRICS, counted, names

if TYPE_CHECKING:
    from scaling_lab.architecture.compound_scaling import CompoundScaling
    from scaling_lab.architecture.spec import DetectorSpec
    from scaling_lab.study.study import Space

BUDGETS = {name: METRICS[name].meaning for name in names("counted", "measured")}


def add_verbs(verbs: Any) -> None:
    """Add both verbs to the parser."""
    solve = add_verb(
        verbs,
        "solve",
        _solve,
        "find the largest detector of a scaling rule within a budget",
        "solve --gmacs 2.5",
        "solve d0 --gmacs 2.0 --scale width",
        "solve my.json --params-m 1 --memory-mb 40 --scale width depth --out larger.json",
        "solve --latency-ms 100 --threads 2",
    )
    solve.add_argument(
        "detector",
        nargs="?",
        default="d0",
        help=f"the detector at phi = 0 (d0): {DETECTOR_HELP}; scaled by the paper's rule",
    )
    for name, text in BUDGETS.items():
        solve.add_argument(f"--{name.replace('_', '-')}", type=float, metavar="MOST", help=f"the upper limit: {text}")
    solve.add_argument(
        "--scale",
        nargs="+",
        metavar="DIMENSION",
        help="dimensions to scale: backbone, width, depth, heads, image_size (all; backbone only from D0's)",
    )
    solve.add_argument("--device", help="for --latency-ms: cpu or cuda (a GPU if available)")
    solve.add_argument("--threads", type=int, default=1, help="CPU threads for --latency-ms (1)")
    solve.add_argument("--out", type=Path, help="write the detector's spec to this file")
    add_changes(solve)

    enumerate_ = add_verb(
        verbs,
        "enumerate",
        _enumerate,
        "list or sample the detectors of a search space with their costs, as CSV",
        "enumerate search_spaces/topology.py --limit gmacs=0.024 --sort params_m",
        "enumerate search_spaces/nas_cell.py --sample 1000 --out cells.csv",
        "enumerate studies/width_factor.py",
    )
    enumerate_.add_argument("space", help="a search-space file (function `space`), or a study file (with its limits)")
    enumerate_.add_argument("--sample", type=int, metavar="POINTS", help="number of points to sample (all)")
    enumerate_.add_argument("--seed", type=int, default=0, help="seed of the sample (0)")
    enumerate_.add_argument(
        "--limit",
        action="append",
        default=[],
        metavar="COST=MOST",
        help="drop detectors above this cost; may be repeated",
    )
    enumerate_.add_argument(
        "--classes", type=int, help="number of classes (from the study's data; else the space's own, mostly 90)"
    )
    enumerate_.add_argument("--sort", default="gmacs", metavar="COLUMN", help="the column to sort by (gmacs)")
    enumerate_.add_argument("--descending", action="store_true", help="largest first")
    enumerate_.add_argument(
        "--latency-model", type=Path, metavar="FILE", help="also predict latencies, with a model from `measure --fit`"
    )
    enumerate_.add_argument("--out", type=Path, help="write to this file (stdout)")


# --- solve -----------------------------------------------------------------------------------------------------------


def _solve(options: argparse.Namespace) -> None:
    from scaling_lab.cost.solver import solve

    budget = {name: getattr(options, name) for name in BUDGETS if getattr(options, name) is not None}
    if not budget:
        raise UserError(f"no budget given; allowed are {', '.join('--' + name.replace('_', '-') for name in BUDGETS)}")
    rule = _rule(options)
    measure = None
    if "latency_ms" in budget:
        from scaling_lab.latency.quick import measure_latency

        device = str(usable_device(options.device))

        def measure(spec: Any) -> float:
            (row,) = measure_latency([spec], device=device, threads=options.threads)
            print(f"{row['median_ms']:8.2f} ms  {spec.describe()}", file=sys.stderr, flush=True)
            return float(row["median_ms"])

    solution = solve(rule, budget, measure=measure)
    if options.out is not None:
        write_whole(options.out, solution.spec.to_json())
    if options.json:
        values = {"phi": solution.phi, "costs": dict(solution.costs), "budget": budget, "spec": solution.spec.to_dict()}
        print(json.dumps(values, indent=1))
        return
    spec = solution.spec
    print(f"phi = {solution.phi:g}: {spec.describe()}, heads of {spec.head_repeats}")
    for name, most in budget.items():
        value = solution.costs[name]
        print(f"{name:12}{value:.4g} of {most:g} ({value / most:.1%})")
    others = {name: value for name, value in solution.costs.items() if name not in budget}
    print("            " + ", ".join(f"{name} {value:.4g}" for name, value in others.items()))


def _rule(options: argparse.Namespace) -> CompoundScaling:
    from scaling_lab.architecture.compound_scaling import EFFICIENTNETS, CompoundScaling

    base = read_detector(options.detector, options)
    # Only EfficientNet has a known sequence of larger backbones.
    backbones = EFFICIENTNETS if base.backbone == EFFICIENTNETS[0] else (base.backbone,)
    rule = CompoundScaling(base=base, backbones=backbones)
    return rule.only(*options.scale) if options.scale else rule


# --- enumerate -------------------------------------------------------------------------------------------------------


def _enumerate(options: argparse.Namespace) -> None:
    from scaling_lab.cost import count
    from scaling_lab.latency.model import LatencyModel

    found = read_space(Path(options.space))
    limits, classes = dict(found.limits), options.classes or found.classes
    path = options.latency_model or found.latency_model
    model = None if path is None else LatencyModel.load(path)
    if limits.pop("latency_ms", None) is not None:
        print("the study's limit on latency_ms is not applied: trials measure latency", file=sys.stderr)
    limits |= dict(_limit(text) for text in options.limit)
    if "predicted_latency_ms" in limits and model is None:
        raise UserError("a limit on predicted_latency_ms needs --latency-model")

    def costs_of(spec: DetectorSpec) -> dict[str, float]:
        cost = count(spec)
        costs = counted(spec, cost)
        return costs if model is None else {**costs, "predicted_latency_ms": model.predict(spec, cost)}

    rows, refused, failure = _counted(found.space, limits, classes, costs_of, options)
    columns = list(dict.fromkeys(name for row in rows for name in row if name != "description"))
    if rows and options.sort not in columns:
        raise UserError(f"--sort is {options.sort!r}; allowed are {', '.join(columns)}")
    said = f"{len(rows)} architectures" + (f", {refused} more exceed a limit" if limits else "")
    if classes:
        said += f", {classes} classes"
    elif rows:
        said += ", with the space's own number of classes; for that of your data give the study or --classes"
    print(said, file=sys.stderr, flush=True)
    if rows or failure is None:
        rows = _ordered(rows, options.sort, descending=options.descending)
        text = json.dumps(rows, indent=1) + "\n" if options.json else _as_csv(rows, [*columns, "description"])
        if options.out is None:
            print(text, end="")
        else:
            write_whole(options.out, text)
    if failure is not None:
        raise failure


def _counted(
    space: Space,
    limits: Mapping[str, float],
    classes: int | None,
    costs_of: Callable[[DetectorSpec], dict[str, float]],
    options: argparse.Namespace,
) -> tuple[list[dict[str, Any]], int, UserError | None]:
    """Return rows of the architectures within the limits, the number above a limit, and the error that ended the loop."""
    from scaling_lab.study.space.call import point_error
    from scaling_lab.study.space.enumeration import TooMany

    rows: dict[str, dict[str, Any]] = {}
    refused: set[str] = set()
    try:
        for params, drawn in points_of(space, options.sample, seed=options.seed):
            spec = drawn if classes is None else dataclasses.replace(drawn, num_classes=classes)
            if spec.digest in rows or spec.digest in refused:
                continue
            try:
                costs = costs_of(spec)
            except UserError as error:
                raise point_error(error, space, params) from None
            if any(costs[name] > most for name, most in limits.items()):
                refused.add(spec.digest)
                continue
            rows[spec.digest] = {"architecture": spec.digest, **costs, **params, "description": spec.describe()}
    except TooMany:
        raise
    except UserError as error:  # rows counted so far are still written
        return list(rows.values()), len(refused), error
    return list(rows.values()), len(refused), None


def _ordered(rows: list[dict[str, Any]], column: str, *, descending: bool) -> list[dict[str, Any]]:
    """Sort rows by a column, missing values last in both directions."""
    there = [row for row in rows if row.get(column) is not None]
    missing = [row for row in rows if row.get(column) is None]
    return sorted(there, key=lambda row: _key(row[column]), reverse=descending) + missing


def _as_csv(rows: list[dict[str, Any]], columns: list[str]) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _limit(text: str) -> tuple[str, float]:
    name, _, most = text.partition("=")
    try:
        value = float(most)
    except ValueError:
        value = 0.0
    if name not in BEFORE_A_TRIAL or not value > 0:
        allowed = ", ".join(BEFORE_A_TRIAL)
        raise UserError(f"--limit is {text!r}; allowed are {allowed}, each with a number above 0, such as gmacs=2.5")
    return name, value


def _key(value: Any) -> tuple[int, float, str]:
    """Return a sort key that puts numbers before text."""
    return (0, float(value), "") if isinstance(value, (int, float)) else (1, 0.0, str(value))
