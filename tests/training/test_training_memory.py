"""Memory counted on shapes beside what torch keeps for the backward pass of the real network."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from scaling_lab import Recipe, efficientdet
from scaling_lab.cost import count
from scaling_lab.model import build
from scaling_lab.training.training_memory import TrainingMemory, training_memory
from search_spaces.compound import SMALL

SPEC = dataclasses.replace(SMALL.base, repeats=1, num_classes=8, image_size=(64, 64))


def _kept(images: int) -> int:
    """Give the bytes that the real network keeps for its backward pass, besides weights."""
    model = build(SPEC).train()
    weights = {each.untyped_storage().data_ptr() for each in (*model.parameters(), *model.buffers())}
    sizes: dict[int, int] = {}
    held = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            sizes[storage.data_ptr()] = storage.nbytes()
            held.append(tensor)  # else another would take its place
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        held.append(model(torch.zeros(images, 3, *SPEC.image_size)))
    return sum(sizes.values())


def test_an_image_needs_what_the_network_keeps_of_it_and_a_little_more() -> None:
    each = _kept(4) - _kept(3)
    assert each <= training_memory(SPEC, Recipe.short()).image <= 1.3 * each


def test_weights_count_once_more_for_each_state_of_the_optimizer() -> None:
    model = build(SPEC)
    trained = 4 * sum(each.numel() for each in model.parameters())
    kept = sum(each.numel() * 4 for each in (*model.parameters(), *model.buffers()))
    fixed = {name: training_memory(SPEC, Recipe.short(optimizer=name)).fixed for name in ("sgd", "adamw")}
    assert fixed == {"sgd": 2 * kept + 2 * trained, "adamw": 2 * kept + 3 * trained}
    frozen = training_memory(SPEC, Recipe.short(freeze="backbone"))
    assert frozen.fixed < fixed["adamw"]
    assert frozen.image < training_memory(SPEC, Recipe.short()).image


@pytest.mark.slow
def test_half_precision_and_a_recomputed_backbone_need_less() -> None:
    d0 = efficientdet("d0")
    each = [
        training_memory(d0, Recipe.paper(**changes)).image / count(d0).activations
        for changes in ({"precision": "float32"}, {}, {"recompute_backbone": True})
    ]
    # NVIDIA trains D0 with 150 images on 80 GB and 60 on 32 GB in mixed precision: 533 MB an image, 11 bytes an activation.
    assert each == pytest.approx([13.3, 7.5, 3.2], abs=0.5)


def test_the_most_images_of_a_size() -> None:
    memory = TrainingMemory(fixed=100, image=10, input=1)
    assert memory.of(4, 8) == 148
    assert [memory.most_images(size, 8) for size in (148, 147.9, 118, 117, 1e9)] == [4, 3, 1, 0, 8]
