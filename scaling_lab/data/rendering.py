"""Renders scenes of Shapes as batches of pixels, at any size on any device.

An edge pixel's value is the covered fraction of the pixel, so a larger image shows more detail instead of steps. Only
sums, products, quotients and roots of float32 are used, one at a time, and the noise is an integer hash. So all devices
agree to the byte.

Names of tensors: B images, K of them (the first ones) that have an n-th thing, M textured things of all images. H and W
are pixels, P pixels of a patch's window. A 1 stands where a tensor broadcasts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scaling_lab.data.augmentation import Placement, letterbox
from scaling_lab.data.scenes import GRID, NATIVE_SIZE, PATCH, STRIPE, Scene, Thing
from scaling_lab.data.transfer import to_device

# The remaining brightness of each channel of the light: a bright red and a dark blue. With equal brightness, one training
# run in four never learned the colour (docs/log, 2026-11-28).
LIGHT_COLOURS = ((1.0, 0.5, 0.5), (0.1, 0.1, 0.4))
STRIPE_GREYS = (0.08, 0.92)
NOISE = 0.03


def render(
    scenes: Sequence[Scene],
    size: int | tuple[int, int],
    device: str | torch.device = "cpu",
    placements: Sequence[Placement] | None = None,
) -> Tensor:
    """Render `scenes` as uint8 (B, 3, height, width). Pixels outside a placement are undefined.

    Without placements, the scene fills the square of the shorter side. A placement changes only the geometry: stripes and
    edges are rendered at its scale, not resampled.
    """
    height, width = (size, size) if isinstance(size, int) else size
    device = torch.device(device)
    if placements is None:
        placements = [letterbox((NATIVE_SIZE, NATIVE_SIZE), (height, width))] * len(scenes)
    # Scenes with the most things first, so that images with an n-th thing are a slice without a copy.
    order = sorted(range(len(scenes)), key=lambda b: -len(scenes[b].things))
    scenes, placements = [scenes[b] for b in order], [placements[b] for b in order]
    view = _view(placements, height, width, device)
    grey_BHW = _background(scenes, view)
    _draw_bodies(grey_BHW, scenes, view)
    _draw_textures(grey_BHW, scenes, view, max(placement.scale for placement in placements))
    _add_noise(grey_BHW, scenes)
    image_BCHW = _with_light(grey_BHW, scenes, view)
    back = sorted(range(len(order)), key=order.__getitem__)
    return image_BCHW.index_select(0, to_device(torch.tensor(back), device))


@dataclass(frozen=True)
class _View:
    """The centre of each pixel on the scene's grid, and the number of pixels in a grid step."""

    x_BW: Tensor
    y_BH: Tensor
    scale_B1: Tensor

    def of(self, images: slice | Tensor) -> _View:
        """Return the view of some of the images."""
        return _View(self.x_BW[images], self.y_BH[images], self.scale_B1[images])


def _view(placements: Sequence[Placement], height: int, width: int, device: torch.device) -> _View:
    rows = [(p.scale * NATIVE_SIZE / GRID, *p.offset, p.mirror_x, p.mirror_y) for p in placements]
    scale_B1, left_B1, top_B1, mirror_x_B1, mirror_y_B1 = _columns(rows, device)
    x_BW = (torch.arange(width, dtype=torch.float32, device=device) + 0.5 + left_B1) / scale_B1
    y_BH = (torch.arange(height, dtype=torch.float32, device=device) + 0.5 + top_B1) / scale_B1
    x_BW = torch.where(mirror_x_B1 > 0, GRID - x_BW, x_BW)
    y_BH = torch.where(mirror_y_B1 > 0, GRID - y_BH, y_BH)
    return _View(x_BW, y_BH, scale_B1)


def _columns(rows: Sequence[Sequence[float]], device: torch.device) -> tuple[Tensor, ...]:
    """Return each column of a table as a tensor (rows, 1)."""
    return to_device(torch.tensor(rows, dtype=torch.float32), device)[:, :, None].unbind(1)


def _background(scenes: Sequence[Scene], view: _View) -> Tensor:
    rows = [(scene.background, scene.slope[0] / GRID, scene.slope[1] / GRID) for scene in scenes]
    level_B1, slope_x_B1, slope_y_B1 = _columns(rows, view.x_BW.device)
    across_BW = slope_x_B1 * (view.x_BW - GRID / 2)
    down_BH = level_B1 + slope_y_B1 * (view.y_BH - GRID / 2)
    return across_BW[:, None, :] + down_BH[:, :, None]


# --- objects ---------------------------------------------------------------------------------------------------------


def _draw_bodies(grey_BHW: Tensor, scenes: Sequence[Scene], view: _View) -> None:
    for n in range(len(scenes[0].things)):
        things = [scene.things[n] for scene in scenes if n < len(scene.things)]
        grey_KHW = grey_BHW[: len(things)]
        x0, y0, x1, y1, grey_K1, is_disc_K1 = _columns([(*t.box, t.grey, t.shape) for t in things], grey_BHW.device)
        body_KHW = _body((x0, y0, x1, y1), is_disc_K1, view.of(slice(len(things))))
        grey_KHW += body_KHW.mul_(grey_K1[:, :, None] - grey_KHW)


def _body(box: tuple[Tensor, Tensor, Tensor, Tensor], is_disc_K1: Tensor, view: _View) -> Tensor:
    """Return the fraction of each pixel covered by a square or disc: a product of two factors, one of them 1."""
    x0, y0, x1, y1 = box
    across_KW = torch.maximum(_covered(view.x_BW, x0, x1, view.scale_B1), is_disc_K1)
    down_KH = torch.maximum(_covered(view.y_BH, y0, y1, view.scale_B1), is_disc_K1)
    # Approximate distance to the edge in pixels, exact for a circle.
    radius_K1 = ((x1 - x0) + (y1 - y0)) / 4 * view.scale_B1 * is_disc_K1
    x_KW, y_KH = (view.x_BW * 2 - (x0 + x1)) / (x1 - x0), (view.y_BH * 2 - (y0 + y1)) / (y1 - y0)
    from_middle_KHW = ((x_KW * x_KW)[:, None, :] + (y_KH * y_KH)[:, :, None]).sqrt_()
    edge_KHW = from_middle_KHW.mul_(-radius_K1[:, :, None]).add_((radius_K1 + (1 - is_disc_K1 / 2))[:, :, None])
    return edge_KHW.clamp_(0, 1).mul_(across_KW[:, None, :]).mul_(down_KH[:, :, None])


def _draw_textures(grey_BHW: Tensor, scenes: Sequence[Scene], view: _View, largest_scale: float) -> None:
    textured = [(b, thing) for b, scene in enumerate(scenes) for thing in scene.things if thing.texture is not None]
    if not textured:
        return
    device = grey_BHW.device
    image_M = to_device(torch.tensor([b for b, _ in textured]), device)
    middle_x_M1, middle_y_M1, columns_M1 = _columns([_middle(thing) for _, thing in textured], device)
    # A patch is small, so only a window around it is computed.
    pixels = math.ceil(PATCH / GRID * NATIVE_SIZE * largest_scale) + 2
    own = view.of(image_M)
    at_x_MP, x_MP = _window(own.x_BW, middle_x_M1, pixels)
    at_y_MP, y_MP = _window(own.y_BH, middle_y_M1, pixels)
    across_MP = _covered(x_MP, middle_x_M1 - PATCH / 2, middle_x_M1 + PATCH / 2, own.scale_B1)
    down_MP = _covered(y_MP, middle_y_M1 - PATCH / 2, middle_y_M1 + PATCH / 2, own.scale_B1)
    dark, light = STRIPE_GREYS
    stripes_x_MP = _stripes(x_MP, middle_x_M1, own.scale_B1) * columns_M1
    stripes_y_MP = _stripes(y_MP, middle_y_M1, own.scale_B1) * (1 - columns_M1)
    texture_MPP = (stripes_x_MP[:, None, :] + stripes_y_MP[:, :, None]) * (light - dark) + dark
    where = (image_M[:, None, None], at_y_MP[:, :, None], at_x_MP[:, None, :])
    change_MPP = (texture_MPP - grey_BHW[where]) * (down_MP[:, :, None] * across_MP[:, None, :])
    # Windows may overlap but patches do not, so at most one summand of a pixel is non-zero.
    grey_BHW.index_put_(where, change_MPP, accumulate=True)


def _middle(thing: Thing) -> tuple[float, float, bool]:
    x0, y0, x1, y1 = thing.box
    return (x0 + x1) / 2, (y0 + y1) / 2, thing.texture == 1


def _window(at_MW: Tensor, middle_M1: Tensor, pixels: int) -> tuple[Tensor, Tensor]:
    """Return the indices of the pixels around a position, shifted into the image, and their grid coordinates."""
    pixels = min(pixels, at_MW.shape[1])
    nearest_M1 = (at_MW - middle_M1).abs().argmin(1, keepdim=True)
    first_M1 = (nearest_M1 - pixels // 2).clamp(0, at_MW.shape[1] - pixels)
    index_MP = first_M1 + torch.arange(pixels, device=at_MW.device)
    return index_MP, at_MW.gather(1, index_MP)


def _covered(middle_BW: Tensor, low_B1: Tensor, high_B1: Tensor, scale_B1: Tensor) -> Tensor:
    """Return the fraction of each pixel between `low` and `high`."""
    half_B1 = 0.5 / scale_B1
    inside_BW = torch.minimum(middle_BW + half_B1, high_B1) - torch.maximum(middle_BW - half_B1, low_B1)
    return (inside_BW * scale_B1).clamp_(0, 1)


def _stripes(middle_BW: Tensor, origin_B1: Tensor, scale_B1: Tensor) -> Tensor:
    """Return the fraction of each pixel covered by light stripes, every second stripe of width STRIPE."""
    half_B1 = 0.5 / scale_B1
    low_BW, high_BW = middle_BW - half_B1 - origin_B1, middle_BW + half_B1 - origin_B1
    return ((_light_before(high_BW) - _light_before(low_BW)) * scale_B1).clamp_(0, 1)


def _light_before(at_BW: Tensor) -> Tensor:
    # The integral of the light stripes from 0: whole periods, plus part of the next.
    periods_BW = (at_BW / (2 * STRIPE)).floor_()
    return periods_BW * STRIPE + (at_BW - periods_BW * (2 * STRIPE)).clamp_(max=STRIPE)


# --- noise and light ----------------------------------------------------------------------------------------------------


def _add_noise(grey_BHW: Tensor, scenes: Sequence[Scene]) -> None:
    # A hash of seed and pixel (a multiply-xorshift mix). int32 overflow is the same on every device.
    device, (height, width) = grey_BHW.device, grey_BHW.shape[1:]
    seed_B11 = to_device(torch.tensor([scene.noise for scene in scenes], dtype=torch.int32), device)[:, None, None]
    pixel_HW = torch.arange(height * width, dtype=torch.int32, device=device).reshape(height, width)
    hash_BHW = (pixel_HW * 0x1E3779B1) ^ (seed_B11 * 0x1B873593)
    for _ in range(2):
        hash_BHW = hash_BHW.bitwise_xor_(hash_BHW >> 15).mul_(0x45D9F3B)
    grey_BHW += hash_BHW.to(torch.float32).mul_(NOISE / 2**31)


def _with_light(grey_BHW: Tensor, scenes: Sequence[Scene], view: _View) -> Tensor:
    x0, y0, x1, y1 = _columns([scene.light.box for scene in scenes], grey_BHW.device)
    across_BW, down_BH = _covered(view.x_BW, x0, x1, view.scale_B1), _covered(view.y_BH, y0, y1, view.scale_B1)
    light_BHW = across_BW[:, None, :] * down_BH[:, :, None]
    colours_B3 = torch.tensor([LIGHT_COLOURS[scene.light.colour] for scene in scenes])
    less_B3 = to_device(colours_B3, grey_BHW.device) - 1
    grey_BHW = grey_BHW.clamp_(0, 1).mul_(255)
    image_BCHW = torch.empty((len(scenes), 3, *grey_BHW.shape[1:]), dtype=torch.uint8, device=grey_BHW.device)
    for channel in range(3):
        # Plus half a step, since conversion to bytes truncates.
        image_BCHW[:, channel] = (light_BHW * less_B3[:, channel, None, None]).add_(1).mul_(grey_BHW).add_(0.5)
    return image_BCHW
