"""Batches of stored features instead of images, with the same boxes as the images' batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from scaling_lab.data.batch_plan import BatchPlan, Example
from scaling_lab.data.batches import Batch, Batches
from scaling_lab.data.drawn import drawn_example
from scaling_lab.data.shapes import Shapes
from scaling_lab.features.store import Features


@dataclass(frozen=True)
class CachedBatches:
    """One pass over a split like `loader`'s, with the backbone's features as inputs."""

    loader: Batches
    features: Features

    @property
    def skipped(self) -> dict[str, str]:
        """The errors of images that could not be read, by file."""
        return self.features.skipped

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        images = self.features.layout.images
        for indices in self.loader.indices():
            read = [self.features.image(index) for index in indices]
            rows = [index + images * self._view(index) for index in read]
            inputs = self.features.read(rows, self.loader.device)
            yield self.loader.batch(inputs, [example_of(self.loader, index) for index in read], are_features=True)

    def _view(self, index: int) -> int:
        return self.loader.view_of(index) if self.features.layout.views > 1 else 0


def example_of(plan: BatchPlan, index: int) -> Example:
    """Return an image's share of a batch, without reading the image."""
    source = plan.source
    if isinstance(source, Shapes):
        return drawn_example(plan, index, source.scene(plan.split, index))
    entry = source.entries(plan.split)[index]
    return plan.example(index, entry.image_id, entry.size, entry.boxes, entry.labels)
