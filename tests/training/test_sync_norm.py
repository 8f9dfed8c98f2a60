"""Batch norms over all workers: nothing moves between host and device, and the plain kernels are torch's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.distributed as dist
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.testing._internal.distributed.fake_pg import FakeStore

from scaling_lab.training.norm_kernels import PlainKernels
from scaling_lab.training.sync_norm import synchronise_norms

# What copies values from the host, or to it.
COPIES = {"tensor", "as_tensor", "new_tensor", "item", "tolist", "cpu", "numpy", "__float__", "__int__", "__bool__"}


class Copying(TorchFunctionMode):
    """Notes the calls that copy between host and device."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_function__(self, called: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if called.__name__ in COPIES:
            self.found.append(called.__name__)
        return called(*args, **(kwargs or {}))


@pytest.fixture
def two_workers() -> Iterator[None]:
    """A group of two whose other worker is not there: for what does not depend on values."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=2)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("two_workers")
def test_a_pass_moves_nothing_between_devices() -> None:
    norms = nn.Sequential(nn.BatchNorm2d(3), BatchNormAct2d(3, act_layer=nn.SiLU)).to("meta")
    synchronise_norms(norms)
    images = torch.empty(4, 3, 5, 5, device="meta", requires_grad=True)
    with Copying() as copying:
        norms(images).sum().backward()
    assert images.grad is not None
    assert copying.found == []
    with Copying() as copying:
        images.new_tensor([1.0])  # what a norm did before
    assert copying.found == ["new_tensor"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_plain_kernels_are_torchs(dtype: torch.dtype, layout: torch.memory_format) -> None:
    """Those of two workers with 3 and 5 images."""
    chance = torch.Generator("cuda").manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=chance, device="cuda")

    x, gradient = (draw(8, 6, 5, 4).to(dtype).contiguous(memory_format=layout) for _ in range(2))
    weight, bias, count = draw(6), draw(6), torch.tensor([60, 100], device="cuda", dtype=torch.int32)
    found: list[list[Tensor]] = []
    for kernels in (torch, PlainKernels):
        k: Any = kernels
        shares = [k.batch_norm_stats(part.contiguous(memory_format=layout), 1e-3) for part in x.split([3, 5])]
        means, scales = (torch.stack(each) for each in zip(*shares, strict=True))
        running = [torch.zeros(6, device="cuda"), torch.ones(6, device="cuda")]
        mean, scale = k.batch_norm_gather_stats_with_counts(x, means, scales, *running, 0.1, 1e-3, count.float())
        output = k.batch_norm_elemt(x, weight, bias, mean, scale, 1e-3)
        sums = k.batch_norm_backward_reduce(gradient, x, mean, scale, weight, True, True, True)
        back = k.batch_norm_backward_elemt(gradient, x, mean, scale, weight, *sums[:2], count)
        found.append([means, scales, *running, mean, scale, output.float(), *sums, back.float()])
    tolerance = 1e-4 if dtype == torch.float32 else 2e-2
    for theirs, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
