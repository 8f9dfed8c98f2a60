"""The training loop of one detector, top to bottom: batches, losses, steps, evaluation, a checkpoint each epoch.

It knows nothing of studies: it reports once an epoch through a function, and continues where its folder says it stopped.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.data import Source
from scaling_lab.data.augmentation import Augmentation
from scaling_lab.data.loading import Batch, batches
from scaling_lab.detection import LossTerms, detection_loss, make_anchors, match
from scaling_lab.detection.anchors import feature_sizes
from scaling_lab.model import build
from scaling_lab.training.evaluation import average_precision, predict
from scaling_lab.training.failures import Diverged, OutOfMemory
from scaling_lab.training.optimization import AveragedWeights, learning_rate, make_optimizer
from scaling_lab.training.recipe import Recipe

Report = Callable[[dict[str, Any]], None]

# How many held-out images' detections are kept for the report's pictures.
SAMPLES = 8
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def train(
    spec: DetectorSpec,
    source: Source,
    recipe: Recipe,
    *,
    seed: int,
    folder: Path,
    report: Report,
    device: str = "cpu",
    workers: int = 0,
) -> dict[str, Any]:
    """Train the spec on the source and give the last epoch's metrics; `report` gets each epoch's.

    `folder` receives checkpoint.pt each epoch, and weights.pt (averaged weights) and detections.json at the end. A folder
    with a checkpoint is continued from it, after its last report is told again. Raises Diverged where the loss is not
    finite, OutOfMemory where the device's memory does not suffice.
    """
    run = Run(spec, source, recipe, seed=seed, folder=folder, device=device, workers=workers)
    try:
        metrics = run.metrics
        if metrics:  # the stop may have come between the checkpoint and its report
            report(metrics)
        for epoch in range(run.epoch + 1, recipe.epochs + 1):
            metrics = run.train_epoch(epoch)
            if epoch % recipe.eval_every == 0 or epoch == recipe.epochs:
                metrics |= run.evaluate()
            run.metrics = metrics
            run.save()
            report(metrics)
    except torch.OutOfMemoryError as error:
        height, width = spec.image_size
        raise OutOfMemory(
            f"{device} has too little memory for batches of {recipe.batch_size} images of {height}x{width} px: "
            f"{str(error).splitlines()[0]}"
        ) from None
    return metrics


class Run:
    """The state of one training run."""

    def __init__(
        self,
        spec: DetectorSpec,
        source: Source,
        recipe: Recipe,
        *,
        seed: int,
        folder: Path,
        device: str,
        workers: int,
    ) -> None:
        self.spec, self.source, self.recipe, self.seed, self.folder = spec, source, recipe, seed, folder
        self.device, self.workers = torch.device(device), workers
        torch.manual_seed(seed)
        options = {"drop_path_rate": recipe.drop_path} if recipe.drop_path else {}
        self.model = build(spec, pretrained=recipe.pretrained, **options)
        self.model = self.model.to(self.device).to(memory_format=torch.channels_last)
        self.average = AveragedWeights(self.model, recipe.ema_decay)
        self.optimizer = make_optimizer(self.model, recipe)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "fp16")
        self.epoch = 0
        self.metrics: dict[str, Any] = {}
        folder.mkdir(parents=True, exist_ok=True)
        if self.checkpoint.exists():
            self.load()

    @property
    def checkpoint(self) -> Path:
        """The file that a stopped run continues from."""
        return self.folder / "checkpoint.pt"

    def train_epoch(self, epoch: int) -> dict[str, Any]:
        """Take one pass over the training images; give its mean losses, rate and speed."""
        self.epoch = epoch
        self.model.train()
        loader = self.batches("train", epoch)
        start, images = time.perf_counter(), 0
        sums = torch.zeros(3, dtype=torch.float64)
        rate = 0.0
        for place, batch in enumerate(loader):
            rate = learning_rate(self.recipe, (epoch - 1) * len(loader) + place, len(loader))
            terms = self.step(batch, rate)
            values = torch.stack([terms.total.detach(), terms.classes, terms.boxes]).double().cpu()
            if not bool(torch.isfinite(values).all()):
                raise Diverged(_diverged(epoch, place + 1, values, batch))
            sums += values
            images += len(batch.image_ids)
        seconds = time.perf_counter() - start
        loss, class_loss, box_loss = (sums / len(loader)).tolist()
        return {
            "epoch": epoch,
            "epochs": self.recipe.epochs,
            "loss": loss,
            "class_loss": class_loss,
            "box_loss": box_loss,
            "lr": rate,
            "seconds": seconds,
            "images_per_second": images / seconds,
        }

    def step(self, batch: Batch, rate: float) -> LossTerms:
        """Take one optimizer step on a batch; nothing is changed where the loss is not finite."""
        recipe = self.recipe
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(self.device.type, _DTYPES.get(recipe.precision), enabled=recipe.precision in _DTYPES):
            class_logits, box_deltas = self.model(batch.images_BCHW.contiguous(memory_format=torch.channels_last))
        terms = self.loss(class_logits, box_deltas, batch)
        if not math.isfinite(float(terms.total.detach())):
            return terms
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(terms.total).backward()  # type: ignore[no-untyped-call]
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.average.update()
        return terms

    def loss(self, class_logits: list[Tensor], box_deltas: list[Tensor], batch: Batch) -> LossTerms:
        """Match the batch's objects to anchors and give the losses."""
        spec, recipe = self.spec, self.recipe
        size = (int(batch.images_BCHW.shape[2]), int(batch.images_BCHW.shape[3]))
        sizes = feature_sizes(box_deltas)
        anchors_A4 = make_anchors(spec.anchors, spec.topology.min_level, size, sizes, self.device)
        matches = match(anchors_A4, batch.boxes_BN4, batch.labels_BN, threshold=recipe.match_threshold)
        return detection_loss(
            class_logits,
            box_deltas,
            anchors_A4,
            matches,
            batch.boxes_BN4,
            batch.labels_BN,
            alpha=recipe.focal_alpha,
            gamma=recipe.focal_gamma,
            delta=recipe.huber_delta,
            box_weight=recipe.box_weight,
            iou_weight=recipe.iou_weight,
        )

    def evaluate(self) -> dict[str, Any]:
        """Give the averaged weights' AP on the held-out images."""
        detections_D7 = predict(self.average.model, self.source, self.batches("val", 0))
        if self.epoch == self.recipe.epochs:
            self.write_results(detections_D7)
        return average_precision(self.source.ground_truth("val"), detections_D7)

    def batches(self, split: str, epoch: int) -> Any:
        """Give one pass over a split."""
        recipe = self.recipe
        return batches(
            self.source,
            split,
            image_size=self.spec.image_size,
            batch_size=recipe.batch_size,
            seed=self.seed,
            epoch=epoch,
            augmentation=Augmentation(jitter=recipe.jitter, flip=recipe.flip),
            pixels=self.spec.pixels,
            workers=self.workers,
            device=self.device,
        )

    def write_results(self, detections_D7: np.ndarray[Any, Any]) -> None:
        """Write the averaged weights, and the sample images' detections for the report."""
        _write_whole(
            self.folder / "weights.pt", {"spec": self.spec.to_dict(), "state": self.average.model.state_dict()}
        )
        samples = []
        for image_id in (image_id for image_id, _ in self.source.samples(SAMPLES)):
            rows = detections_D7[detections_D7[:, 0] == image_id]
            found = [{"bbox": row[1:5].tolist(), "score": row[5], "category_id": int(row[6])} for row in rows]
            samples.append({"image_id": image_id, "detections": found})
        (self.folder / "detections.json").write_text(json.dumps(samples))

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "epoch": self.epoch,
            "metrics": self.metrics,
            "model": self.model.state_dict(),
            "average": self.average.model.state_dict(),
            "average_steps": self.average.steps,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "rng": torch.get_rng_state(),
        }
        if self.device.type == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state(self.device)
        _write_whole(self.checkpoint, state)

    def load(self) -> None:
        """Continue from the checkpoint."""
        state = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        self.epoch, self.metrics = state["epoch"], state["metrics"]
        self.model.load_state_dict(state["model"])
        self.average.model.load_state_dict(state["average"])
        self.average.steps = state["average_steps"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["rng"].cpu())
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda_rng"].cpu(), self.device)


def _diverged(epoch: int, step: int, values: Tensor, batch: Batch) -> str:
    total, classes, boxes = values.tolist()
    return (
        f"the loss is not finite at epoch {epoch}, step {step}: total {total:.4g}, classes {classes:.4g}, "
        f"boxes {boxes:.4g}; images {batch.image_ids}"
    )


def _write_whole(path: Path, state: dict[str, Any]) -> None:
    """Write beside the file first, so that a stop leaves the old or the new one."""
    beside = path.with_suffix(".new")
    torch.save(state, beside)
    beside.replace(path)
