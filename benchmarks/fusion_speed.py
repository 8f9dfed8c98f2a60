"""How fast is each fusion: a node's fusion alone, and the whole detector, in training and inference?

    python benchmarks/fusion_speed.py                                   D0 at 512 px, batch 1, one thread: 4 minutes
    python benchmarks/fusion_speed.py --device cuda --batch 16 --precision bf16
    python benchmarks/fusion_speed.py --out reports/results/fusion_speed.csv

All fusions run interleaved, so that a busy machine slows all. A ratio is the median over rounds of (this fusion's median time
in the round / that of fast fusion in the same round), with the middle 95 % of resampled rounds. "as trained" normalises
weights in each run, as in the paper; at inference they are constants (scaling_lab.model.for_inference). The paper's Table 6
(arXiv:1911.09070v7) gives softmax 1.26 to 1.31 times the time of fast on a GPU.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import scaling_lab
from scaling_lab.architecture import efficientdet, topologies
from scaling_lab.latency.device import device_name
from scaling_lab.model import build, for_inference
from scaling_lab.model.fusion import make_fusion
from scaling_lab.study.ledger.provenance import git_state

FUSIONS = ("fast", "softmax", "unbounded", "sum")
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
INPUTS = 3  # a BiFPN node with a skip from the cell's input has three
COLUMNS = (
    "what",
    "fusion",
    "median_ms",
    "ratio",
    "ratio_low",
    "ratio_high",
    "rounds",
    "model",
    "image_size",
    "commit",
    "device",
    "threads",
    "batch",
    "precision",
    "torch",
)


def contestants(model: str, batch: int, device: str, dtype: torch.dtype) -> dict[str, dict[str, Callable[[], Any]]]:
    """Return for each timed part a call for each fusion."""
    base = efficientdet(model)
    specs = {name: dataclasses.replace(base, topology=topologies.bifpn(3, 7, fusion=name)) for name in FUSIONS}
    torch.manual_seed(0)
    detectors = {
        name: build(spec).to(device, dtype).to(memory_format=torch.channels_last) for name, spec in specs.items()
    }
    images = torch.randn(batch, 3, *base.image_size, device=device, dtype=dtype).contiguous(
        memory_format=torch.channels_last
    )
    side = base.image_size[0] // 8
    features = [torch.randn(batch, base.width, side, side, device=device, dtype=dtype) for _ in range(INPUTS)]
    features = [each.contiguous(memory_format=torch.channels_last) for each in features]
    nodes = {name: make_fusion(name, INPUTS, base.width).to(device, dtype) for name in FUSIONS}
    prepared = {name: for_inference(detector) for name, detector in detectors.items()}
    return {
        f"fusion of {INPUTS} inputs at P3": {
            name: _forward(lambda node=node: node(features), device) for name, node in nodes.items()
        },
        "detector, as trained": {
            name: _forward(lambda each=detector: each(images), device, detector) for name, detector in detectors.items()
        },
        "detector, at inference": {
            name: _forward(lambda each=detector: each(images), device) for name, detector in prepared.items()
        },
        "training step without optimizer": {
            name: _step(detector, images, device) for name, detector in detectors.items()
        },
    }


def _forward(call: Callable[[], Any], device: str, detector: Any = None) -> Callable[[], None]:
    def once() -> None:
        if detector is not None and detector.training:
            detector.eval()
        with torch.inference_mode():
            call()
        _wait(device)

    return once


def _step(detector: Any, images: torch.Tensor, device: str) -> Callable[[], None]:
    def once() -> None:
        if not detector.training:
            detector.train()
        class_logits, box_deltas = detector(images)
        sum(each.float().square().mean() for each in (*class_logits, *box_deltas)).backward()
        detector.zero_grad(set_to_none=True)
        _wait(device)

    return once


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def timed(calls: dict[str, Callable[[], Any]], *, rounds: int, seconds: float) -> dict[str, list[float]]:
    """Return each fusion's median time in every round; a turn lasts about `seconds`, its first run is not timed."""
    medians: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(2):  # the first run of each is slow
        start = time.perf_counter()
        for call in calls.values():
            call()
    runs = max(3, round(seconds / max((time.perf_counter() - start) / len(calls), 1e-6)))
    for number in range(rounds):
        # Each fusion starts equally often.
        names = list(calls)[number % len(calls) :] + list(calls)[: number % len(calls)]
        for name in names:
            calls[name]()
            times = []
            for _ in range(runs):
                start = time.perf_counter()
                calls[name]()
                times.append(time.perf_counter() - start)
            medians[name].append(statistics.median(times))
    return medians


def ratio_to_fast(medians: dict[str, list[float]], name: str) -> tuple[float, float, float]:
    """Return the median ratio over rounds, and the middle 95 % over resampled rounds."""
    ratios = np.array(medians[name]) / np.array(medians["fast"])
    drawn = np.random.default_rng(0).choice(ratios, (2000, len(ratios)))
    low, high = np.quantile(np.median(drawn, axis=1), [0.025, 0.975])
    return float(np.median(ratios)), float(low), float(high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="d0")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=DTYPES, default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0.4, help="seconds of a turn, of at least three runs")
    parser.add_argument("--out", type=Path, help="a CSV file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    where = {
        "rounds": options.rounds,
        "model": options.model,
        "image_size": max(efficientdet(options.model).image_size),
        "commit": git_state(Path(scaling_lab.__file__))[0],
        "device": device_name(torch.device(options.device)),
        "threads": options.threads,
        "batch": options.batch,
        "precision": options.precision,
        "torch": torch.__version__,
    }
    print(f"{', '.join(f'{name} {value}' for name, value in where.items())}")
    rows = []
    for what, calls in contestants(options.model, options.batch, options.device, DTYPES[options.precision]).items():
        print(what)
        medians = timed(calls, rounds=options.rounds, seconds=options.seconds)
        for name in FUSIONS:
            ratio, low, high = ratio_to_fast(medians, name)
            median = 1e3 * statistics.median(medians[name])
            print(f"  {name:12}{median:10.3f} ms   {ratio:.3f} [{low:.3f}, {high:.3f}] of fast", flush=True)
            found = {"what": what, "fusion": name, "median_ms": round(median, 4)}
            rows.append(
                {**found, "ratio": round(ratio, 4), "ratio_low": round(low, 4), "ratio_high": round(high, 4), **where}
            )
    if options.out is not None:
        with options.out.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
