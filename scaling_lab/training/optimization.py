"""The optimizer, the learning-rate schedule and the averaged weights of a training run."""

from __future__ import annotations

import copy
import math
from typing import Generic, TypeVar

import torch
from torch import nn

from scaling_lab.training.recipe import Recipe

Model = TypeVar("Model", bound=nn.Module)


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimizer. Weight decay applies to convolution kernels only."""
    kernels = [p for p in model.parameters() if p.requires_grad and p.dim() > 2]
    others = [p for p in model.parameters() if p.requires_grad and p.dim() <= 2]
    groups = [{"params": kernels, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, foreach=True)
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(recipe.momentum, recipe.beta2), fused=True)


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of a step: linear warm-up from 0, then a cosine that reaches 0 at the last step.

    google/automl does not shift the cosine by the warm-up, so its rate rises slightly at the end; this is not copied.
    """
    warmup = recipe.warmup_epochs * steps_per_epoch
    total = recipe.epochs * steps_per_epoch
    if step < warmup:
        return recipe.lr * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1.0, total - warmup)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * progress))


class AveragedWeights(Generic[Model]):
    """An exponential moving average of a model's weights and norm statistics."""

    def __init__(self, model: Model, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.steps = 0
        self._own, self._theirs = _floats(self.model), _floats(model)
        self._counters = list(zip(_integers(self.model), _integers(model), strict=True))

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the model's current weights."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self._own, self._theirs, 1 - decay)
        for own, theirs in self._counters:
            own.copy_(theirs)


def _floats(model: nn.Module) -> list[torch.Tensor]:
    return [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]


def _integers(model: nn.Module) -> list[torch.Tensor]:
    return [tensor for tensor in model.state_dict().values() if not tensor.is_floating_point()]
