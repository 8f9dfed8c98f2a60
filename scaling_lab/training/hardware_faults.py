"""Recognises errors of hardware: of a GPU, its driver, or the connection between workers. The trial did not cause them."""

from __future__ import annotations

import re
import sys

from scaling_lab.errors import UserError, first_line

# Classes of torch, by name, to avoid importing it: errors of a GPU's runtime, and of torch.distributed.
_CLASSES = ("AcceleratorError", "DistError")
# Texts of errors whose class is only RuntimeError, or that a worker passed on as a traceback.
_FAULTS = re.compile(
    r"(?:CUDA|HIP) error: (?!CUBLAS_|HIPBLAS_)|CUDA driver error: |Triton Error \[CUDA\]: "
    r"|(?:CUBLAS|CUDNN)_STATUS_(?:ALLOC_FAILED|NOT_INITIALIZED|EXECUTION_FAILED|INTERNAL_ERROR|MAPPING_ERROR)"
    r"|NCCL error|NCCL communicator was aborted|DistBackendError: |DistNetworkError: |DistStoreError: |/gloo/"
    # A node without a usable GPU or driver, to which Ray sent a trial that needs them.
    r"|No CUDA GPUs are available|Found no NVIDIA driver|driver on your system is too old|CUDA driver initialization failed"
    r"|CUDA unknown error|cudaGetDeviceCount|Torch not compiled with CUDA"
)
# The same classes and texts with these words are errors of code, which another device would raise too.
_OF_CODE = re.compile(
    r"device-side assert|invalid (?:argument|configuration argument|resource handle|device ordinal|usage)|captur"
    r"|Duplicate GPU"
)
# Those that concern several workers, and do not say which of them has failed.
_BETWEEN_WORKERS = re.compile(r"^Dist\w*Error|NCCL|/gloo/")


def fault_line(error: BaseException) -> str | None:
    """Return the line of an error that names a fault of hardware, after its type; None for any other error."""
    if isinstance(error, UserError) or not isinstance(error, Exception):
        return None
    text = str(error)
    if _OF_CODE.search(text):
        return None
    found = [line.strip() for line in text.splitlines() if _FAULTS.search(line)]
    if any(each.__name__ in _CLASSES for each in type(error).__mro__):
        return f"{type(error).__name__}: {found[0] if found else first_line(error)}"
    # The last line of a traceback is the error.
    return found[-1] if found else None


def is_between_workers(message: str) -> bool:
    """Return whether a line of `fault_line` concerns the connection between workers, so that any of them may have failed."""
    return _BETWEEN_WORKERS.search(message) is not None


def gpu_is_usable() -> bool:
    """Return whether this process can still use its GPU: after some errors each later call fails until the process ends."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return True
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return False
    return True
