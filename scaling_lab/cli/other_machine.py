"""measure for another machine: files to time there, and latency models of what was timed, there or here."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scaling_lab.cli.measurable import Measurable, measurables
from scaling_lab.errors import UserError
from scaling_lab.files import check_writable, write_whole
from scaling_lab.latency.conditions import Conditions
from scaling_lab.runs.latencies import COLUMNS, CONDITIONS, read_rows
from scaling_lab.text import plural


def export(options: argparse.Namespace, every: Sequence[Conditions], say: Callable[[str], None]) -> None:
    """Write the files of --export. Raises UserError for options that only a measurement has."""
    for name in ("out", "fit", "timed", "profile"):
        if getattr(options, name):
            raise UserError(f"--export measures nothing, so it does not go with --{name}")
    from scaling_lab.latency.export_folder import MANIFEST, SCRIPT, export_folder

    detectors = [(each.spec, each.columns()) for each in measurables(options).values()]
    export_folder(options.export, detectors, every, columns=COLUMNS, say=say)
    print(
        f"{options.export / MANIFEST}: {plural(len(detectors) * len(every), 'file')}\n"
        f"on the other machine: pip install onnxruntime numpy, then python {options.export.name}/{SCRIPT} --out latencies.csv"
    )


def fit_timed(options: argparse.Namespace) -> None:
    """Fit the model of --fit to the rows of --timed. Raises UserError for rows that do not fit the detectors."""
    if options.fit is None or options.out or options.profile:
        raise UserError("--timed is for --fit, without --out and --profile")
    check_writable(options.fit)
    rows = read_rows(options.timed)
    kinds = {tuple(row[name] for name in (*CONDITIONS, "method")) for row in rows}
    if len(kinds) != 1:
        raise UserError(f"{options.timed} has {len(kinds)} sets of conditions; --fit needs one")
    detectors = measurables(options)
    timed = {row["architecture"] for row in rows}
    kept = {digest: each for digest, each in detectors.items() if digest in timed}
    if len(kept) < len(timed):
        raise UserError(
            f"{options.timed} has {plural(len(timed) - len(kept), 'detector')} that {' '.join(options.things)} does not give; "
            "name the same things with the same --sample and --seed as for --export"
        )
    fit_rows(options, conditions_of_row(rows[0]), kept, rows)


def conditions_of_row(row: Mapping[str, Any]) -> Conditions:
    """Return the conditions of a row, on a processor if it has threads."""
    values = {name: row[name] for name in CONDITIONS if name != "device"}
    return Conditions(device="cpu" if row["threads"] else "cuda", **values)


def fit_rows(
    options: argparse.Namespace,
    conditions: Conditions,
    detectors: Mapping[str, Measurable],
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Fit a latency model to rows of these detectors, write it to --fit and print its error."""
    from scaling_lab.latency.fitting import fit

    by_digest = {row["architecture"]: row for row in rows}
    # Detector order makes the held-out detectors independent of what was measured earlier.
    measured = [(each.spec, by_digest[digest], by_digest[digest]["pieces_ms"]) for digest, each in detectors.items()]
    model = fit(measured, conditions, seed=options.seed)
    write_whole(options.fit, model.to_json())
    print(f"{model.quality_words()}\nlatency model: {options.fit}", file=sys.stderr if options.json else sys.stdout)
