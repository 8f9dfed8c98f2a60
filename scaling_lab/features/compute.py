"""The frozen backbone's features of images, the same to the bit on a CPU whatever batch an image is in."""

from __future__ import annotations

import torch
from torch import Tensor, nn

# Images in the backbone at once, always: a CPU's convolutions of another number of images round differently.
CHUNK = 16


@torch.no_grad()
def frozen_features(backbone: nn.Module, images_BCHW: Tensor, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """Return each level's features (B, C, h, w), rounded to `dtype`, in inference mode; a last chunk is filled with zeros."""
    was_training = backbone.training
    backbone.eval()
    chunks = []
    for images in torch.split(images_BCHW, CHUNK):
        whole = images.new_zeros((CHUNK, *images.shape[1:])).contiguous(memory_format=torch.channels_last)
        whole[: len(images)] = images
        chunks.append([level[: len(images)].to(dtype) for level in backbone(whole)])
    backbone.train(was_training)
    return tuple(torch.cat(levels) for levels in zip(*chunks, strict=True))
