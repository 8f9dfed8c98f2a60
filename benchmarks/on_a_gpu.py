"""What does one GPU say within 12 minutes? Tests marked `gpu`, D0 beside effdet, loaders, latency, and packed training runs.

    benchmarks/on_a_gpu.sh --wheels wheels --out on_a_gpu        on a machine with a GPU
    python benchmarks/on_a_gpu.py --device cpu --smoke           a rehearsal of a minute

Each part runs in a process of its own, and is ended at its limit. What it prints goes to PART.txt in the folder at once;
summary.txt gets a line when it ends. The exit code is 1 where a part failed. docs/clusters.md says which wheels it needs.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).parents[1]
MINUTES = 12.0
SMOKE_LIMIT = 600.0  # seconds of any part of a rehearsal
PACKAGES = (
    *("torch", "torchvision", "triton", "timm", "numpy", "effdet", "pycocotools", "faster-coco-eval", "optuna", "ray"),
    *("nvidia-cudnn-cu13", "nvidia-nccl-cu13"),
)


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part: its limit in seconds, and a function of the options."""

    name: str
    limit: float
    run: Callable[[argparse.Namespace], None]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda (default) or cpu")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, eager only")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "on_a_gpu")), help="folder ($OUT)")
    parser.add_argument("--parts", nargs="+", choices=[part.name for part in PARTS], help="some parts only")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="the time for all parts together")
    parser.add_argument("--inside", choices=INSIDE, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.inside:
        INSIDE[options.inside](options)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends the running part too
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "summary.txt").open("w") as summary:
        return int(not run_parts(options, summary))


def run_parts(options: argparse.Namespace, summary: TextIO) -> bool:
    """Run the parts one after the other; return whether all succeeded."""
    end, is_well = time.monotonic() + 60 * options.minutes, True
    for part in PARTS:
        if options.parts and part.name not in options.parts:
            continue
        start = time.monotonic()
        # A rehearsal proves that parts run, also beside other programs.
        limit = SMOKE_LIMIT if options.smoke else min(part.limit, end - start)
        outcome = run_part(part, limit, options) if limit > 0 else "not started: no time is left"
        is_well = is_well and outcome == "complete"
        line = f"{part.name:14} {time.monotonic() - start:6.0f} s of {part.limit:4.0f}   {outcome}"
        print(line, flush=True)
        print(line, file=summary, flush=True)
    return is_well


def run_part(part: Part, limit: float, options: argparse.Namespace) -> str:
    """Run a part in a process group of its own, which is killed at the limit; return how it ended."""
    command = [sys.executable, "-u", "-W", "ignore", __file__, "--inside", part.name, "--device", options.device]
    path = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "HF_HUB_OFFLINE": "1"}
    if options.smoke:
        environment["OMP_NUM_THREADS"] = "1"  # other programs share the cores of a rehearsal
    with (options.out / f"{part.name}.txt").open("w") as output:
        process = subprocess.Popen(
            [*command, *["--smoke"][: options.smoke]],
            cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            return f"stopped at its limit of {limit:.0f} s; what it printed is kept"
        finally:
            with contextlib.suppress(ProcessLookupError):  # none is left
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return "complete" if code == 0 else f"failed with exit code {code}; see {part.name}.txt"


# --- parts -----------------------------------------------------------------------------------------------------------


def environment(options: argparse.Namespace) -> None:
    """Print versions, the device, and what is missing."""
    from importlib.metadata import PackageNotFoundError, version

    import torch

    print(f"python {sys.version.split()[0]}")
    for name in PACKAGES:
        try:
            print(f"{name} {version(name)}")
        except PackageNotFoundError:
            print(f"{name} is not installed")
    if options.device == "cuda":
        from scaling_lab.latency.conditions import Conditions
        from scaling_lab.latency.device import versions

        print(torch.cuda.get_device_properties(0))
        print(versions(Conditions(device="cuda")))


def inference(options: argparse.Namespace) -> None:
    """D0 beside effdet's: eager first, for it takes seconds."""
    if options.smoke:
        script("inference_speed", "--device", options.device, "--image-size", 128, "--rounds", 1, "--runs", 2,
               "--no-compile")  # fmt: skip
        return
    for batch, precision in ((1, "float32"), (1, "bf16"), (32, "bf16"), (32, "float32")):
        script("inference_speed", "--device", options.device, "--batch", batch, "--precision", precision,
               "--rounds", 5, "--no-compile")  # fmt: skip
    for batch in (1, 32):
        script("inference_speed", "--device", options.device, "--batch", batch, "--precision", "bf16",
               "--rounds", 5)  # fmt: skip


def training_step(options: argparse.Namespace) -> None:
    """D0's training step beside effdet's."""
    if options.smoke:
        script("training_speed", "--device", options.device, "--image-size", 128, "--batch", 2, "--rounds", 1,
               "--only-steps")  # fmt: skip
        return
    for batch in (1, 32):
        script("training_speed", "--device", options.device, "--batch", batch, "--precision", "bf16")
    script("training_speed", "--device", options.device, "--batch", 32, "--precision", "bf16", "--only-steps",
           "--compile")  # fmt: skip


def tests(options: argparse.Namespace) -> None:
    """The tests marked `gpu`; on a CPU one of them."""
    import pytest

    os.environ["SCALING_LAB_GPU_TESTS_ON"] = options.device
    only = ["-k", "any_layout"] if options.smoke else []
    places = ["tests/gpu", "tests/data/test_rendering.py", "tests/data/test_loading.py"]
    code = pytest.main(["-q", "-rA", "-m", "gpu", "-p", "no:cacheprovider", "--durations=10", *only, *places])
    if code:
        raise SystemExit(int(code))


def loaders(options: argparse.Namespace) -> None:
    """Images/s read at 512 px by number of reader processes, then D0 trained from the same files."""
    from benchmarks.loading import measure, write_images
    from scaling_lab import efficientdet
    from scaling_lab.data.augmentation import Augmentation
    from scaling_lab.data.batches import batches

    images, batch_size = (8, 4) if options.smoke else (512, 32)
    cores = len(os.sched_getaffinity(0))
    jitter = Augmentation(jitter=(0.1, 2.0), flip=True)
    with tempfile.TemporaryDirectory() as folder:
        source = write_images(Path(folder), images)
        for workers in (1,) if options.smoke else sorted({1, 2, 4, 8, cores - 1, cores}):
            start = time.perf_counter()
            reading = batches(source, "train", image_size=512, batch_size=batch_size, augmentation=jitter,
                              workers=workers, device=options.device)  # fmt: skip
            read = sum(len(batch.image_ids) for batch in reading)
            print(f"{workers:3} readers {read / (time.perf_counter() - start):8.1f} images/s at 512 px")
        if not options.smoke:
            spec = dataclasses.replace(efficientdet("d0"), num_classes=1)
            settings = argparse.Namespace(batch=None, precision="bf16", device=options.device, workers=cores - 1)
            measure("D0, 512 px", spec, source, settings, batch_size=batch_size)


def latency(options: argparse.Namespace) -> None:
    """The latency protocol on detectors of three cells and five widths, and a model fitted to them."""
    from scaling_lab.latency.conditions import Conditions
    from scaling_lab.latency.fitting import fit
    from scaling_lab.latency.protocol import Protocol, measure

    specs = list(detectors())[: 2 if options.smoke else None]
    conditions = Conditions(device=options.device)
    protocol = Protocol(runs=10, processes=1, warm_runs=1, anyway=True) if options.smoke else Protocol()
    rows = []
    for spec, row in zip(specs, measure(specs, conditions, protocol, with_profile=True, say=print), strict=True):
        rows.append((spec, row, row["pieces_ms"]))
        print(
            f"{row['median_ms']:8.3f} ms   p90 {row['p90_ms']:8.3f}   peak {row['peak_memory_mb']} MB   {spec.describe()}"
        )
    if not options.smoke:  # a model needs twelve detectors
        print("the fitted model:", json.dumps(fit(rows, conditions).quality))


def detectors() -> Iterator[Any]:
    """Yield fifteen detectors on the demonstration's backbone."""
    from scaling_lab import topologies
    from search_spaces.compound import SMALL

    for cell in (topologies.fpn, topologies.panet, topologies.bifpn):
        for width in (16, 24, 32, 48, 64):
            yield dataclasses.replace(SMALL.base, topology=cell(3, 7), width=width)


def packing(options: argparse.Namespace) -> None:
    """Images/s of 1 to 8 training runs at once on the device, each a process of its own."""
    alone = None
    for trials in (2,) if options.smoke else (1, 2, 4, 8):
        command = [sys.executable, "-W", "ignore", __file__, "--inside", "trial", "--device", options.device]
        runs = [
            subprocess.Popen([*command, *["--smoke"][: options.smoke]], stdout=subprocess.PIPE, text=True)
            for _ in range(trials)
        ]
        rates = [float(run.communicate()[0].split()[-1]) for run in runs]
        total = sum(rates)
        alone = alone or total
        print(f"{trials} at once: {total:9.1f} images/s together, {total / alone:.2f} times the first line")


def trial(options: argparse.Namespace) -> None:
    """Train the demonstration's detector, and print its images/s in the last epoch."""
    from scaling_lab import Recipe, Shapes
    from scaling_lab.training.train import train
    from search_spaces.compound import SMALL

    data = Shapes(train_images=16 if options.smoke else 16384, val_images=4 if options.smoke else 64)
    spec = dataclasses.replace(SMALL.base, num_classes=len(data.class_names))
    recipe = Recipe.short(epochs=2, batch_size=8 if options.smoke else 64, eval_every=2)
    with tempfile.TemporaryDirectory() as folder:
        metrics = train(
            spec, data, recipe, seed=0, folder=Path(folder), report=lambda _: None, device=options.device
        )  # fmt: skip
    print(metrics["images_per_second"])


def script(name: str, *arguments: object) -> None:
    """Run one of the scripts beside this one."""
    sys.argv = [name, *map(str, arguments)]
    print("$ python benchmarks/" + " ".join([f"{name}.py", *sys.argv[1:]]), flush=True)
    importlib.import_module(f"benchmarks.{name}").main()


# In this order, and together MINUTES: what is most wanted comes first.
PARTS = (
    Part(name="environment", limit=30, run=environment),
    Part(name="tests", limit=150, run=tests),
    Part(name="training_step", limit=170, run=training_step),
    Part(name="inference", limit=170, run=inference),
    Part(name="loaders", limit=60, run=loaders),
    Part(name="packing", limit=70, run=packing),
    Part(name="latency", limit=70, run=latency),
)

# What a process of its own runs: a part, or one of the runs that `packing` starts.
INSIDE = {**{part.name: part.run for part in PARTS}, "trial": trial}


if __name__ == "__main__":
    sys.exit(main())
