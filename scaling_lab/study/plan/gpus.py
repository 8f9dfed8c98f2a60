"""What is known of GPUs without one at hand: their memory, and NVIDIA's published rate of training EfficientDet-D0."""

from __future__ import annotations

from dataclasses import dataclass

from scaling_lab.checks import check_choice

# Memory in bytes, as sold.
GPUS = {
    "t4-16gb": 16e9,
    "v100-16gb": 16e9,
    "v100-32gb": 32e9,
    "l4-24gb": 24e9,
    "rtx4090-24gb": 24e9,
    "a100-40gb": 40e9,
    "l40s-48gb": 48e9,
    "a100-80gb": 80e9,
    "h100-80gb": 80e9,
    "h200-141gb": 141e9,
    "b200-180gb": 180e9,
}
# The share of a GPU's memory for tensors: CUDA itself, operators' workspaces and the allocator's fragments take the rest.
USABLE = 0.9
# Images/s of D0's training in mixed precision on one GPU; eight A100 do 7.05 times as much as one.
D0_RATES = {"A100": 255.0, "V100": 186.0}
SOURCE = "NVIDIA/DeepLearningExamples, PyTorch/Detection/Efficientdet at 115867b"
# D0's activations for COCO's classes, for which it was measured.
D0_ACTIVATIONS_M = 47.440604


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU by name, with its memory in bytes."""

    name: str
    memory: float


def named_gpu(name: str) -> Gpu:
    """Return a GPU of the table. Raises UserError for another name."""
    check_choice("--gpu", name, tuple(GPUS))
    return Gpu(name=name, memory=GPUS[name])


def seen_gpu() -> Gpu | None:
    """Return this machine's first GPU, if torch sees one."""
    import torch

    if not torch.cuda.is_available():
        return None
    seen = torch.cuda.get_device_properties(0)
    return Gpu(name=seen.name, memory=seen.total_memory)


def published(gpu: Gpu | None) -> str:
    """Return the GPU of D0_RATES whose rate stands for this one: itself, else the A100."""
    return next((name for name in D0_RATES if gpu is not None and name.lower() in gpu.name.lower()), "A100")


def published_rate(which: str, activations_m: float) -> float:
    """Return images/s of training on a GPU of D0_RATES: D0's published rate, scaled by activations.

    Activations predict a network's time on a GPU better than multiply-adds (arXiv:2003.13678). By multiply-adds
    a D3 would be 1.5 times as slow.
    """
    return D0_RATES[which] * D0_ACTIVATIONS_M / activations_m
