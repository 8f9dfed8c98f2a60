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
    """Return the recipe's optimizer. Weight decay applies to convolution kernels only.

    A group's "lr_factor" is the backbone's relative learning rate, or 1.
    """
    groups = []
    for is_slow in (False, True) if recipe.backbone_lr != 1.0 else (None,):
        own = [p for name, p in model.named_parameters() if is_slow in (None, name.startswith("backbone."))]
        factor = recipe.backbone_lr if is_slow else 1.0
        for is_kernel in (True, False):
            params = [p for p in own if p.requires_grad and (p.dim() > 2) == is_kernel]
            decay = recipe.weight_decay if is_kernel else 0.0
            groups.append({"params": params, "weight_decay": decay, "lr_factor": factor})
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
        theirs = _floats(model)
        self._all = [(name, tensor, theirs[name]) for name, tensor in _floats(self.model).items()]
        self.leave_out(None)
        self._counters, self._their_counters = _integers(self.model), _integers(model)

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the model's current weights."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_([own for own, _ in self._moving], [theirs for _, theirs in self._moving], 1 - decay)
        if self._counters:
            torch._foreach_copy_(self._counters, self._their_counters)

    def leave_out(self, prefix: str | None) -> None:
        """Leave out the tensors whose names begin so, which do not change, such as a frozen backbone's; None: take all."""
        self._moving = [
            (own, theirs) for name, own, theirs in self._all if prefix is None or not name.startswith(prefix)
        ]


def _floats(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}


def _integers(model: nn.Module) -> list[torch.Tensor]:
    return [tensor for tensor in model.state_dict().values() if not tensor.is_floating_point()]
