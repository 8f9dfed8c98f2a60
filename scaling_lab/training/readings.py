"""The numbers of a training step, brought to the host without making it wait for the step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Losses:
    """The loss of a batch and its two terms with their weights."""

    total: float
    classes: float
    boxes: float

    def __str__(self) -> str:
        return f"total {self.total:.4g}, classes {self.classes:.4g}, boxes {self.boxes:.4g}"


class NotFinite(ArithmeticError):
    """A loss or a gradient is not finite: `what` it is, and the `values` found."""

    def __init__(self, what: str, values: str) -> None:
        super().__init__(f"{what} is not finite: {values}")
        self.what, self.values = what, values


class Reading:
    """The losses (3,) of a launched step, its gradient's norm and its scaler's factor, on their way to the host."""

    def __init__(self, losses_3: Tensor, norm: Tensor, scale: Tensor) -> None:
        # From a GPU into pinned memory, queued behind the step.
        self._values = torch.cat([losses_3, torch.stack([norm, scale]).double()]).to("cpu", non_blocking=True)
        self._event: torch.cuda.Event | None = None
        if losses_3.is_cuda:
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record(torch.cuda.current_stream(losses_3.device))

    @property
    def is_done(self) -> bool:
        """Whether the device has finished the step."""
        return self._event is None or bool(self._event.query())  # type: ignore[no-untyped-call]

    @property
    def is_finite(self) -> bool:
        """Whether loss and gradient are finite; waits for the step."""
        return self._error is None

    def losses(self) -> Losses:
        """Wait for the step and return its losses. Raises NotFinite."""
        if self._error is not None:
            raise self._error
        return self._losses

    @cached_property
    def _numbers(self) -> list[float]:
        if self._event is not None:
            self._event.synchronize()
        return self._values.tolist()

    @property
    def _losses(self) -> Losses:
        return Losses(*self._numbers[:3])

    @property
    def _error(self) -> NotFinite | None:
        norm, scale = self._numbers[3:]
        if not math.isfinite(self._losses.total):
            return NotFinite("the loss", str(self._losses))
        # In fp16 the scaler skips a step with an infinite gradient and halves its factor, unless that is already 1.
        if not math.isfinite(norm) and scale <= 1.0:
            return NotFinite("the gradient", f"norm {norm}, loss {self._losses}")
        return None
