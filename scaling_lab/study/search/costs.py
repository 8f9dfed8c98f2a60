"""The costs of a study's architectures, and by how much they exceed its limits."""

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
# Given a spec and its cost: returns milliseconds.
Predict = Callable[[DetectorSpec, "Cost"], float]


class Unpredictable(UserError):
    """A spec outside the domain of the latency model, which a search skips."""


class Costs:
    """Counts with `count`, and predicts with `predict`, the costs of architectures that are not in `known`.

    Specs first get the data's number of classes, if known. Latencies are measured elsewhere and set by `time`; a limit on
    them applies to architectures with a known latency.
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
        """Keep an architecture; those that a limit rejects are not kept."""
        self._known.setdefault(architecture.digest, architecture)

    def time(self, digest: str, latency_ms: float) -> Architecture:
        """Set an architecture's latency, unless known, and return the architecture."""
        if self._known[digest].latency_ms is None:
            self._known[digest] = dataclasses.replace(self._known[digest], latency_ms=latency_ms)
        return self._known[digest]

    def as_trained(self, spec: DetectorSpec) -> DetectorSpec:
        """Return a spec of the space with the data's number of classes."""
        return spec if self._num_classes is None else dataclasses.replace(spec, num_classes=self._num_classes)

    def measure(self, spec: DetectorSpec) -> Architecture:
        """Return the architecture of a spec of the space."""
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
        """Return the excess of costs over each limit; negative values are within it."""
        return {name: costs[name] - limit for name, limit in self._limits.items() if name in costs}

    def refusal(self, costs: Mapping[str, float]) -> str | None:
        """Return which limits the costs exceed, in words, or None."""
        words = (f"{name} {costs[name]:.4g} is above the limit {self._limits[name]:.4g}" for name in self.broken(costs))
        return ", ".join(words) or None

    def broken(self, costs: Mapping[str, float]) -> list[str]:
        """Return the names of the limits that the costs exceed."""
        return [name for name, value in self.excess(costs).items() if value > 0]


def predictor(study: Study) -> Predict | None:
    """Return a study's latency predictor, or None. Raises UserError for a file that is no latency model."""
    if study.latency_model is None:
        return None
    from scaling_lab.latency.model import LatencyModel

    return LatencyModel.load(study.latency_model).predict


def _default_count(spec: DetectorSpec) -> Cost:
    from scaling_lab.cost import count

    return count(spec)
