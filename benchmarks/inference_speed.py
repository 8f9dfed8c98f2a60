"""How fast is a detector, compared with effdet's? Same weights, images and threads; network only, eager and compiled.

    python benchmarks/inference_speed.py                         D0 at 512 px, batch 1, on this machine's cores: 5 minutes
    python benchmarks/inference_speed.py --device cuda --batch 32 --precision bf16

All contestants run interleaved, `runs` times each in a round, so that a busy machine slows all. Printed are the median over
all runs, the 90th percentile, and the ratio of the peer's median to ours. Ours is `for_inference(load_checkpoint(...))`,
called with contiguous images as in docs/speed.md. The peer is effdet's model in evaluation mode: as it comes, and in
channels-last memory with images in it. The largest difference of outputs is printed over their standard deviation.
`--profile` prints the share of each kind of operator in the eager network's time.
Needs the extra `test` (effdet 0.4.1).
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import profile

from scaling_lab.architecture.effdet import spec_from_effdet
from scaling_lab.latency.device import device_name
from scaling_lab.model import for_inference, load_checkpoint
from scaling_lab.model.inference import PreparedDetector

with warnings.catch_warnings():  # torch.jit.script, which effdet uses, is deprecated
    warnings.simplefilter("ignore")
    from effdet import EfficientDet, get_efficientdet_config

IN_CHANNELS_LAST = ("here, as trained", "effdet, channels last")
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def models(
    name: str, device: str, dtype: torch.dtype, image_size: int | None
) -> tuple[dict[str, nn.Module], tuple[int, int]]:
    """Build effdet's model with random weights and norm statistics, and ours with the same; return the image size too."""
    config = get_efficientdet_config(name)
    if image_size is not None:
        config.image_size = [image_size, image_size]
    config.backbone_args = {}
    torch.manual_seed(0)
    theirs = EfficientDet(config, pretrained_backbone=False)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_mean, -0.5, 0.5)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as folder:
        torch.save(theirs.state_dict(), Path(folder) / "weights.pth")
        ours = load_checkpoint(spec_from_effdet(config), Path(folder) / "weights.pth")
    here = for_inference(ours.to(device, dtype))
    made = {
        "here": here,
        "here, the other layout": other_layout(here),
        "here, as trained": ours.eval().to(memory_format=torch.channels_last),
        "effdet": theirs.eval().to(device, dtype),
        "effdet, channels last": copy.deepcopy(theirs).to(memory_format=torch.channels_last),
    }
    return made, (config.image_size[0], config.image_size[1])


def other_layout(prepared: PreparedDetector) -> PreparedDetector:
    """Return a copy in the memory layout that for_inference has not chosen."""
    other = copy.deepcopy(prepared)
    is_last = prepared.memory_format == torch.channels_last
    other.memory_format = torch.contiguous_format if is_last else torch.channels_last
    for weight in other.parameters():
        if weight.dim() == 4:
            weight.data = weight.data.contiguous(memory_format=other.memory_format)
    return other


def run(model: nn.Module, images: Tensor) -> Callable[[], Any]:
    """Return a call that runs a model once and waits for it."""

    def once() -> Any:
        with torch.inference_mode():
            outputs = model(images)
        if images.is_cuda:
            torch.cuda.synchronize()
        return outputs

    return once


def differences(ours: Any, theirs: Any) -> float:
    """Return the largest difference of an output, over that output's standard deviation."""
    pairs = [pair for mine, others in zip(ours, theirs, strict=True) for pair in zip(mine, others, strict=True)]
    return max(float((mine.float() - other.float()).abs().max() / other.float().std()) for mine, other in pairs)


def timed(contestants: dict[str, Callable[[], Any]], *, rounds: int, runs: int) -> dict[str, list[float]]:
    """Run all interleaved; the first run of each turn warms caches and is not timed."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for warm in (True, *[False] * rounds):
        for name, once in contestants.items():
            once()
            for _ in range(runs):
                start = time.perf_counter()
                once()
                if not warm:
                    times[name].append(time.perf_counter() - start)
    return times


def show(times: dict[str, list[float]]) -> None:
    """Print a line for each contestant."""
    ours = statistics.median(times["here"])
    for name, seconds in times.items():
        median = statistics.median(seconds)
        ratio = f"   {median / ours:.2f} times ours" if name.startswith("effdet") else ""
        most = statistics.quantiles(seconds, n=10)[-1]
        print(f"  {name:28}{1e3 * median:9.2f} ms   p90 {1e3 * most:9.2f} ms{ratio}", flush=True)


def show_profile(once: Callable[[], Any], *, runs: int = 5, least: float = 0.01) -> None:
    """Print each operator's own share of the time, on a CPU or the GPU, down to `least`; convolutions by kind."""
    once()
    with profile(record_shapes=True) as seen:
        for _ in range(runs):
            once()
    shares: dict[str, float] = {}
    for event in seen.events():
        kind = kind_of(event)
        shares[kind] = shares.get(kind, 0.0) + (event.self_device_time_total or event.self_cpu_time_total)
    total = sum(shares.values())
    for kind, share in sorted(shares.items(), key=lambda item: -item[1]):
        if share >= least * total:
            print(f"  {kind:44}{share / total:7.1%}", flush=True)


def kind_of(event: Any) -> str:
    """Return an operator's name; of a convolution also its kernel and whether it is depthwise."""
    weight = event.input_shapes[1] if len(event.input_shapes or []) > 1 else []
    if "conv" not in event.name or len(weight) != 4:
        return str(event.name)
    kernel = f"{weight[2]}x{weight[3]}"
    return f"{'depthwise ' if weight[1] == 1 else ''}convolution {kernel} ({event.name})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tf_efficientdet_d0")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--image-size", type=int, help="pixels (the model's)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=DTYPES, default="float32")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--runs", type=int, default=5, help="runs of each contestant in a round")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    made, size = models(options.model, options.device, DTYPES[options.precision], options.image_size)
    images = torch.randn(options.batch, 3, *size, generator=torch.Generator().manual_seed(1))
    images = images.to(options.device, DTYPES[options.precision])
    last = images.contiguous(memory_format=torch.channels_last)
    inputs = {name: last if name in IN_CHANNELS_LAST else images for name in made}
    where = device_name(torch.device(options.device))
    print(f"{options.model} at {size[0]} px, batch {options.batch}, {options.precision}")
    print(f"torch {torch.__version__}, {where}, {options.threads} threads")
    outputs = {name: run(model, images)() for name, model in made.items()}
    for name in ("here", "here, as trained"):
        print(f"  {name}: largest difference to effdet's outputs {differences(outputs[name], outputs['effdet']):.1e}")

    print("eager")
    eager = {name: run(model, inputs[name]) for name, model in made.items()}
    show(timed(eager, rounds=options.rounds, runs=options.runs))
    if options.profile:
        show_profile(eager["here"])
    if options.no_compile:
        return
    print("compiled (torch.compile)")
    names = ("here", *IN_CHANNELS_LAST) if options.device == "cpu" else ("here", "effdet", "effdet, channels last")
    compiled = {name: run(torch.compile(made[name]), inputs[name]) for name in names}
    show(timed(compiled, rounds=options.rounds, runs=options.runs))


if __name__ == "__main__":
    main()
