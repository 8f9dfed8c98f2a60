"""Batches for the network from any source, through one call.

An image's pixels depend on (source, seed, epoch, index) only, not on workers or earlier calls. So a resumed training run
sees the same images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scaling_lab.architecture.spec import Pixels
from scaling_lab.data.augmentation import Augmentation, Placement
from scaling_lab.data.batch_plan import BatchPlan, Example
from scaling_lab.data.drawn import drawn_batches
from scaling_lab.data.reading import read_batches
from scaling_lab.data.shapes import Shapes
from scaling_lab.data.sources import Source
from scaling_lab.data.transfer import constant, to_device

# Weights of red, green and blue in grey (ITU-R BT.601), as in Pillow and torchvision.
_LUMA = (0.299, 0.587, 0.114)


@dataclass
class Batch:
    """B images on the device; boxes are (x0, y0, x1, y1) in the network's pixels, N the most of one image, at least 1.

    `inputs` is one normalised tensor (B, 3, H, W) of images, or the backbone's features, a tensor (B, C, h, w) for each level,
    where `are_features`. `image_size` is (H, W).

    A network pixel is an original pixel times `scales_B` (in val: without crop or mirror). `sizes_B2` is the original
    (height, width). Rows of `boxes_BN4` beyond an image's own are 0, their labels -1.
    """

    inputs: tuple[Tensor, ...]
    image_size: tuple[int, int]
    boxes_BN4: Tensor
    labels_BN: Tensor
    image_ids: list[int]
    scales_B: Tensor
    sizes_B2: Tensor
    are_features: bool = False

    @property
    def images_BCHW(self) -> Tensor:
        """The images."""
        (images_BCHW,) = self.inputs
        return images_BCHW


def batches(
    source: Source,
    split: str,
    *,
    image_size: int | tuple[int, int],
    batch_size: int,
    seed: int = 0,
    epoch: int = 0,
    augmentation: Augmentation | None = None,
    pixels: Pixels | None = None,
    workers: int = 0,
    device: str | torch.device = "cpu",
    views: int = 0,
    first: int = 0,
) -> Batches:
    """Prepare one pass over a split: "train" shuffled, augmented, without a smaller last batch; "val" complete, in order.

    `pixels` sets the normalisation (default: ImageNet's). `workers` processes read images from disk; Shapes are rendered
    in this process, on `device`. With `views`, a training image has that many placements, fixed for all seeds. The pass
    begins with the batch number `first`. Raises UserError for a file that cannot be read, and for a training split smaller
    than one batch.
    """
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    return Batches(
        source,
        split,
        size,
        batch_size,
        seed,
        epoch,
        augmentation,
        pixels or Pixels(),
        workers,
        torch.device(device),
        views=views,
        first=first,
    )


@dataclass(frozen=True)
class Batches(BatchPlan):
    """One pass over a split; iterating again repeats the same batches."""

    def __iter__(self) -> Iterator[Batch]:
        source = self.source
        chunks = drawn_batches(self, source) if isinstance(source, Shapes) else read_batches(self, source)
        for pixels_BCHW, examples in chunks:
            placements = [example.placement for example in examples]
            recolour(pixels_BCHW, placements)
            yield self.batch((normalised(pixels_BCHW, placements, self.pixels, self.device),), examples)

    def batch(self, inputs: tuple[Tensor, ...], examples: list[Example], *, are_features: bool = False) -> Batch:
        """Return a batch of inputs of the network and the examples that they are of."""
        longest = max(1, *(len(example.labels) for example in examples))
        boxes_BN4 = np.zeros((len(examples), longest, 4), dtype=np.float32)
        labels_BN = np.full((len(examples), longest), -1, dtype=np.int64)
        for b, example in enumerate(examples):
            boxes_BN4[b, : len(example.labels)] = example.boxes
            labels_BN[b, : len(example.labels)] = example.labels
        placements = [example.placement for example in examples]
        scales_B = torch.tensor([p.scale for p in placements], dtype=torch.float32)
        sizes_B2 = torch.tensor([p.original for p in placements], dtype=torch.int64)
        return Batch(
            inputs=inputs,
            image_size=self.image_size,
            boxes_BN4=to_device(torch.from_numpy(boxes_BN4), self.device),
            labels_BN=to_device(torch.from_numpy(labels_BN), self.device),
            image_ids=[example.image_id for example in examples],
            scales_B=to_device(scales_B, self.device),
            sizes_B2=to_device(sizes_B2, self.device),
            are_features=are_features,
        )


def recolour(pixels_BCHW: Tensor, placements: list[Placement]) -> None:
    """Change brightness, contrast and saturation of pixels uint8 (B, 3, H, W) in place, where the `placements` say so."""
    for pixels_CHW, placement in zip(pixels_BCHW, placements, strict=True):
        if placement.colour is not None:
            brightness, contrast, saturation = placement.colour
            height, width = placement.filled
            image_CHW = pixels_CHW[:, :height, :width].to(torch.float32)
            grey_HW = torch.tensordot(constant(_LUMA, image_CHW.device), image_CHW, dims=1)
            image_CHW = brightness * torch.lerp(grey_HW.mean(), torch.lerp(grey_HW, image_CHW, saturation), contrast)
            pixels_CHW[:, :height, :width] = image_CHW.round_().clamp_(0, 255).to(torch.uint8)


def normalised(pixels_BCHW: Tensor, placements: list[Placement], pixels: Pixels, device: torch.device) -> Tensor:
    """Return the network's input from pixels uint8 (B, 3, H, W), with 0 outside the `placements`."""
    mean_C, std_C = 255 * constant(pixels.mean, device), 255 * constant(pixels.std, device)
    images_BCHW: Any
    if device.type == "cpu":
        # numpy, in one thread: torch would wait for threads whose cores the image readers use.
        # Row by row, since numpy is slow on three channels at a time.
        values_BHWC = pixels_BCHW.permute(0, 2, 3, 1).contiguous().numpy()
        width = values_BHWC.shape[2]
        rows_BHX = values_BHWC.reshape(*values_BHWC.shape[:2], -1).astype(np.float32)
        rows_BHX -= np.tile(mean_C.numpy(), width)
        rows_BHX /= np.tile(std_C.numpy(), width)
        images_BCHW = rows_BHX.reshape(values_BHWC.shape).transpose(0, 3, 1, 2)
    else:
        images_BCHW = to_device(pixels_BCHW, device).to(torch.float32)
        images_BCHW.sub_(mean_C[:, None, None]).div_(std_C[:, None, None])
    if pixels.fill == "mean":
        for image_CHW, placement in zip(images_BCHW, placements, strict=True):
            height, width = placement.filled
            image_CHW[:, height:] = 0
            image_CHW[:, :, width:] = 0
    return torch.as_tensor(images_BCHW)
