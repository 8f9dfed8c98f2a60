"""The conditions of a latency measurement, as a plain value."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from scaling_lab.checks import Fields, check_choice, check_whole
from scaling_lab.errors import UserError

DEVICES = ("cpu", "cuda", "mps")
DTYPES = ("float32", "bf16", "fp16")
BACKENDS = ("eager", "compile", "cuda_graphs", "onnxruntime")
SCOPES = ("network", "end_to_end")


@dataclass(frozen=True, kw_only=True)
class Conditions(Fields):
    """Where and how a detector runs.

    `threads` are a CPU's; 0 elsewhere. `backend` runs the network: "compile" is torch.compile, "cuda_graphs" replays the
    eager network. `scope` is "network", from normalised images to logits and deltas, or "end_to_end", to boxes. The latter
    adds decoding of 5,000 candidates and non-maximum suppression, which torch runs eagerly and ONNX Runtime in its graph.
    Neither includes reading and resizing images. Raises UserError for an invalid combination.
    """

    device: str = "cpu"
    dtype: str = "float32"
    batch: int = 1
    threads: int = 1
    backend: str = "eager"
    scope: str = "network"

    def __post_init__(self) -> None:
        check_choice("device", self.kind, DEVICES)
        check_choice("dtype", self.dtype, DTYPES)
        check_whole("batch", self.batch, least=1)
        check_whole("threads", self.threads, least=1 if self.kind == "cpu" else 0)
        check_choice("backend", self.backend, BACKENDS)
        check_choice("scope", self.scope, SCOPES)
        if self.kind != "cpu":
            object.__setattr__(self, "threads", 0)
        if self.backend == "cuda_graphs" and self.kind != "cuda":
            raise UserError(
                f"backend cuda_graphs needs device cuda, not {self.device}; allowed are eager, compile, onnxruntime"
            )
        if self.backend == "onnxruntime" and (self.kind == "mps" or self.dtype != "float32"):
            raise UserError(
                f"onnxruntime with {self.dtype} on {self.device} is not supported; allowed is float32 on cpu and cuda"
            )

    @property
    def kind(self) -> str:
        """The device type, without its number."""
        return self.device.split(":")[0]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    def words(self) -> str:
        """Return the conditions as one line, without the device."""
        scope = "with post-processing" if self.scope == "end_to_end" else "network alone"
        threads = f", {self.threads} {'thread' if self.threads == 1 else 'threads'}" if self.kind == "cpu" else ""
        return f"batch {self.batch}, {self.dtype}, {self.backend}, {scope}{threads}"
