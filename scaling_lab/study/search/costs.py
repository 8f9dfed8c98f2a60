"""What the architectures of a study cost, and how far they lie beyond its limits. It trains nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.errors import UserError
from scaling_lab.metrics import counted
from scaling_lab.study.ledger.database import Architecture

if TYPE_CHECKING:
    from scaling_lab.cost import Cost
    from scaling_lab.study.study import Study

Count = Callable[[DetectorSpec], "Cost"]
# Given a spec and its cost: gives milliseconds.
Predict = Callable[[DetectorSpec, "Cost"], float]


class Unpredictable(UserError):
    """A spec lies beyond what the latency model knows: a search passes it over."""


class Costs:
    """Count with `count`, and predict with `predict`, what is not in `known`.

    The specs get the data's number of classes first, where that is known.

    A latency is not counted but told; a limit of one holds for architectures of which it is known.
    """

    def __init__(
        self,
        *,
        limits: Mapping[str, float],
        num_classes: int | None,
        count: Count | None,
        predict: Predict | None = None,
        known: dict[str, Architecture],
    ) -> None:
        self._limits, self._num_classes, self._count = limits, num_classes, count or _default_count
        self._predict = predict
        self._known = known

    def __getitem__(self, digest: str) -> Architecture:
        return self._known[digest]

    def keep(self, architecture: Architecture) -> None:
        """Remember an architecture; the many that a limit refuses are not kept."""
        self._known.setdefault(architecture.digest, architecture)

    def time(self, digest: str, latency_ms: float) -> Architecture:
        """Note an architecture's latency, unless it is known; give the architecture."""
        if self._known[digest].latency_ms is None:
            self._known[digest] = dataclasses.replace(self._known[digest], latency_ms=latency_ms)
        return self._known[digest]

    def as_trained(self, spec: DetectorSpec) -> DetectorSpec:
        """Give a spec of the space for the data's classes."""
        return spec if self._num_classes is None else dataclasses.replace(spec, num_classes=self._num_classes)

    def measure(self, spec: DetectorSpec) -> Architecture:
        """Give the architecture of a spec of the space."""
        spec = self.as_trained(spec)
        if spec.digest in self._known:
            return self._known[spec.digest]
        cost = self._count(spec)
        known = counted(spec, cost)
        if self._predict is not None:
            known["predicted_latency_ms"] = self._predicted(self._predict, spec, cost)
        parts = {name: {"params_m": part.params_m, "gmacs": part.gmacs} for name, part in cost.parts.items()}
        return Architecture(digest=spec.digest, spec=spec, known=known, parts=parts)

    @staticmethod
    def _predicted(predict: Predict, spec: DetectorSpec, cost: Cost) -> float:
        try:
            return predict(spec, cost)
        except UserError as error:
            raise Unpredictable(str(error)) from None

    def excess(self, costs: Mapping[str, float]) -> dict[str, float]:
        """Give by how much costs lie above each limit; negative numbers are within."""
        return {name: costs[name] - limit for name, limit in self._limits.items() if name in costs}

    def refusal(self, costs: Mapping[str, float]) -> str | None:
        """Say which limits costs break, or give None where they break none."""
        broken = [name for name, value in self.excess(costs).items() if value > 0]
        return (
            ", ".join(f"{name} {costs[name]:.4g} is above the limit {self._limits[name]:.4g}" for name in broken)
            or None
        )


def predictor(study: Study) -> Predict | None:
    """Give what predicts latencies for a study, or None. Raises UserError for a file that is no latency model."""
    if study.latency_model is None:
        return None
    from scaling_lab.latency.model import LatencyModel

    return LatencyModel.load(study.latency_model).predict


def _default_count(spec: DetectorSpec) -> Cost:
    from scaling_lab.cost import count

    return count(spec)
