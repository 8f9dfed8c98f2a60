"""frontier: which published detector to take on this device, by latencies measured here and published AP."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_lab.cli.measurable import Measurable
from scaling_lab.cli.measure import add_conditions, add_steadiness, conditions_of, say
from scaling_lab.cli.measured import Measured, Row, only_writer_of
from scaling_lab.cli.other_machine import conditions_of_row
from scaling_lab.cli.own_detectors import HELP, OwnDetector, own_detectors
from scaling_lab.cli.parsing import add_verb
from scaling_lab.errors import UserError
from scaling_lab.files import make_folder
from scaling_lab.latency.conditions import Conditions
from scaling_lab.runs.latencies import read_rows

if TYPE_CHECKING:
    from scaling_lab.latency.rules import Protocol
    from scaling_lab.paper.buildable import Buildable
    from scaling_lab.report.analysis.device_frontier import Candidate
    from scaling_lab.report.sections.device_frontier import DeviceFrontier

# What --quick measures, beside own detectors.
QUICK = ("lite0", "lite1", "lite2", "lite3", "lite3x", "lite4", "d0", "d1", "d2", "efficientdet_q0")
# Runs of a detector: this many multiply-adds / 1e9 in total, within these bounds.
GMACS_IN_RUNS, LEAST_RUNS, MOST_RUNS = 1000.0, 30, 200
QUICK_RUNS, QUICK_WARM_RUNS = 10, 3
REACH = 3.0  # times the multiply-adds of the largest measured detector; larger ones are not predicted
BUDGETS = {"budget_ms": "latency_ms", "budget_mb": "peak_memory_mb", "budget_gmacs": "gmacs"}


def add_verbs(verbs: Any) -> None:
    """Add the verb to the parser."""
    frontier = add_verb(
        verbs,
        "frontier",
        _frontier,
        "measure the published detectors on this device, and say which to take for a budget",
        "frontier --quick",
        "frontier --threads 2 --budget-ms 50 100",
        "frontier --backend onnxruntime --scope network end_to_end --correct",
        "frontier --quick --add runs/topology_ablation --add best.safetensors=41.3",
        "frontier --timed phone.csv --out phone",
    )
    frontier.add_argument(
        "--quick",
        action="store_true",
        help="a first page: the cheaper detectors with few runs, and --correct unless --anyway (3 minutes on 2 cores)",
    )
    frontier.add_argument(
        "--gmacs", type=float, metavar="MOST", help="measure only up to this many billion multiply-adds (all)"
    )
    add_conditions(frontier, scope="end_to_end")
    add_steadiness(frontier)
    frontier.add_argument("--budget-ms", nargs="+", type=float, default=[], metavar="MS", help="latency of one image")
    frontier.add_argument("--budget-mb", nargs="+", type=float, default=[], metavar="MB", help="peak memory")
    frontier.add_argument(
        "--budget-gmacs", nargs="+", type=float, default=[], metavar="GMACS", help="multiply-adds / 1e9"
    )
    frontier.add_argument("--add", action="append", default=[], metavar="THING", help=f"{HELP}; may be repeated")
    frontier.add_argument(
        "--timed", type=Path, metavar="CSV", help="measure nothing; a CSV of another machine, by `measure --export`"
    )
    frontier.add_argument("--out", type=Path, default=Path("frontier"), help="the folder of page and CSV (frontier)")


def _frontier(options: argparse.Namespace) -> None:
    from scaling_lab.paper.buildable import buildable

    for name in BUDGETS:
        if wrong := [each for each in getattr(options, name) if not each > 0]:
            raise UserError(f"--{name.replace('_', '-')} is {wrong[0]:g}; allowed are numbers above 0")
    published, own = buildable(), own_detectors(options.add)
    chosen = _chosen(options, published)
    published = {
        digest: each for digest, each in published.items() if each.gmacs <= REACH * published[chosen[-1]].gmacs
    }
    detectors = _detectors(published, own)
    timed = _timed(options) if options.timed else []
    every = list(dict.fromkeys(map(conditions_of_row, timed))) if options.timed else conditions_of(options)
    make_folder(options.out)
    missing: list[str] = []
    stopped: BaseException | None = None
    out = None if options.timed else options.out / "latencies.csv"
    with only_writer_of(out):
        store = Measured(out, {}, detectors)
        if options.timed is None:
            try:
                wanted = {*chosen, *(each.spec.digest for each in own)}
                to_measure = [each for digest, each in detectors.items() if digest in wanted]
                missing += _measure_all(options, store, every, to_measure)
            except (UserError, KeyboardInterrupt) as error:
                stopped = error  # shown after the page of what was measured
        frontiers = [
            found
            for conditions in every
            if (found := _on_page(options, store, conditions, published, own, detectors, timed)) is not None
        ]
    if frontiers:
        _show(options, frontiers, missing)
    if stopped is not None:
        raise stopped
    if not frontiers:
        raise UserError("no detector was measured, so there is no page" + "".join(f"; {each}" for each in missing))


def _detectors(published: Mapping[str, Buildable], own: Sequence[OwnDetector]) -> dict[str, Measurable]:
    from scaling_lab.cost import count

    named = {digest: (each.rows[0].counted_as, each.spec) for digest, each in published.items()}
    named |= {each.spec.digest: (each.label, each.spec) for each in own}
    found = {digest: Measurable(label, spec, count(spec)) for digest, (label, spec) in named.items()}
    return dict(sorted(found.items(), key=lambda item: item[1].cost.gmacs))


def _chosen(options: argparse.Namespace, published: Mapping[str, Buildable]) -> list[str]:
    """Return the published detectors to measure, the cheapest first. Raises UserError if there are none."""
    from scaling_lab.architecture.naming import spec_by_name

    quick = {spec_by_name(name).digest for name in QUICK}
    found = [
        each
        for each in published.values()
        if (not options.quick or quick & each.digests) and (options.gmacs is None or each.gmacs <= options.gmacs)
    ]
    if not found:
        least = min(each.gmacs for each in published.values())
        raise UserError(f"--gmacs is {options.gmacs:g}; the cheapest published detector here has {least:.3g}")
    return [each.spec.digest for each in sorted(found, key=lambda each: each.gmacs)]


# --- measuring ---------------------------------------------------------------------------------------------------------


def _measure_all(
    options: argparse.Namespace, store: Measured, every: Sequence[Conditions], chosen: Sequence[Measurable]
) -> Iterator[str]:
    """Measure what the store lacks; yield a sentence for each detector that cannot run. Raises UserError for a busy device."""
    from scaling_lab.latency.protocol import measure
    from scaling_lab.latency.quiet import refuse_absent
    from scaling_lab.latency.rules import UnsteadyDevice

    refuse_absent(every[0])
    for number, detector in enumerate(chosen, start=1):
        for conditions in every:
            protocol = _protocol(options, detector, conditions)
            known = _known(store, conditions, protocol)
            if detector.spec.digest in known:
                continue
            say(f"{number} of {len(chosen)}: {detector.label}, {detector.cost.gmacs:.3g} GMACs")
            # Rows of fewer runs, as of --quick, set the anchor too: it must be the same for all.
            anchor = store.anchor(_known(store, conditions, _protocol(options)).values())
            try:
                for row in measure([detector.spec], conditions, protocol, anchor=anchor, say=say):
                    store.keep(row)
            except UnsteadyDevice:
                raise
            except UserError as error:
                yield f"{error} (as {detector.label})"


def _protocol(
    options: argparse.Namespace, detector: Measurable | None = None, conditions: Conditions | None = None
) -> Protocol:
    """Return the settings for a detector, with fewer runs of slower ones; without one, the least that a row may have."""
    from scaling_lab.latency.rules import Protocol

    handling = {"correct": options.correct or (options.quick and not options.anyway), "anyway": options.anyway}
    if detector is None or conditions is None:
        return Protocol(runs=QUICK_RUNS, processes=1, **handling)
    gmacs = detector.cost.gmacs * conditions.batch
    if options.quick:
        return Protocol(runs=QUICK_RUNS, processes=1, warm_runs=QUICK_WARM_RUNS, **handling)
    runs = round(min(max(GMACS_IN_RUNS / gmacs, LEAST_RUNS), MOST_RUNS))
    return Protocol(runs=runs, processes=options.processes, warm_runs=max(runs // 4, 10), **handling)


def _known(store: Measured, conditions: Conditions, protocol: Protocol) -> dict[str, Row]:
    from scaling_lab.latency.device import device_name, versions

    return store.known(
        conditions,
        protocol,
        device=device_name(conditions.device),
        versions=versions(conditions),
        with_profile=False,
    )


def _timed(options: argparse.Namespace) -> list[Row]:
    """Return the rows of --timed. Raises UserError for none, and for rows of several devices or methods."""
    rows = read_rows(options.timed)
    if not rows:
        raise UserError(f"{options.timed} has no rows")
    for name in ("device", "method"):
        if len(several := sorted({row[name] for row in rows})) > 1:
            raise UserError(f"{options.timed} has rows of {name} {', '.join(several)}; allowed is one {name}")
    return rows


# --- the page ----------------------------------------------------------------------------------------------------------


def _on_page(
    options: argparse.Namespace,
    store: Measured,
    conditions: Conditions,
    published: Mapping[str, Buildable],
    own: Sequence[OwnDetector],
    detectors: Mapping[str, Measurable],
    timed: Sequence[Row],
) -> DeviceFrontier | None:
    """Return the frontier under these conditions, of `timed` rows with --timed; None if nothing was measured."""
    from scaling_lab.report.analysis.device_frontier import device_table
    from scaling_lab.report.sections.device_frontier import DeviceFrontier

    if options.timed is not None:
        aliases = {alias: digest for digest, each in published.items() for alias in each.digests}
        there = [row for row in timed if conditions_of_row(row) == conditions]
        found = {str(aliases.get(row["architecture"], row["architecture"])): row for row in there}
        rows = {digest: row for digest, row in found.items() if digest in detectors}
    else:
        rows = _known(store, conditions, _protocol(options))
    if not rows:
        return None
    predicted, errors = _predicted(conditions, rows, detectors)
    table = device_table(list(_candidates(published, own, detectors)), rows, predicted)
    return DeviceFrontier(table=table, first=next(iter(rows.values())), errors=errors)


def _candidates(
    published: Mapping[str, Buildable], own: Sequence[OwnDetector], detectors: Mapping[str, Measurable]
) -> Iterator[Candidate]:
    from scaling_lab.metrics import counted
    from scaling_lab.report.analysis.device_frontier import Candidate

    def costs(digest: str) -> dict[str, float]:
        return counted(detectors[digest].spec, detectors[digest].cost)

    for digest, each in published.items():
        yield Candidate(architecture=digest, costs=costs(digest), rows=each.rows)
    for mine in own:
        digest = mine.spec.digest
        yield Candidate(architecture=digest, costs=costs(digest), label=mine.label, ap=mine.ap)


def _predicted(
    conditions: Conditions, rows: Mapping[str, Row], detectors: Mapping[str, Measurable]
) -> tuple[dict[str, float], Any]:
    """Return predicted ms for one image of what was not measured, and the model's errors; nothing with too few rows."""
    from scaling_lab.latency.operators import operators
    from scaling_lab.latency.whole_model import LEAST, fit_whole
    from scaling_lab.report.sections.device_frontier import PredictionErrors

    most = REACH * max((detectors[digest].cost.gmacs for digest in rows), default=0.0)
    rest = [digest for digest, each in detectors.items() if digest not in rows and each.cost.gmacs <= most]
    if not rest or len(rows) < LEAST:
        return {}, None
    say(f"fitting a latency model to {len(rows)} detectors, for {len(rest)} others")
    end_to_end = conditions.scope == "end_to_end"
    timed = [
        (operators(detectors[digest].spec, end_to_end=end_to_end), row["median_ms"]) for digest, row in rows.items()
    ]
    model = fit_whole(timed)
    found = {
        digest: model.predict(operators(detectors[digest].spec, end_to_end=end_to_end)) / conditions.batch
        for digest in rest
    }
    errors = PredictionErrors(fitted_on=len(timed), left_out=model.median_error, beyond=model.median_beyond)
    return found, errors


def _show(options: argparse.Namespace, frontiers: Sequence[DeviceFrontier], missing: Iterable[str]) -> None:
    from scaling_lab.latency.spread_outputs import WORDS
    from scaling_lab.report.page.writer import write_page
    from scaling_lab.report.sections.device_frontier import frontier_page
    from scaling_lab.report.tables import records

    budgets = [(cost, most) for name, cost in BUDGETS.items() for most in getattr(options, name)]
    page = frontier_page(frontiers, budgets=budgets, outputs=WORDS, missing=list(missing))
    path = write_page(page, options.out, "frontier")
    if options.json:
        rows = [{"conditions": each.words, "detectors": records(each.table)} for each in frontiers]
        print(json.dumps({"page": str(path), "answer": page.answer, "frontiers": rows}, indent=1))
        return
    print(f"{page.answer}\n{path}")
    for each in missing:
        print(f"not measured: {each}", file=sys.stderr)
