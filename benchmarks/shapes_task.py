"""Does Shapes need cross-scale edges? Trains *none* and *FPN* on it with several seeds and prints AP of small and large objects.

    python benchmarks/shapes_task.py --seeds 100 101 102 --epochs 6        about 75 s a run on one thread

The class of every object includes the colour of the light, which is far from the small objects. If that colour is guessed,
the small objects' AP is about half of what their positions and shapes alone would allow. These seeds are for judging the
task; no study uses them.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
from pathlib import Path

import torch

from scaling_lab import Recipe, Shapes
from scaling_lab.architecture.naming import topology_by_name
from scaling_lab.training.train import train
from search_spaces.compound import ONE_CELL


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[100, 101, 102])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--images", type=int, default=2048, help="training images, seen once an epoch")
    parser.add_argument("--topologies", nargs="+", default=["none", "fpn"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = Shapes(train_images=options.images)
    recipe = Recipe.short(epochs=options.epochs, eval_every=options.epochs)
    print(f"{'topology':16} seed    AP  small  large")
    for name in options.topologies:
        spec = dataclasses.replace(ONE_CELL, topology=topology_by_name(name), num_classes=len(data.class_names))
        aps = []
        for seed in options.seeds:
            with tempfile.TemporaryDirectory() as folder:
                metrics = train(spec, data, recipe, seed=seed, folder=Path(folder), report=lambda _: None)
            by_class = list(metrics["ap_by_class"].values())
            small, large = statistics.mean(by_class[:4]), statistics.mean(by_class[4:])
            aps.append(metrics["ap"])
            print(f"{name:16} {seed:4}  {aps[-1]:4.1f}  {small:5.1f}  {large:5.1f}", flush=True)
        if len(aps) > 1:
            print(f"{name:16} mean  {statistics.mean(aps):4.1f}  (standard deviation {statistics.stdev(aps):.1f})")


if __name__ == "__main__":
    main()
