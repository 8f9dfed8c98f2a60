"""What a few steps of a training tell of a whole one."""

from __future__ import annotations

import dataclasses
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from scaling_lab import Recipe, Shapes
from scaling_lab.errors import UserError
from scaling_lab.training import rehearsal
from scaling_lab.training.company import company
from scaling_lab.training.rehearsal import Rehearsal, rehearse
from scaling_lab.training.train import train
from search_spaces.compound import SMALL
from tests.coco_files import write_coco

SPEC = dataclasses.replace(SMALL.base, repeats=1, num_classes=8, image_size=(64, 64))


def test_a_whole_training_is_the_sum_of_its_parts() -> None:
    parts = Rehearsal(
        start=1000.0, steps=(9.0,), wait=0.5, later_wait=0.25, checkpoint=10.0, evaluation=200.0, later_evaluation=100.0
    )
    # 5 epochs of 4 steps of 2 s. Epochs 2, 4 and 5 are evaluated, with one more checkpoint. Data: 4 x 0.5 s, then 4 x 4 x 0.25 s.
    recipe = Recipe.short(epochs=5, eval_every=2)
    assert parts.training(recipe, 4, 2.0) == 1000 + 5 * 4 * 2 + (5 + 3) * 10 + 2 + 4 + 200 + 2 * 100
    assert parts.training(Recipe.short(epochs=1, eval_every=2), 4, 2.0) == 1000 + 4 * 2 + 2 * 10 + 2 + 200


@pytest.mark.slow
def test_a_rehearsal_foretells_a_real_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By this process's own time, for others use this machine too."""
    monkeypatch.setattr(time, "perf_counter", time.process_time)
    data, recipe = Shapes(train_images=256, val_images=64), Recipe.short(epochs=2, batch_size=8)
    threads = torch.get_num_threads()
    before = set(Path(tempfile.gettempdir()).iterdir())
    measured = rehearse(SPEC, data, recipe, seed=0, device="cpu", workers=0, threads=1, seconds=1.0)
    assert torch.get_num_threads() == threads
    assert not [
        path for path in set(Path(tempfile.gettempdir()).iterdir()) - before if (path / "checkpoint.pt").exists()
    ]
    assert rehearsal.LEAST_STEPS <= len(measured.steps) <= rehearsal.MOST_STEPS
    told = measured.training(recipe, 256 // 8, sum(measured.steps) / len(measured.steps))
    began = time.perf_counter()
    train(SPEC, data, recipe, seed=0, folder=tmp_path, report=lambda metrics: None)
    real = time.perf_counter() - began
    assert real / 3 < told < real * 3


def test_fewer_images_than_steps_are_taken_again_and_again() -> None:
    data, recipe = Shapes(train_images=8, val_images=1), Recipe.short(epochs=1, batch_size=8)
    measured = rehearse(SPEC, data, recipe, seed=0, device="cpu", workers=0, threads=1, seconds=0.0)
    assert len(measured.steps) == rehearsal.LEAST_STEPS
    assert measured.evaluation > 0


def test_images_from_disk_read_by_another_process(tmp_path: Path) -> None:
    data, recipe = write_coco(tmp_path / "coco", train=16, val=6), Recipe.short(epochs=1, batch_size=4)
    spec = dataclasses.replace(SPEC, num_classes=3)
    measured = rehearse(spec, data, recipe, seed=0, device="cpu", workers=1, threads=1, seconds=0.0)
    assert measured.wait == measured.later_wait > 0
    assert measured.evaluation == measured.later_evaluation > 0


def test_what_the_training_would_raise_is_raised() -> None:
    with pytest.raises(UserError, match="batch_size is 8; allowed is up to 4"):
        rehearse(
            SPEC,
            Shapes(train_images=4, val_images=1),
            Recipe.short(batch_size=8),
            seed=0,
            device="cpu",
            workers=0,
            threads=1,
        )


@pytest.mark.slow
def test_others_train_beside_it_and_end_with_it() -> None:
    before = set(multiprocessing.active_children())
    data, recipe = Shapes(train_images=8, val_images=1), Recipe.short(epochs=1, batch_size=8)
    measured = rehearse(SPEC, data, recipe, seed=0, device="cpu", workers=0, threads=1, seconds=0.0, beside=1)
    assert len(measured.steps) == rehearsal.LEAST_STEPS
    assert set(multiprocessing.active_children()) == before


@pytest.mark.slow
def test_a_failure_beside_it_is_raised_with_its_reason() -> None:
    wrong = dataclasses.replace(SPEC, backbone="none such")
    settings: dict[str, Any] = {"source": Shapes(train_images=8), "recipe": Recipe.short(batch_size=8), "seed": 0}
    with (
        pytest.raises(RuntimeError, match=r"one of 2 trials at once failed:\n(.*\n)*.*'none such' is unknown to timm"),
        company(1, threads=1, spec=wrong, device="cpu", workers=0, **settings),
    ):
        pass
