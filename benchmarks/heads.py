"""Anchors against points: AP of both heads with several seeds, at the same width or at the same multiply-adds.

    python benchmarks/heads.py --seeds 200 201 202                 about 75 s a run on one thread
    python benchmarks/heads.py --equal-cost --data my_images --epochs 20 --image-size 256

Of Shapes it prints AP of small and large objects, too.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
from pathlib import Path

import torch
from optuna.trial import FixedTrial

from scaling_lab import Recipe, Shapes
from scaling_lab.architecture.spec import HEADS
from scaling_lab.data.recognition import parse_source
from scaling_lab.training.train import train
from search_spaces.compound import ONE_CELL
from search_spaces.heads import space


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="a folder of images (Shapes)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[200, 201, 202])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--images", type=int, default=2048, help="training images of Shapes")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--equal-cost", action="store_true", help="points as wide as anchors' multiply-adds allow")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = parse_source(options.data) if options.data else Shapes(train_images=options.images)
    classes = len(data.class_names)
    base = dataclasses.replace(ONE_CELL, image_size=options.image_size)
    recipe = Recipe.short(epochs=options.epochs, eval_every=options.epochs)
    for head in HEADS:
        spec = space(FixedTrial({"head": head}), base, num_classes=classes if options.equal_cost else None)
        spec = dataclasses.replace(spec, num_classes=classes)
        print(spec.describe())
        aps = []
        for seed in options.seeds:
            with tempfile.TemporaryDirectory() as folder:
                metrics = train(spec, data, recipe, seed=seed, folder=Path(folder), report=lambda _: None)
            aps.append(metrics["ap"])
            by_class = list(metrics["ap_by_class"].values())
            parts = (
                ""
                if options.data
                else "   small {:4.1f}, large {:4.1f}".format(*map(statistics.mean, (by_class[:4], by_class[4:])))
            )
            print(f"{head:8} seed {seed:4}   AP {aps[-1]:4.1f}   AP50 {metrics['ap50']:4.1f}{parts}", flush=True)
        spread = f" (standard deviation {statistics.stdev(aps):.1f})" if len(aps) > 1 else ""
        print(f"{head:8} mean        AP {statistics.mean(aps):4.1f}{spread}")


if __name__ == "__main__":
    main()
