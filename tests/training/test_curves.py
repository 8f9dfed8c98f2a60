"""What trials draw for TensorBoard: every number once, and after a stop only what was trained last."""

from __future__ import annotations

from pathlib import Path

from scaling_lab.training.curves import Curves
from tests.tensorboard_files import scalars_in


def test_numbers_have_names_by_what_they_are(tmp_path: Path) -> None:
    curves = Curves(tmp_path)
    metrics = {"epoch": 1, "epochs": 2, "loss": 0.5, "seconds": 3.0, "ap": 20.0, "too_large": [8], "ok": True}
    curves.write({**metrics, "ap_by_class": {"cat": 30.0, "dog": None}})
    curves.write({"epoch": 2, "epochs": 2, "loss": 0.25})
    assert scalars_in(tmp_path)["train/loss"] == {1: 0.5, 2: 0.25}
    assert {name: list(line) for name, line in scalars_in(tmp_path).items()} == {
        "train/loss": [1, 2],
        "speed/seconds": [1],
        "val/ap": [1],
        "ap_by_class/cat": [1],
    }


def test_what_is_trained_again_replaces_what_was_drawn(tmp_path: Path) -> None:
    for first in (1, 2):
        curves = Curves(tmp_path)
        for epoch in range(first, 4):
            curves.write({"epoch": epoch, "loss": float(first)})
    assert scalars_in(tmp_path)["train/loss"] == {1: 1.0, 2: 2.0, 3: 2.0}
    assert len(list(tmp_path.iterdir())) == 2
