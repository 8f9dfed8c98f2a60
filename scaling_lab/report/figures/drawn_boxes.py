"""Boxes and labels of a picture, in pixels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Label:
    """A text in a picture with its box: x, y, width, height in pixels of the picture."""

    text: str
    bbox: tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Box:
    """A box (x, y, width, height in pixels of the picture) with its class and, for a detection, its score.

    `label` is written beside it; None without room.
    """

    bbox: tuple[float, float, float, float]
    name: str
    series: int
    score: float | None = None
    label: Label | None = None

    @property
    def area(self) -> float:
        """The area in pixels of the picture."""
        return self.bbox[2] * self.bbox[3]

    @property
    def text(self) -> str:
        """The class and the score."""
        return self.name if self.score is None else f"{self.name} {self.score:.2f}"
