"""measure: latency of detectors on this device, its breakdown, and a fitted latency model."""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_lab.cli.console import text_table
from scaling_lab.cli.measurable import Measurable, measurables
from scaling_lab.cli.measured import Measured, Row, ledgers_of, only_writer_of
from scaling_lab.cli.other_machine import export, fit_rows, fit_timed
from scaling_lab.cli.parsing import add_verb, usable_device
from scaling_lab.cli.specs import DETECTOR_HELP, add_changes
from scaling_lab.errors import UserError
from scaling_lab.files import check_writable
from scaling_lab.latency.conditions import BACKENDS, DTYPES, SCOPES, Conditions

if TYPE_CHECKING:
    from scaling_lab.latency.rules import Protocol

MOST_PROFILES = 4  # above this number, profiles show kinds of pieces only


def add_verbs(verbs: Any) -> None:
    """Add the verb to the parser."""
    measure = add_verb(
        verbs,
        "measure",
        _measure,
        "measure the latency and the peak memory of detectors on this device",
        "measure d0 d1 --threads 1",
        "measure d0 --image-size 256 --backend eager compile onnxruntime --scope network end_to_end",
        "measure runs/topology_ablation",
        "measure d0 --profile",
        "measure search_spaces/topology.py --sample 120 --out latencies.csv --fit latency.json",
        "measure search_spaces/topology.py --sample 120 --export for_phone",
        "measure search_spaces/topology.py --sample 120 --timed phone.csv --fit phone.json",
    )
    measure.add_argument(
        "things",
        nargs="+",
        metavar="thing",
        help=f"{DETECTOR_HELP}; a run's folder (its complete architectures are measured and stored there); a search-space "
        "or study file (.py)",
    )
    add_conditions(measure, scope="network")
    measure.add_argument("--sample", type=int, metavar="POINTS", help="points to sample from each space (all)")
    measure.add_argument(
        "--seed", type=int, default=0, help="seed of the sample, the run order and the held-out detectors (0)"
    )
    measure.add_argument("--runs", type=int, default=200, help="the least valid runs of each detector (200)")
    add_steadiness(measure)
    measure.add_argument("--profile", action="store_true", help="show where the time goes, piece by piece")
    measure.add_argument(
        "--fit", type=Path, metavar="FILE", help="fit a latency model to the measurements and report its error"
    )
    measure.add_argument("--out", type=Path, help="write a CSV file, or continue an existing one")
    measure.add_argument(
        "--export",
        type=Path,
        metavar="FOLDER",
        help="write ONNX files and a script that times them on another machine, with onnxruntime and numpy alone",
    )
    measure.add_argument(
        "--timed", type=Path, metavar="CSV", help="for --fit: the CSV of that script, in place of a measurement here"
    )
    add_changes(measure)


def add_conditions(parser: argparse.ArgumentParser, *, scope: str) -> None:
    """Add the options of a measurement's conditions; `scope` is the default."""
    parser.add_argument("--device", help="cpu, cuda, cuda:1, mps (a GPU if available)")
    parser.add_argument(
        "--dtype", nargs="+", choices=DTYPES, default=["float32"], help="data type of weights and images (float32)"
    )
    parser.add_argument("--batch", nargs="+", type=int, default=[1], metavar="IMAGES", help="images per batch (1)")
    parser.add_argument(
        "--backend", nargs="+", choices=BACKENDS, default=["eager"], help="how the network is run (eager)"
    )
    parser.add_argument(
        "--scope",
        nargs="+",
        choices=SCOPES,
        default=[scope],
        help=f"network, or end_to_end with post-processing to boxes ({scope})",
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (1)")


def add_steadiness(parser: argparse.ArgumentParser) -> None:
    """Add the options for a device that is busy or whose speed drifts, and the number of processes."""
    parser.add_argument("--processes", type=int, default=3, help="number of processes (3)")
    parser.add_argument(
        "--correct",
        action="store_true",
        help="for a slowly drifting device: divide times by the relative slowness of the anchor detector",
    )
    parser.add_argument(
        "--anyway", action="store_true", help="measure even on a busy or drifting device; rows record the drift"
    )


def _measure(options: argparse.Namespace) -> None:
    from scaling_lab.latency.fitting import check_enough
    from scaling_lab.latency.protocol import check
    from scaling_lab.latency.quiet import refuse_absent
    from scaling_lab.latency.rules import Protocol

    every = conditions_of(options)
    if options.fit is not None and options.timed is None and len(every) > 1:
        raise UserError(f"--fit needs one set of conditions; {len(every)} are given")
    if options.export is not None:
        export(options, every, say)
        return
    if options.timed is not None:
        fit_timed(options)
        return
    protocol = Protocol(
        runs=options.runs,
        processes=options.processes,
        seed=options.seed,
        correct=options.correct,
        anyway=options.anyway,
    )
    with_profile = options.profile or options.fit is not None
    for path in (options.out, options.fit):
        if path is not None:
            check_writable(path)
    refuse_absent(every[0])
    detectors = measurables(options)
    if options.fit is not None:
        check_enough(len(detectors))
    for conditions in every:
        check([each.spec for each in detectors.values()], conditions, with_profile=with_profile)
    shown: list[Row] = []
    runs = {run for each in detectors.values() for run in each.runs}
    with only_writer_of(options.out), ledgers_of(runs) as ledgers:
        store = Measured(options.out, ledgers, detectors)
        try:
            for conditions in every:
                # Rows measured before a failure are kept.
                shown.extend(_rows(store, detectors, conditions, protocol, with_profile=with_profile))
        except (UserError, KeyboardInterrupt):
            _show(options, detectors, shown)  # shows the rows measured so far
            raise
    _show(options, detectors, shown)
    if options.fit is not None:
        fit_rows(options, every[0], detectors, shown)


def _rows(
    store: Measured,
    detectors: Mapping[str, Measurable],
    conditions: Conditions,
    protocol: Protocol,
    *,
    with_profile: bool,
) -> Iterator[Row]:
    """Yield a row for each detector: known rows first, then new measurements."""
    from scaling_lab.latency.device import device_name, versions
    from scaling_lab.latency.protocol import measure

    known = store.known(
        conditions,
        protocol,
        device=device_name(conditions.device),
        versions=versions(conditions),
        with_profile=with_profile,
    )
    yield from known.values()
    specs = [each.spec for digest, each in detectors.items() if digest not in known]
    if specs:
        anchor = store.anchor(known.values())
        for row in measure(specs, conditions, protocol, with_profile=with_profile, anchor=anchor, say=say):
            yield store.keep(row)


def conditions_of(options: argparse.Namespace) -> list[Conditions]:
    """Return every combination of the options of `add_conditions`. Raises UserError."""
    device = str(usable_device(options.device))
    found = [
        Conditions(device=device, dtype=dtype, batch=batch, threads=options.threads, backend=backend, scope=scope)
        for backend, scope, dtype, batch in itertools.product(
            options.backend, options.scope, options.dtype, options.batch
        )
    ]
    return list(dict.fromkeys(found))


def say(words: str) -> None:
    """Print a line of progress to stderr."""
    print(words, file=sys.stderr, flush=True)


# --- output ----------------------------------------------------------------------------------------------------------


def _show(options: argparse.Namespace, detectors: Mapping[str, Measurable], rows: Sequence[Row]) -> None:
    if options.json:
        print(json.dumps(rows, indent=1))
    elif rows:
        print(_table(rows))
        if options.profile:
            print(f"\n{_profiles(detectors, rows)}")


def _table(rows: Sequence[Row]) -> str:
    lines = [["detector", "conditions", "ms", "p90", "quartiles", "processes", "runs", "peak MB"]]
    lines += [_line(row) for row in rows]
    first = rows[0]
    versions = ", ".join(f"{name} {version}" for name, version in first["versions"].items() if version)
    return "\n".join(
        [
            text_table(lines),
            f"{first['device']}; {versions}; random weights prepared for inference",
            "ms: median for a whole batch; quartiles: interquartile range; processes: range of the medians of "
            f"{min(row['processes'] for row in rows)} or more processes",
            *_anchor_words(rows),
        ]
    )


def _anchor_words(rows: Sequence[Row]) -> list[str]:
    """Describe the drift of each anchor."""
    by_anchor: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        by_anchor.setdefault((_words(row), row["anchor"], row["anchor_ms"]), []).append(row)
    found = []
    for (conditions, _, milliseconds), some in by_anchor.items():
        drift = max(row["anchor_drift"] for row in some)
        of = f" ({conditions})" if len(by_anchor) > 1 else ""
        found.append(f"the anchor, {milliseconds:.4g} ms, drifted by up to {drift:.1%} around the valid runs{of}")
    if rows[0]["method"] == "corrected":
        found.append("times are divided by the relative slowness of the anchor")
    return (
        [*found, "all runs count, on a busy or drifting device too (--anyway)"]
        if rows[0]["method"] == "unchecked"
        else found
    )


def _line(row: Mapping[str, Any]) -> list[str]:
    memory = row["peak_memory_mb"]
    return [
        *(
            row["description"],
            _words(row),
            f"{row['median_ms']:.4g}",
            f"{row['p90_ms']:.4g}",
            f"{row['spread_ms']:.2g}",
        ),
        "-" if row["processes"] == 1 else f"{row['process_spread']:.1%}",
        *(str(row["runs"]), "-" if memory is None else f"{memory:.3g}"),
    ]


def _words(row: Mapping[str, Any]) -> str:
    values = {name: row[name] for name in ("dtype", "batch", "threads", "backend", "scope")}
    return Conditions(device="cpu" if row["threads"] else "cuda", **values).words()


def _profiles(detectors: Mapping[str, Measurable], rows: Sequence[Row]) -> str:
    from scaling_lab.latency.profiling import pieces_of

    parts = []
    for row in rows:
        detector = detectors[row["architecture"]]
        pieces = zip(pieces_of(detector.spec, detector.cost), row["pieces_ms"], strict=True)
        shares: dict[str, list[float]] = {}
        for piece, taken in pieces:
            name = piece.name if len(rows) <= MOST_PROFILES else piece.kind
            share = shares.setdefault(name, [0.0, 0.0])
            share[0] += taken
            share[1] += piece.cost.gmacs
        lines = [[row["description"], "ms", "share", "GMACs", "GMACs/s"]]
        for name, (taken, gmacs) in shares.items():
            lines.append(
                [name, f"{taken:.3f}", f"{taken / row['median_ms']:.1%}", f"{gmacs:.4f}", f"{1e3 * gmacs / taken:.3g}"]
            )
        parts.append(text_table(lines))
    return "\n\n".join(parts)
