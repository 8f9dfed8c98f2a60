"""Times the ONNX files of a folder on this machine, with onnxruntime and numpy alone, and writes a CSV of latencies.

python time_onnx.py --threads 1 --out latencies.csv

The protocol is that of `scaling-lab measure`: several processes, detectors interleaved in random order, and an anchor
detector between every four of them. Runs between two anchors within 3 % of the anchor's median count; others are repeated.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import random
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from scaling_lab.latency.seen import Block, Seen
from scaling_lab.latency.timing import BLOCK, MOST_PROCESSES, Run, block, protocol_warm_up, turns
from scaling_lab.processor import cpu_name

HERE = Path(__file__).resolve().parent
GROUP = 24  # detectors in memory at once
PATCHES, NOISE = 8, 0.1  # as in spread_outputs.py


def main() -> None:
    """Read the options; time all files, or those of one process if another process of this script asks."""
    parser = argparse.ArgumentParser(description="Time the ONNX files of this folder's manifest.json.")
    parser.add_argument("--folder", type=Path, default=HERE, help="the folder of manifest.json (the script's own)")
    parser.add_argument("--threads", type=int, default=1, help="threads of ONNX Runtime (1)")
    parser.add_argument("--runs", type=int, default=200, help="the least valid runs of each detector (200)")
    parser.add_argument("--processes", type=int, default=3, help="number of processes (3)")
    parser.add_argument("--warm-runs", type=int, default=50, help="the least warm-up runs (50)")
    parser.add_argument(
        "--method",
        choices=["anchored", "corrected", "unchecked"],
        default="anchored",
        help="corrected: divide times by the anchor's relative slowness; unchecked: all runs count (anchored)",
    )
    parser.add_argument("--device", default=cpu_name(), help="the name of this device (the processor's)")
    parser.add_argument("--out", type=Path, default=Path("latencies.csv"), help="the CSV file (latencies.csv)")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.correct, options.anyway = options.method == "corrected", options.method == "unchecked"
    for name, least in (("threads", 1), ("runs", 10), ("processes", 1), ("warm_runs", 1)):
        if getattr(options, name) < least:
            parser.error(f"--{name.replace('_', '-')} is {getattr(options, name)}; the least is {least}")
    manifest = json.loads((options.folder / "manifest.json").read_text(encoding="utf-8"))
    if options.worker is not None:
        work(manifest, options)
        return
    missing = time_all(manifest, options)
    if missing:
        sys.exit(f"too few valid runs of {', '.join(missing)}: this device drifts; use --method corrected or unchecked")


def time_all(manifest: dict[str, Any], options: Any) -> list[str]:
    """Time all files and write the CSV after each group; return the descriptions of those with too few valid runs."""
    detectors = manifest["detectors"]
    kinds = list(dict.fromkeys((each["batch"], each["scope"]) for each in detectors))
    rows, missing = [], []
    for kind in kinds:
        places = [place for place, each in enumerate(detectors) if (each["batch"], each["scope"]) == kind]
        anchor = sorted(places, key=lambda place: float(detectors[place]["gmacs"]))[(len(places) - 1) // 2]
        reference = None
        for start in range(0, len(places), GROUP):
            group = places[start : start + GROUP]
            seen, reference = _group(group, anchor, reference, options)
            for place, each in seen.items():
                if each.is_enough(reference, options):
                    rows.append(_row(detectors[place], detectors[anchor], each.row(reference, options), options))
                else:
                    missing.append(detectors[place]["description"])
            write(options.out, manifest["columns"], rows)
    return missing


def _group(places: list[int], anchor: int, reference: float | None, options: Any) -> tuple[dict[int, Seen], float]:
    """Run processes until each detector has enough valid runs; return what was seen, and the anchor's median."""
    seen, anchors, number, left = {place: Seen() for place in places}, [], 0, places
    while left and number < MOST_PROCESSES * options.processes:
        print(f"process {number + 1}: {len(left)} detectors", file=sys.stderr, flush=True)
        for event in _worker(number, left, anchor, options):
            before, after = (statistics.median(each) for each in event["anchors"])
            anchors += [before, after]
            for place, times in event["blocks"]:
                seen[place].blocks.append(Block(number, before, after, times))
        number += 1
        now = reference or statistics.median(anchors)
        if number >= options.processes:
            left = [place for place in places if not seen[place].is_enough(now, options)]
    return seen, reference or statistics.median(anchors)


def _worker(number: int, places: list[int], anchor: int, options: Any) -> list[dict[str, Any]]:
    """Run this script as one process of the protocol and return its events."""
    job = json.dumps({"number": number, "places": places, "anchor": anchor})
    command = [sys.executable, *_flags(), __file__, *sys.argv[1:], "--worker", job]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"a process of the measurement ended with exit code {done.returncode}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def _flags() -> list[str]:
    """Return the interpreter's own flags for isolation, so that processes see the same packages."""
    return [flag for flag, is_set in (("-I", sys.flags.isolated), ("-S", sys.flags.no_site)) if is_set]


def work(manifest: dict[str, Any], options: Any) -> None:
    """Run one process: warm up, then print the times of each group of detectors between two anchors."""
    job = json.loads(options.worker)
    every = [manifest["detectors"][place] for place in (job["anchor"], *job["places"])]
    anchor, *contestants = [_contestant(options.folder, each, options.threads) for each in every]
    for run in (anchor, *contestants):
        protocol_warm_up(run, options.warm_runs)
    rounds = math.ceil(options.runs / options.processes / BLOCK)
    before = block(anchor, BLOCK)
    for _, chunk in turns(len(contestants), rounds, random.Random(job["number"])):
        blocks = [(job["places"][index], block(contestants[index], BLOCK)) for index in chunk]
        after = block(anchor, BLOCK)
        print(json.dumps({"anchors": (before, after), "blocks": blocks}), flush=True)
        before = after


def _contestant(folder: Path, detector: dict[str, Any], threads: int) -> Run:
    """Return a call that runs a file once on the same random images."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(folder / detector["file"], settings, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    images = images_for(detector["batch"], *detector["image_size"])
    binding.bind_ortvalue_input("images", onnxruntime.OrtValue.ortvalue_from_numpy(images))
    for output in session.get_outputs():
        binding.bind_output(output.name)
    return lambda: session.run_with_iobinding(binding)


def images_for(batch: int, height: int, width: int) -> Any:
    """Return images (batch, 3, height, width) of smooth patches with noise, like those of `scaling-lab measure`."""
    draw = np.random.default_rng(1)
    found = draw.standard_normal((batch, 3, PATCHES, PATCHES))
    for axis, side in ((2, height), (3, width)):
        places = np.linspace(0, PATCHES - 1, side)
        low = np.minimum(places.astype(int), PATCHES - 2)
        part = (places - low).reshape([-1 if each == axis else 1 for each in range(4)])
        found = np.take(found, low, axis) * (1 - part) + np.take(found, low + 1, axis) * part
    return (found + NOISE * draw.standard_normal(found.shape)).astype(np.float32)


def _row(detector: dict[str, Any], anchor: dict[str, Any], found: dict[str, Any], options: Any) -> dict[str, Any]:
    versions = {"onnxruntime": onnxruntime.__version__, **detector["versions"]}
    conditions = {"device": options.device, "threads": options.threads, "method": options.method}
    return {**detector, **found, **conditions, "anchor": anchor["architecture"], "versions": versions}


def write(path: Path, columns: list[str], rows: list[dict[str, Any]]) -> None:
    """Write the rows as `scaling-lab` reads them, replacing an older file at once."""
    new = path.with_name(f".new-{path.name}")
    with new.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({name: _text(row.get(name)) for name in columns})
    os.replace(new, path)


def _text(value: Any) -> Any:
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, (dict, list)) else value


if __name__ == "__main__":
    main()
