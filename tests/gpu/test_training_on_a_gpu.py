"""Training on a GPU: every precision, compiled, within NCCL, out of memory, and on stored features."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from scaling_lab import Recipe, Shapes
from scaling_lab.features.build import FeatureFolder
from scaling_lab.model.checkpoints import load_checkpoint
from scaling_lab.training.failures import OutOfMemory
from scaling_lab.training.train import train
from search_spaces.compound import SMALL

pytestmark = pytest.mark.gpu
SPEC = dataclasses.replace(SMALL.base, repeats=1, num_classes=8, image_size=(64, 64))
DATA = Shapes(train_images=32, val_images=8)
RECIPE = Recipe.short(epochs=2, batch_size=8)


def trained(folder: Path, device: str, features: FeatureFolder | None = None, **changes: Any) -> list[dict[str, Any]]:
    """Train; give each epoch's metrics."""
    reports: list[dict[str, Any]] = []
    recipe = dataclasses.replace(RECIPE, **changes)
    train(SPEC, DATA, recipe, seed=0, folder=folder, report=reports.append, device=device, features=features)
    return reports


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return trained(tmp_path_factory.mktemp("cpu"), "cpu")


@pytest.mark.parametrize(("precision", "within"), [("float32", 0.05), ("bf16", 0.15), ("fp16", 0.15)])
@pytest.mark.parametrize("is_compiled", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["eager", "compiled"])
def test_the_loss_is_that_of_the_cpu(
    precision: str, within: float, is_compiled: bool, gpu: str, on_cpu: list[dict[str, Any]], tmp_path: Path
) -> None:
    if gpu == "cpu" and (precision == "fp16" or is_compiled):
        pytest.skip("cannot be rehearsed on a CPU")
    reports = trained(tmp_path, gpu, precision=precision, compile=is_compiled)
    assert [report["epoch"] for report in reports] == [1, 2]
    # Only the first epoch's: small differences grow.
    assert reports[0]["loss"] == pytest.approx(on_cpu[0]["loss"], rel=within)
    assert all(math.isfinite(report["loss"]) for report in reports)
    weights = load_checkpoint(SPEC, tmp_path / "weights.pt").state_dict()
    assert all(torch.isfinite(each).all() for each in weights.values())
    assert {each.device.type for each in weights.values()} == {"cpu"}


class Interrupted(Exception):
    """Ends a training run after its first epoch."""


def test_a_run_is_continued(gpu: str, on_cpu: list[dict[str, Any]], tmp_path: Path) -> None:
    def end(metrics: dict[str, Any]) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        train(SPEC, DATA, RECIPE, seed=0, folder=tmp_path, report=end, device=gpu)
    continued = trained(tmp_path, gpu)
    assert [report["epoch"] for report in continued] == [1, 2]
    assert continued[1]["loss"] == pytest.approx(on_cpu[1]["loss"], rel=0.15)


def _join_alone(rank: int, folder: Path, device: str) -> None:
    backend = "nccl" if device == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=f"file://{folder}/meeting", rank=rank, world_size=1)
    values = torch.arange(6.0, device=device)
    dist.all_reduce(values)
    gathered = [torch.empty_like(values)]
    dist.all_gather(gathered, values)
    objects: list[Any] = [None]
    dist.all_gather_object(objects, {"rank": rank})
    reports = trained(folder / "run", device, sync_norm=True)
    torch.save({"sum": values.cpu(), "all": gathered[0].cpu(), "objects": objects, "reports": reports}, folder / "0.pt")
    dist.destroy_process_group()


def test_one_worker_in_a_group_trains_as_none(gpu: str, on_cpu: list[dict[str, Any]], tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_join_alone, (tmp_path, gpu), nprocs=1)
    found = torch.load(tmp_path / "0.pt", weights_only=False)
    assert found["sum"].tolist() == found["all"].tolist() == [0, 1, 2, 3, 4, 5]
    assert found["objects"] == [{"rank": 0}]
    assert found["reports"][0]["loss"] == pytest.approx(on_cpu[0]["loss"], rel=0.05)


# --- memory ----------------------------------------------------------------------------------------------------------


def _reserved(folder: Path, batch_size: int) -> int:
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    trained(folder, "cuda", epochs=1, batch_size=batch_size, warmup_epochs=0.5)
    return torch.cuda.max_memory_reserved()


def _out_of_memory(rank: int, folder: Path) -> None:
    """Allow the GPU memory of half a batch, in a process of its own, since the limit cannot be taken back."""
    whole, half = (_reserved(folder / str(size), size) for size in (32, 16))
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((whole + 2 * half) / 3 / total)
    settings: dict[str, Any] = {"epochs": 1, "batch_size": 32, "warmup_epochs": 0.5}
    message = ""
    try:
        trained(folder / "refused", "cuda", **settings)
    except OutOfMemory as error:
        message = str(error)
    reports = trained(folder / "halved", "cuda", halve_batch=True, **settings)
    state = torch.load(folder / "halved" / "checkpoint.pt", weights_only=False)
    torch.save({"message": message, "reports": reports, "too_large": state["too_large"]}, folder / "result.pt")


def test_out_of_memory_is_told_and_parts_are_halved(cuda: str, tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_out_of_memory, (tmp_path,), nprocs=1)
    found = torch.load(tmp_path / "result.pt", weights_only=False)
    assert "too little memory for 32 images of 64x64 px at once" in found["message"]
    assert "recipe.halve_batch=True would continue with half as many" in found["message"]
    assert list(found["too_large"])[:1] == [32]
    assert math.isfinite(found["reports"][0]["loss"])


# --- stored features -------------------------------------------------------------------------------------------------


def test_training_on_stored_features_is_the_same(gpu: str, tmp_path: Path) -> None:
    frozen: dict[str, Any] = {"freeze": "backbone", "views": 2}
    own = trained(tmp_path / "own", gpu, **frozen)
    where = FeatureFolder(root=tmp_path / "features", limit_gb=1.0)
    stored = trained(tmp_path / "stored", gpu, features=where, **frozen)
    assert [each["loss"] for each in stored] == pytest.approx([each["loss"] for each in own], rel=1e-3)
    again = trained(tmp_path / "again", gpu, features=where, **frozen)
    assert [each["loss"] for each in again] == pytest.approx([each["loss"] for each in own], rel=1e-3)
