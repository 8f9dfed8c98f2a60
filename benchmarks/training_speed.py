"""How fast are a training step, matching and loss, and the evaluator, compared with effdet's and pycocotools'?

    python benchmarks/training_speed.py                         D0 at 512 px, batch 4, on this machine's cores: 5 minutes
    python benchmarks/training_speed.py --device cuda --batch 16 --precision bf16

Each pair is measured alternately (ours, theirs, ours, …), so that a busy machine slows both; printed are medians and their
ratio. A step is forward, matching, loss, backward, clipping and SGD with momentum; ours in channels-last memory as in
`train`, theirs as in effdet's own train.py. Both losses are printed and are equal. Weights, images and threads are the
same. Needs the extra `test` (effdet 0.4.1, pycocotools).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from scaling_lab.architecture import DetectorSpec
from scaling_lab.architecture.effdet import spec_from_effdet
from scaling_lab.detection import detection_loss, make_anchors, match
from scaling_lab.detection.anchors import feature_sizes
from scaling_lab.model import load_checkpoint
from scaling_lab.training.evaluation import SUMMARY, average_precision

with warnings.catch_warnings():  # torch.jit.script, which effdet uses, is deprecated
    warnings.simplefilter("ignore")
    from effdet import DetBenchTrain, EfficientDet, get_efficientdet_config

OBJECTS = 12  # in each image; COCO has 7 on average
DTYPES = {"float32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tf_efficientdet_d0")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=DTYPES, default="float32")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--image-size", type=int, help="pixels (the model's)")
    parser.add_argument("--compile", action="store_true", help="both through torch.compile")
    parser.add_argument("--only-steps", action="store_true", help="neither the loss alone nor the evaluators")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {_device(options.device)}, {options.threads} threads, {options.precision}")
    ours, theirs, config = _models(options.model, options.device, options.image_size)
    batch = _batch(options.batch, config.image_size, config.num_classes, options.device)
    print(f"{options.model} at {config.image_size[0]} px, batch {options.batch}, {OBJECTS} objects an image")

    if options.compile:
        ours.compile()
        theirs.model.compile()
    step, their_step = _step(ours, batch, options), _their_step(theirs, batch, options)
    print(f"loss of the first step: {step():.4f}, effdet {their_step():.4f}")
    name = "compiled training step" if options.compile else "training step"
    _compare(name, step, their_step, options.rounds, options.device)
    if options.only_steps:
        return
    _compare("matching and loss", *_losses(ours, theirs, batch), options.rounds, options.device)
    _compare_evaluators(rounds=3)


def _compare(name: str, ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int, device: str) -> None:
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 1):
        for action, seconds in zip((ours, theirs), times, strict=True):
            start = time.perf_counter()
            action()
            if device != "cpu":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
    mine, other = (statistics.median(seconds[1:]) for seconds in times)  # the first is the warm-up
    print(
        f"{name:22} {mine * 1000:9.1f} ms   peer {other * 1000:9.1f} ms   {other / mine:6.2f} times as fast", flush=True
    )


def _device(device: str) -> str:
    if device != "cpu":
        return torch.cuda.get_device_name(device)
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        return next((line.partition(": ")[2].strip() for line in file if line.startswith("model name")), "cpu")
    return "cpu"


def _models(name: str, device: str, image_size: int | None) -> tuple[nn.Module, nn.Module, Any]:
    """Build effdet's model with its bench, and ours with the same weights."""
    config = get_efficientdet_config(name)
    if image_size is not None:
        config.image_size = [image_size, image_size]
    config.backbone_args = {}  # no stochastic depth, which would change the losses
    torch.manual_seed(0)
    theirs = EfficientDet(config, pretrained_backbone=False)
    with tempfile.TemporaryDirectory() as folder:
        torch.save(theirs.state_dict(), Path(folder) / "weights.pth")
        ours = load_checkpoint(spec_from_effdet(config), Path(folder) / "weights.pth")
    ours = ours.to(device).to(memory_format=torch.channels_last).train()
    return ours, DetBenchTrain(theirs, create_labeler=True).to(device).train(), config


def _batch(size: int, image_size: tuple[int, int], num_classes: int, device: str) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    height, width = image_size
    sides = torch.exp(torch.empty(size, OBJECTS, 2).uniform_(2.5, 5.5, generator=generator))
    corners = torch.rand(size, OBJECTS, 2, generator=generator) * (torch.tensor([width, height]) - sides).clamp(min=1)
    boxes = torch.cat([corners, corners + sides], dim=2)
    labels = torch.randint(0, num_classes, (size, OBJECTS), generator=generator)
    images = torch.randn(size, 3, height, width, generator=generator)
    return {"images": images.to(device), "boxes": boxes.to(device), "labels": labels.to(device)}


def _optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9, weight_decay=4e-5)


def _loss(spec: DetectorSpec, class_logits: list[Tensor], box_deltas: list[Tensor], batch: dict[str, Tensor]) -> Tensor:
    size = (int(batch["images"].shape[2]), int(batch["images"].shape[3]))
    device = batch["images"].device
    anchors_A4 = make_anchors(spec.anchors, spec.topology.min_level, size, feature_sizes(box_deltas), device)
    matches = match(anchors_A4, batch["boxes"], batch["labels"])
    return detection_loss(class_logits, box_deltas, anchors_A4, matches, batch["boxes"], batch["labels"]).total


def _step(model: Any, batch: dict[str, Tensor], options: argparse.Namespace) -> Callable[[], float]:
    optimizer, dtype = _optimizer(model), DTYPES[options.precision]

    def step() -> float:
        with torch.autocast(options.device, dtype, enabled=dtype is not None):
            outputs = model(batch["images"].contiguous(memory_format=torch.channels_last))
        return _finish(_loss(model.spec, *outputs, batch), model, optimizer)

    return step


def _targets(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the batch in effdet's form: boxes as (y0, x0, y1, x1), classes from 1."""
    return {"bbox": batch["boxes"][..., [1, 0, 3, 2]], "cls": batch["labels"].float() + 1}


def _their_step(bench: Any, batch: dict[str, Tensor], options: argparse.Namespace) -> Callable[[], float]:
    optimizer, dtype, targets = _optimizer(bench), DTYPES[options.precision], _targets(batch)

    def step() -> float:
        with torch.autocast(options.device, dtype, enabled=dtype is not None):
            loss = bench(batch["images"], targets)["loss"]
        return _finish(loss, bench, optimizer)

    return step


def _finish(loss: Tensor, model: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
    optimizer.step()
    return float(loss.detach())


def _losses(model: Any, bench: Any, batch: dict[str, Tensor]) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return calls of matching, loss and its gradient alone, on the same outputs."""
    with torch.no_grad():
        outputs = bench.model(batch["images"])
    leaves = [[x.detach().float().requires_grad_() for x in outputs_of_kind] for outputs_of_kind in outputs]
    targets = _targets(batch)

    def ours() -> None:
        _loss(model.spec, leaves[0], leaves[1], batch).backward()

    def theirs() -> None:
        labels = bench.anchor_labeler.batch_label_anchors(targets["bbox"], targets["cls"])
        bench.loss_fn(leaves[0], leaves[1], *labels)[0].backward()

    return ours, theirs


def _made_up(images: int = 1000, classes: int = 80) -> tuple[dict[str, Any], np.ndarray]:
    """Return objects and 100 detections of each image, some correct, as on a fifth of COCO's val2017."""
    chance = np.random.default_rng(0)
    truth: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": c + 1, "name": str(c)} for c in range(classes)],
    }
    rows = []
    for image in range(images):
        truth["images"].append({"id": image, "width": 640, "height": 480})
        for _ in range(7):
            box = [*chance.uniform(0, 400, 2), *np.exp(chance.uniform(2, 5.5, 2))]
            category = int(chance.integers(1, classes + 1))
            number = len(truth["annotations"]) + 1
            truth["annotations"].append(
                {
                    "id": number,
                    "image_id": image,
                    "category_id": category,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
            rows += [[image, *(np.array(box) * chance.normal(1, 0.1, 4)), chance.random(), category] for _ in range(3)]
        rows += [
            [
                image,
                *chance.uniform(0, 400, 2),
                *np.exp(chance.uniform(2, 5.5, 2)),
                chance.random(),
                chance.integers(1, classes + 1),
            ]
            for _ in range(79)
        ]
    return truth, np.array(rows, dtype=np.float64)


def _compare_evaluators(rounds: int) -> None:
    """Compare both evaluators on the same detections."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth, detections_D7 = _made_up()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "truth.json"
        path.write_text(json.dumps(truth))

        def ours() -> None:
            results["ours"] = average_precision(truth, detections_D7)

        def theirs() -> None:
            with contextlib.redirect_stdout(io.StringIO()):
                reference = COCO(str(path))
                evaluation = COCOeval(reference, reference.loadRes(detections_D7), "bbox")
                evaluation.evaluate()
                evaluation.accumulate()
                evaluation.summarize()
            results["theirs"] = evaluation.stats

        _compare("evaluator", ours, theirs, rounds, "cpu")
    pairs = zip(SUMMARY, results["theirs"], strict=True)
    largest = max(abs((-1 if results["ours"][n] is None else results["ours"][n] / 100) - value) for n, value in pairs)
    print(f"largest difference of the twelve numbers, 0 to 1: {largest:.1e}; ap {results['ours']['ap']:.2f}")


if __name__ == "__main__":
    main()
