"""Compiled training runs in one process, such as a worker that trains one architecture after another."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch._dynamo

from scaling_lab import Recipe, Shapes, topologies
from scaling_lab.training.train import Run
from search_spaces.compound import SMALL

# Three convolutions on the features of a frozen backbone: tracing them takes a moment, tracing a backbone seconds.
SPEC = dataclasses.replace(SMALL.base, topology=topologies.none(3, 3), repeats=1, head_repeats=0, image_size=(32, 32))
SPEC = dataclasses.replace(SPEC, num_classes=8, separable=False)
DATA = Shapes(train_images=4, val_images=4)
RECIPE = Recipe.short(epochs=1, batch_size=4, compile=True, freeze="backbone", views=1)


@pytest.mark.parametrize(("limit", "count"), [(1, 2), pytest.param(8, 10, marks=pytest.mark.slow)])
def test_each_training_run_in_a_process_is_compiled_once_whatever_dynamos_limit(
    limit: int, count: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiled = 0

    def counted(graph: torch.fx.GraphModule, _: Any) -> Any:
        nonlocal compiled
        compiled += 1
        return graph.forward

    # The backend alone is another: Dynamo, whose limit this is about, does the same before inductor.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counted))
    found = []
    with torch._dynamo.config.patch(recompile_limit=limit):  # monkeypatch would delete it at the end
        for width in range(8, 8 + count):
            spec = dataclasses.replace(SPEC, width=width)
            run = Run(spec, DATA, RECIPE, seed=0, folder=tmp_path / str(width), device="cpu", workers=0)
            run.epoch = 1
            run.set_stage(1)
            for batch in [*run.batches("train", 1)] * 2:
                run.step(batch, rate=1e-3)
            found.append(compiled)
    assert found == list(range(1, count + 1))
