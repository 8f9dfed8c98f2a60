"""How often a training step makes the host wait for a GPU, counted on a device that computes on the CPU."""

from __future__ import annotations

import dataclasses
import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from scaling_lab import Recipe, Shapes, topologies
from scaling_lab.architecture.spec import HEADS
from scaling_lab.data import Source
from scaling_lab.data.batches import Batch
from scaling_lab.features.build import FeatureFolder
from scaling_lab.training.failures import Diverged
from scaling_lab.training.optimization import AveragedWeights
from scaling_lab.training.train import Run
from search_spaces.compound import SMALL
from tests.coco_files import write_coco
from tests.pretend_device import DEVICE, Waits

SPEC = dataclasses.replace(SMALL.base, topology=topologies.none(3, 5), repeats=1, num_classes=8, image_size=(64, 64))
DATA = Shapes(train_images=16, val_images=4)
RECIPE = Recipe.paper(epochs=1, batch_size=8, precision="float32", lr=1e-3, sync_norm=False)
# The numbers of positives, which decide shapes, are read once for all parts. Nothing of the points' loss is.
BUDGET = {"anchors": {"tolist": 1}, "points": {}}


def _run(
    folder: Path, device: str | torch.device = DEVICE, *, source: Source = DATA, head: str = "anchors", **changes: Any
) -> Run:
    spec = dataclasses.replace(SPEC, num_classes=len(source.class_names), head=head)
    recipe = dataclasses.replace(RECIPE, **changes)
    places: Any = {"folder": folder, "workers": 0, "features": FeatureFolder(root=folder / "features", limit_gb=1.0)}
    run = Run(spec, source, recipe, seed=0, device=str(device), **places)
    run.epoch = 1
    run.set_stage(1)
    return run


def _crowded(batch: Batch, objects: int) -> Batch:
    """Return the batch with that many objects in its first image, and fewer in each after it."""
    chance = torch.Generator().manual_seed(objects)
    corners = torch.rand(8, objects, 2, generator=chance) * 40
    boxes = torch.cat([corners, corners + 4 + torch.rand(8, objects, 2, generator=chance) * 20], dim=2)
    labels = torch.randint(0, 8, (8, objects), generator=chance)
    for image in range(8):
        labels[image, objects // (image + 1) :] = -1
    device = batch.boxes_BN4.device
    return dataclasses.replace(batch, boxes_BN4=boxes.to(device), labels_BN=labels.to(device))


_OTHERS = [pytest.param(*each, marks=pytest.mark.slow) for each in (("anchors", 1), ("points", 3))]


@pytest.mark.parametrize(("head", "parts"), [("anchors", 3), ("points", 1), *_OTHERS])
def test_a_step_waits_as_its_budget_says_however_many_objects_it_has(tmp_path: Path, head: str, parts: int) -> None:
    with Waits() as waits:
        run, here = (_run(tmp_path, device, head=head, accumulate=parts) for device in (DEVICE, "cpu"))
        batch, same = (next(iter(each.batches("train", 1))) for each in (run, here))
        assert run.step(_crowded(batch, 2), 1e-3) == here.step(_crowded(same, 2), 1e-3)  # to the bit; anchors are made
        found = []
        for objects in (1, 40):
            crowded = _crowded(batch, objects)
            waits.found.clear()
            reading = run.launch(crowded, 1e-3)
            found.append(dict(waits.found))
            assert math.isfinite(reading.losses().total)
    assert found == [BUDGET[head]] * 2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("head", HEADS)
def test_on_a_gpu_torch_warns_of_no_other_waits(tmp_path: Path, head: str) -> None:
    run = _run(tmp_path, "cuda", head=head)
    crowded = _crowded(next(iter(run.batches("train", 1))), 40)
    run.step(crowded, 1e-3)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            run.launch(crowded, 1e-3)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(found) == sum(BUDGET[head].values()), [str(each.message) for each in found]


def test_the_averaged_weights_take_two_kernels(tmp_path: Path) -> None:
    """One call for all weights and statistics, one for the counters of all batch norms."""
    with Waits() as waits:
        model = _run(tmp_path).model
        average = AveragedWeights(model, 0.99)
        for tensor in model.state_dict().values():
            tensor.add_(1)
        waits.found.clear()
        waits.launched = 0
        average.update()
        assert waits.launched == 2
        assert not waits.found
        pairs = zip(average.model.state_dict().items(), model.state_dict().values(), strict=True)
        counters = [(own, theirs) for (name, own), theirs in pairs if name.endswith("num_batches_tracked")]
        assert all(own.values == theirs.values == 1 for own, theirs in counters)
    assert len(counters) > 10


@pytest.mark.parametrize("kept", ["rendered", "cached", "files", "features"])
def test_batches_reach_the_device_without_a_wait(tmp_path: Path, kept: str) -> None:
    source: Source = write_coco(tmp_path / "coco", train=8, val=2) if kept == "files" else DATA
    changes: dict[str, Any] = {"rendered": {"colour": 0.5}, "cached": {"jitter": (1.0, 1.0)}}.get(kept, {})
    if kept == "features":
        changes = {"freeze": "backbone", "views": 1}
    with Waits() as waits:
        run = _run(tmp_path / "run", source=source, **changes)
        if kept == "features":
            list(run.batches("train", 1))  # computes and stores them
        waits.found.clear()
        device = [batch.inputs[0].device for batch in run.batches("train", 1)]
    assert not waits.found
    assert set(device) == {DEVICE}


def test_an_epoch_with_steps_launched_ahead_is_the_same(tmp_path: Path) -> None:
    found = []
    for delay in (0, 1):
        run = _run(tmp_path, "cpu")
        run.delay = delay
        seen: list[dict[str, float]] = []
        run.progress = seen.append
        metrics = run.train_epoch(1)
        steps = [{name: step[name] for name in ("epoch", "step", "steps", "images", "loss", "lr")} for step in seen]
        found.append((steps, {name: metrics[name] for name in ("loss", "class_loss", "box_loss", "lr")}))
    assert found[0] == found[1]
    assert [step["step"] for step in found[1][0]] == [1, 2]


@pytest.mark.parametrize("last", [False, True])
def test_a_step_that_was_launched_ahead_is_named_where_it_is_not_finite(tmp_path: Path, last: bool) -> None:
    run = _run(tmp_path, "cpu")
    run.delay = 1

    def spoil(module: nn.Module, inputs: Any, outputs: list[torch.Tensor]) -> list[torch.Tensor]:
        return outputs if next(calls) else [output * math.nan for output in outputs]

    calls = iter([True, False] if last else [False, True])
    run.model.box_head.register_forward_hook(spoil)
    images = ", ".join(map(str, run.batches("train", 1).indices()[int(last)]))
    with pytest.raises(Diverged, match=rf"^the loss is not finite at epoch 1, step {1 + last}: .*; images {images}$"):
        run.train_epoch(1)
