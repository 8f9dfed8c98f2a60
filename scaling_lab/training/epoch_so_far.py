"""The finished steps of an epoch, so that an interrupted run continues within it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from scaling_lab.training.readings import Losses


@dataclass(kw_only=True)
class EpochSoFar:
    """The steps of an epoch that are done, and what its metrics are made of. The values are plain, for a checkpoint.

    `sums` are those of the total, class and box losses. `rate` is the last learning rate, `skipped` the errors of unreadable
    images, by file. `seconds` and `waited` cover all sessions.
    """

    epoch: int
    steps: int = 0
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    rate: float = 0.0
    seconds: float = 0.0
    waited: float = 0.0
    skipped: dict[str, str] = field(default_factory=dict)

    def add(self, losses: Losses, rate: float) -> None:
        """Count a step."""
        self.steps += 1
        self.rate = rate
        terms = (losses.total, losses.classes, losses.boxes)
        self.sums = [before + term for before, term in zip(self.sums, terms, strict=True)]

    def metrics(self, batch_size: int) -> dict[str, Any]:
        """Return the mean losses, the learning rate and the speed of all workers together."""
        loss, class_loss, box_loss = (each / self.steps for each in self.sums)
        return {
            "loss": loss,
            "class_loss": class_loss,
            "box_loss": box_loss,
            "lr": self.rate,
            "seconds": self.seconds,
            "images_per_second": self.steps * batch_size / self.seconds,
            "skipped_images": len(self.skipped),
            "waiting": self.waited / self.seconds,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)
