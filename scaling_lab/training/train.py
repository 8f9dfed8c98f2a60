"""The training loop of one detector, top to bottom: batches, losses, steps, evaluation, checkpoints.

It reports each epoch to a function, and continues from the checkpoint in its folder, within an epoch too.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from scaling_lab import files
from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.data import Source
from scaling_lab.data.augmentation import Augmentation
from scaling_lab.data.batches import Batch, Batches, batches
from scaling_lab.data.readers import readers_kept
from scaling_lab.errors import UserError
from scaling_lab.features.build import FeatureFolder, stored_features
from scaling_lab.features.cached_batches import CachedBatches
from scaling_lab.features.compute import frozen_features
from scaling_lab.features.key import feature_key
from scaling_lab.features.store import Features
from scaling_lab.model import Detector, build
from scaling_lab.model.fusion_weights import fusion_weights
from scaling_lab.signals import interruptible
from scaling_lab.training import group, out_of_memory
from scaling_lab.training.checkpoint import not_of_this, random_states, read_state, set_random_states, write_whole
from scaling_lab.training.epoch_so_far import EpochSoFar
from scaling_lab.training.evaluation import average_precision, file_category_id, predict
from scaling_lab.training.failures import Diverged, OutOfMemory, image_names
from scaling_lab.training.freezing import freeze, set_training
from scaling_lab.training.gradients import Forward, add_gradients
from scaling_lab.training.kernels import timed_kernels
from scaling_lab.training.optimization import AveragedWeights, learning_rate, make_optimizer
from scaling_lab.training.readings import Losses, NotFinite, Reading
from scaling_lab.training.recipe import Recipe
from scaling_lab.training.recompute import recompute_backbone, statistics_kept
from scaling_lab.training.sync_norm import synchronise_norms

Report = Callable[[dict[str, Any]], None]
# Called after each step with epoch, step, steps (of the epoch), images (of all workers' batch), seconds (in the epoch), waited
# (the part of them spent waiting for data), loss, lr.
Progress = Callable[[dict[str, float]], None]

# The entries of a checkpoint. "best" came later; without it, the best epoch is chosen among those to come. "so_far" has the
# steps of an unfinished epoch, "other_random" the random states of workers other than worker 0.
_STATE = (
    *("epoch", "metrics", "too_large", "model", "average", "average_steps"),
    *("optimizer", "scaler", "random"),
)
# Seconds of an epoch after which a checkpoint is written within it.
SAVE_EVERY = 300.0
# Number of held-out images whose detections are stored for the report's pictures.
SAMPLES = 8


AnyRun = TypeVar("AnyRun", bound="Run")


@timed_kernels()
@readers_kept()
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
    weights: Mapping[str, Tensor] | None = None,
    progress: Progress = lambda step: None,
    features: FeatureFolder | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Train the spec on the source and return the last epoch's metrics.

    `report` gets each epoch's metrics, `progress` each step's, `say` lines of progress. `weights`, a detector's state dict,
    initialises a training run without a checkpoint; recipe.pretrained must then be False. `folder` receives checkpoint.pt
    each epoch, before its evaluation and after it, and within an epoch every five minutes. It receives best.pt (the averaged
    weights of the epoch with the highest AP, the first of equals) as soon as there is one, and weights.pt (averaged weights)
    and detections.json at the end. A folder with a checkpoint is continued from it, after its last report is repeated. On a
    CPU the result is the same to the bit as without the interruption. With `features`, epochs with a frozen backbone and
    recipe.views train on features stored there. Missing ones are computed first. The result is the same without.

    In the main thread, SIGINT, SIGTERM and SIGHUP within an epoch write the checkpoint after the current step and raise
    KeyboardInterrupt. A second one raises it at once.

    In a torch.distributed group, each worker takes its share of every batch and of the held-out images, and only worker 0
    writes and reports. A signal to any worker ends all. Raises UserError for settings that do not fit, Diverged for a
    non-finite loss, and OutOfMemory where the recipe does not allow to halve the parts (never allowed in a group).
    """

    def start(too_large: Sequence[int]) -> Run:
        places: Any = {"seed": seed, "folder": folder, "device": device, "workers": workers}
        run = Run(spec, source, recipe, **places, weights=weights, too_large=too_large, features=features)
        run.tell(say, progress)
        run.check_norms()
        return run

    check_fits(spec, source, recipe)
    if weights is not None and recipe.pretrained:
        raise UserError(
            f"recipe.pretrained is {recipe.pretrained!r}, but weights of the whole detector are given; allowed is one of the "
            "two"
        )
    return to_the_end(start, report).metrics


def check_fits(spec: DetectorSpec, source: Source, recipe: Recipe) -> None:
    """Raise UserError where a recipe has too small a batch for the workers, or a detector another number of classes."""
    if recipe.batch_size < group.size():
        raise UserError(
            f"recipe.batch_size is {recipe.batch_size}; allowed is at least one image for each of {group.size()} workers"
        )
    if spec.num_classes != len(source.category_ids):
        raise UserError(
            f"the spec has num_classes={spec.num_classes}; allowed is {len(source.category_ids)}, the data's number of classes"
        )


def to_the_end(start: Callable[[Sequence[int]], AnyRun], report: Report) -> AnyRun:
    """Train the epochs that a run lacks and return it; `start` gives it anew for sizes of parts that ran out of memory."""
    if group.rank() > 0:
        report = nothing
    run = start([])
    recipe, image_size = run.recipe, run.spec.image_size
    run.check_position()
    if run.metrics:  # the interruption may have come between a checkpoint and its report
        report(run.metrics)
    while run.epoch < recipe.epochs:
        try:
            run.next_epoch()
        except torch.OutOfMemoryError as error:
            if not recipe.halve_batch or not run.can_halve:
                hint = "" if recipe.halve_batch else "; recipe.halve_batch=True would continue with half as many"
                message = out_of_memory.too_little(error, run.device, run.part_size, image_size)
                raise OutOfMemory(message + hint) from None
            too_large = [*run.too_large, run.part_size]
        else:
            report(run.metrics)
            continue
        # Outside the except clause, whose error keeps the memory allocated.
        del run
        out_of_memory.release()
        run = start(too_large)
    return run


@dataclasses.dataclass(frozen=True)
class Step:
    """A launched step of an epoch, numbered from 1."""

    number: int
    image_ids: list[int]
    rate: float
    reading: Reading


class Run:
    """The state of one training run. `too_large` are sizes of parts that ran out of memory."""

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
        weights: Mapping[str, Tensor] | None = None,
        too_large: Sequence[int] = (),
        features: FeatureFolder | None = None,
    ) -> None:
        self.spec, self.source, self.recipe, self.seed, self.folder = spec, source, recipe, seed, folder
        self.device, self.workers, self.too_large = torch.device(device), workers, list(too_large)
        torch.manual_seed(seed)
        options = {"drop_path_rate": recipe.drop_path} if recipe.drop_path else {}
        # A continued run takes its weights from the checkpoint; the original file or network may be gone.
        pretrained = False if self.checkpoint.exists() else recipe.pretrained
        self.model: Any = self.make_model(pretrained=pretrained, **options)
        if weights is not None:
            self.model.load_state_dict(weights)
        self.model = self.model.to(self.device)
        if recipe.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
        freeze(self.model, recipe.freeze)
        if recipe.recompute_backbone:
            recompute_backbone(self.model)
        self.feature_folder = features
        self.stored: dict[str, Features] = {}
        self.make_forward()
        # Steps launched before a step's numbers are read: a GPU is given the next before the host waits for one.
        self.delay = 0 if self.device.type == "cpu" else 1
        self.average: AveragedWeights[Any] = AveragedWeights(self.model, recipe.ema_decay)
        if recipe.sync_norm and group.size() > 1:
            synchronise_norms(self.model)
        self.optimizer = make_optimizer(self.model, recipe)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "fp16")
        if group.rank() > 0:  # equal weights above, but another drop path
            torch.manual_seed(int(np.random.SeedSequence((seed, group.rank())).generate_state(1, np.uint64)[0]))
        self.epoch = 0
        self.so_far: EpochSoFar | None = None  # of the epoch that is not finished
        self.is_saved = True  # whether the checkpoint has all steps
        self.saved = time.perf_counter()  # when it was written
        self.metrics: dict[str, Any] = {}
        self.best: dict[str, Any] = {}  # best_ap and best_epoch, once an AP has been measured
        self.progress: Progress = lambda step: None
        self.say: Callable[[str], None] = lambda text: None
        files.make_folder(folder)
        if group.rank() == 0:
            files.remove_unfinished(folder)
        if self.checkpoint.exists():
            self.load()

    def make_model(self, *, pretrained: bool | str, **backbone_options: Any) -> nn.Module:
        """Return the model with its initial weights."""
        return build(self.spec, pretrained=pretrained, **backbone_options)

    def make_forward(self) -> None:
        """Prepare the model's two calls, compiled where the recipe says so."""
        is_compiled = self.recipe.compile
        if is_compiled:
            # Dynamo keeps eight programs of the code that all detectors share; from the ninth on it runs uncompiled.
            torch.compiler.reset()
        whole = torch.compile(self.model) if is_compiled else self.model
        self.forward: Forward = lambda images: whole(*images)
        self.forward_features: Forward = (
            torch.compile(self.model.from_features) if is_compiled else self.model.from_features
        )

    def tell(self, say: Callable[[str], None], progress: Progress) -> None:
        """Say lines of progress and steps to these functions, in worker 0 alone."""
        if group.rank() == 0:
            self.say, self.progress = say, progress

    def check_norms(self) -> None:
        """Raise UserError where a batch norm would see a single value a channel."""
        if self.is_single_value(self.accumulate):
            level, (height, width) = f"P{self.spec.topology.max_level}", self.spec.image_size
            raise UserError(
                f"recipe.batch_size {self.recipe.batch_size} with accumulate {self.accumulate} gives parts of one image; "
                f"at {height}x{width} px its {level} has a single position, too few for a batch norm; "
                f"allowed are parts of at least 2 images, or images above {2**self.spec.topology.max_level} px"
            )

    def check_position(self) -> None:
        """Raise UserError where the workers of a group have read different checkpoints."""
        positions = group.joined([(self.epoch, self.so_far.steps if self.so_far else 0)])
        for rank, position in enumerate(positions):
            if position != positions[0]:
                words = [f"{epoch} epochs and {steps} steps" for epoch, steps in (positions[0], position)]
                raise UserError(
                    f"worker 0 continues after {words[0]}, worker {rank} after {words[1]}; allowed is a folder that all "
                    f"workers see, which {self.folder} is not"
                )

    def is_single_value(self, parts: int) -> bool:
        """Return whether one of `parts` parts has a single image with a single position at some level."""
        least = self.recipe.batch_size // group.size() // parts
        together = self.recipe.sync_norm and group.size() > 1
        return least <= 1 and max(self.spec.image_size) <= 2**self.spec.topology.max_level and not together

    @property
    def can_halve(self) -> bool:
        """Whether training can continue with parts half as large."""
        return group.size() == 1 and self.part_size > 1 and not self.is_single_value(2 * self.accumulate)

    @property
    def checkpoint(self) -> Path:
        """The file from which an interrupted run continues."""
        return self.folder / "checkpoint.pt"

    @property
    def accumulate(self) -> int:
        """The number of parts of a batch: the recipe's, doubled for each size that ran out of memory."""
        return min(self.recipe.accumulate << len(self.too_large), self.recipe.batch_size // group.size())

    @property
    def part_size(self) -> int:
        """The most images in the network at once."""
        own_images = -(-self.recipe.batch_size // group.size())
        return -(-own_images // self.accumulate)

    def next_epoch(self) -> None:
        """Train an epoch, measure AP if due, and write the checkpoint before and after that.

        Raises KeyboardInterrupt after a signal, once the checkpoint is written.
        """
        epoch = self.epoch + 1
        is_due = epoch % self.recipe.eval_every == 0 or epoch == self.recipe.epochs
        with interruptible(self.say, at_once=False) as is_interrupted:
            metrics = self.train_epoch(epoch, is_interrupted)
            if not is_due:
                self.end_epoch(metrics)
            elif not self.is_saved:
                self.save()
        if is_interrupted():
            raise KeyboardInterrupt
        if is_due:
            self.end_epoch(metrics | self.evaluate())

    def end_epoch(self, metrics: dict[str, Any]) -> None:
        """Record the metrics of a finished epoch, and write the checkpoint."""
        if group.rank() == 0:
            metrics |= self.learned()
            if "ap" in metrics:
                self.compare(metrics["ap"])
                metrics |= self.best
        self.metrics = group.from_main(metrics)
        self.so_far = None
        self.save()
        if group.rank() == 0:
            self.keep_best()

    def learned(self) -> dict[str, Any]:
        """Return the metrics of the averaged weights themselves."""
        weights = fusion_weights(self.average.model)
        return {"fusion_weights": weights} if weights else {}

    def set_stage(self, epoch: int) -> None:
        """Freeze and train the parts of the detector that an epoch of the recipe does."""
        is_frozen = self.recipe.is_frozen(epoch)
        stage = "backbone" if is_frozen else self.recipe.freeze
        freeze(self.model, stage)
        set_training(self.model, stage)
        self.average.leave_out("backbone." if is_frozen else None)

    def train_epoch(self, epoch: int, is_interrupted: Callable[[], bool] = lambda: False) -> dict[str, Any]:
        """Train on the training images that the epoch still lacks. Return mean losses, learning rate, speed and GPU memory.

        A checkpoint is written every SAVE_EVERY seconds. Raises Diverged, and KeyboardInterrupt with a checkpoint as soon as
        any worker `is_interrupted`.
        """
        self.epoch = epoch
        self.set_stage(epoch)
        if self.so_far is None:
            self.so_far = EpochSoFar(epoch=epoch)
        so_far = self.so_far
        loader = self.batches("train", epoch, first=so_far.steps)
        steps = so_far.steps + len(loader)
        loader.skipped.update(so_far.skipped)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        launched: deque[Step] = deque()

        def finish(*, all_but: int) -> None:
            """Wait for all launched steps but the last ones, and count them."""
            while len(launched) > all_but:
                step = launched.popleft()
                losses = self.losses_of(step)
                so_far.add(losses, step.rate)
                so_far.seconds, so_far.skipped, self.is_saved = time.perf_counter() - start, loader.skipped, False
                seen = {"epoch": epoch, "step": so_far.steps, "steps": steps, "images": self.recipe.batch_size}
                spent = {"seconds": so_far.seconds, "waited": so_far.waited}
                self.progress({**seen, **spent, "loss": losses.total, "lr": step.rate})

        ready = time.perf_counter()
        start = ready - so_far.seconds
        for place, batch in enumerate(loader, so_far.steps):
            # A GPU that is still at the step before has not waited for this batch.
            if not launched or launched[-1].reading.is_done:
                so_far.waited += time.perf_counter() - ready
            rate = learning_rate(self.recipe, (epoch - 1) * steps + place, steps)
            launched.append(Step(place + 1, batch.image_ids, rate, self.launch(batch, rate)))
            finish(all_but=self.delay)
            ready = time.perf_counter()
            stop, is_late = group.any_of([is_interrupted(), ready - self.saved > SAVE_EVERY])
            if stop or is_late:
                finish(all_but=0)  # a checkpoint has the weights after every launched step
                self.save()
            if stop:
                raise KeyboardInterrupt
        finish(all_but=0)
        metrics = {
            "epoch": epoch,
            "epochs": self.recipe.epochs,
            **so_far.metrics(self.recipe.batch_size),
            "accumulate": self.accumulate,
        }
        if self.device.type == "cuda":
            metrics["gpu_memory_mb"] = torch.cuda.max_memory_allocated(self.device) / 1e6
        return metrics | ({"too_large": self.too_large} if self.too_large else {})

    def losses_of(self, step: Step) -> Losses:
        """Wait for a launched step and return its losses. Raises Diverged."""
        try:
            return step.reading.losses()
        except NotFinite as error:
            when = f"epoch {self.epoch}, step {step.number}"
            names = image_names(self.source, group.joined(step.image_ids))
            raise Diverged(f"{error.what} is not finite at {when}: {error.values}; images {names}") from None

    def step(self, batch: Batch, rate: float) -> Losses:
        """Take one optimizer step on a batch and wait for its losses. Raises NotFinite."""
        return self.launch(batch, rate).losses()

    def launch(self, batch: Batch, rate: float) -> Reading:
        """Launch one optimizer step on a batch, without waiting for a GPU. A CPU leaves the weights if it is not finite."""
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = rate * parameters["lr_factor"]
        self.optimizer.zero_grad(set_to_none=True)
        if self.is_rounded(self.epoch) and not batch.are_features:
            batch = self.rounded(batch)
        losses_3 = self.add_gradients(batch)
        group.sum_gradients(self.model.parameters())
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        reading = Reading(losses_3, norm, self.scaler.scale(torch.ones_like(norm)))
        if self.delay or reading.is_finite:
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.average.update()
        return reading

    def add_gradients(self, batch: Batch) -> Tensor:
        """Add a batch's gradient to the weights' and return its losses (3,)."""
        return self.gradients_of(self.spec, self.forward_features if batch.are_features else self.forward, batch)

    def gradients_of(self, spec: DetectorSpec, forward: Forward, batch: Batch) -> Tensor:
        """Add the gradient of a detector's loss of a batch to the weights' and return its losses (3,)."""
        backward = partial(statistics_kept, self.model.backbone) if self.recipe.recompute_backbone else nullcontext
        return add_gradients(
            forward, batch, spec, self.recipe, parts=self.accumulate, scaler=self.scaler, backward=backward
        )

    def is_rounded(self, epoch: int) -> bool:
        """Return whether an epoch trains on a frozen backbone's features in half precision, stored or not."""
        return self.recipe.views > 0 and self.recipe.is_frozen(epoch)

    def rounded(self, batch: Batch) -> Batch:
        """Return the batch with the backbone's features in place of images, as they would be stored."""
        levels = frozen_features(self.model.backbone, batch.images_BCHW, torch.float16)
        features = tuple(level.to(torch.float32) for level in levels)
        return dataclasses.replace(batch, inputs=features, are_features=True)

    def evaluate(self) -> dict[str, Any]:
        """Return COCO's numbers of the averaged weights on the held-out images; nothing in workers other than worker 0."""
        detections_D7 = self.detections(self.average.model)
        if group.rank() > 0:
            return {}
        if self.epoch == self.recipe.epochs:
            self.write_results(detections_D7)
        return average_precision(self.source.ground_truth("val"), detections_D7)

    def detections(self, detector: Detector) -> np.ndarray[Any, Any]:
        """Return a detector's detections (D, 7) on the held-out images, which the workers share."""
        # Without sync_norm the workers' norms differ; worker 0's are those that it writes.
        group.spread(buffer for buffer in detector.buffers() if buffer.is_floating_point())
        loader = self.batches("val", self.epoch)
        own_D7 = predict(detector, self.source, loader, precision=self.recipe.precision)
        all_D7 = np.concatenate(group.joined([own_D7]))
        return all_D7[np.argsort(all_D7[:, 0], kind="stable")]  # in the order of one worker

    def compare(self, ap: float | None) -> None:
        """Remember this epoch as the best if its AP is higher than all before."""
        if ap is not None and (not self.best or ap > self.best["best_ap"]):
            self.best = {"best_ap": ap, "best_epoch": self.epoch}

    def keep_best(self) -> None:
        """Write best.pt if this epoch is the best: after the checkpoint, so that a continued run finds it or writes it."""
        if self.best.get("best_epoch") == self.epoch:
            best = {**self.weights(), "epoch": self.epoch, "ap": self.best["best_ap"]}
            write_whole(self.folder / "best.pt", best)

    def weights(self) -> dict[str, Any]:
        """Return what weights.pt holds: the averaged weights, with the spec and the class names."""
        return self.file_of(self.average.model)

    def file_of(self, detector: Detector) -> dict[str, Any]:
        """Return the content of a detector's file: its weights, with the spec and the class names."""
        return {
            "spec": detector.spec.to_dict(),
            "class_names": list(self.source.class_names),
            "state": detector.state_dict(),
        }

    def batches(self, split: str, epoch: int, *, first: int = 0) -> Any:
        """Return one pass over a split, from the batch number `first` on."""
        recipe = self.recipe
        loader = batches(
            self.source,
            split,
            image_size=self.spec.image_size,
            batch_size=recipe.batch_size if split == "train" else self.part_size,
            seed=self.seed,
            epoch=epoch,
            augmentation=self.augmentation,
            pixels=self.spec.pixels,
            workers=self.workers,
            device=self.device,
            views=recipe.views if recipe.is_frozen(epoch) else 0,
            first=first,
        )
        if group.size() > 1:
            loader = (group.Share if split == "train" else group.OwnBatches)(**vars(loader))
        return loader if self.feature_folder is None or not self.is_rounded(epoch) else self.cached(loader)

    @property
    def augmentation(self) -> Augmentation:
        """The recipe's augmentation."""
        return Augmentation(jitter=self.recipe.jitter, flip=self.recipe.flip, colour=self.recipe.colour)

    def cached(self, loader: Batches) -> CachedBatches:
        """Return the same batches with stored features, which are computed first where they are missing."""
        assert self.feature_folder is not None
        split = loader.split
        if split not in self.stored:
            backbone = self.average.model.backbone
            places: Any = {"augmentation": self.augmentation, "views": self.recipe.views}
            places["data_digest"] = self.feature_folder.data_digest
            key = feature_key(self.spec, backbone, self.source, split, **places)
            self.stored[split] = stored_features(self.feature_folder, key, backbone, loader, say=self.say)
        return CachedBatches(loader, self.stored[split])

    def write_results(self, detections_D7: np.ndarray[Any, Any]) -> None:
        """Write the averaged weights, and the sample images' detections for the report."""
        write_whole(self.folder / "weights.pt", self.weights())
        samples = []
        for image_id in (image_id for image_id, _ in self.source.samples(SAMPLES)):
            rows = detections_D7[detections_D7[:, 0] == image_id]
            found = [
                {"bbox": row[1:5].tolist(), "score": row[5], "category_id": file_category_id(int(row[6]), self.source)}
                for row in rows
            ]
            samples.append({"image_id": self.source.file_image_id("val", image_id), "detections": found})
        files.write_whole(self.folder / "detections.json", json.dumps(samples))

    def save(self) -> None:
        """Write the checkpoint atomically. All workers of a group call it, since worker 0 writes their random states."""
        random = group.joined([random_states(self.device)])
        self.is_saved, self.saved = True, time.perf_counter()
        if group.rank() == 0:
            write_whole(self.checkpoint, self.state(*random))

    def state(self, random: dict[str, Tensor], *other_random: dict[str, Tensor]) -> dict[str, Any]:
        """Return the content of a checkpoint, with all workers' random states."""
        return {
            "spec": self.spec.to_dict(),
            "class_names": list(self.source.class_names),
            "epoch": self.epoch - (self.so_far is not None),
            "so_far": None if self.so_far is None else self.so_far.to_dict(),
            "metrics": self.metrics,
            "best": self.best,
            "too_large": self.too_large,
            "model": self.model.state_dict(),
            "average": self.average.model.state_dict(),
            "average_steps": self.average.steps,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": random,
            "other_random": list(other_random),
        }

    def load(self) -> None:
        """Continue from the checkpoint. Raises BadCheckpoint."""
        state = read_state(self.checkpoint, _STATE, self.device)
        try:
            self.take_over(state)
        except (torch.OutOfMemoryError, torch.AcceleratorError):  # of the device, not of the checkpoint
            raise
        except (AttributeError, KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
            raise not_of_this(self.checkpoint, error) from None
        if group.rank() == 0:
            self.keep_best()

    def take_over(self, state: Mapping[str, Any]) -> None:
        """Restore the state of a checkpoint. Values of another form may raise any error."""
        self.epoch, self.metrics, self.best = state["epoch"], state["metrics"], dict(state.get("best", {}))
        self.too_large = max(self.too_large, state["too_large"], key=len)
        self.model.load_state_dict(state["model"])
        self.average.model.load_state_dict(state["average"])
        self.average.steps = state["average_steps"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        so_far, random = state.get("so_far"), [state["random"], *state.get("other_random", [])]
        self.so_far = None if so_far is None else EpochSoFar(**so_far)
        if group.rank() < len(random):
            set_random_states(random[group.rank()], self.device)


def nothing(_: Any) -> None:
    """Ignore a report."""
