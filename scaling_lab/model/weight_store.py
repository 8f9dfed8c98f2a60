"""One set of weights for all detectors of a search space: each runs on slices of them.

A detector of the space is the ordinary module, called with slices of the shared weights in place of its own
(torch.func.functional_call). Source of the idea: once-for-all (arXiv:1908.09791) and BigNAS (arXiv:2003.11142).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.errors import UserError
from scaling_lab.model.backbone import make_backbone
from scaling_lab.model.detector import Detector
from scaling_lab.model.roles import Slices, weight_slices

# What may differ between detectors that share weights.
FREE = ("topology", "width", "repeats", "head_repeats", "image_size")
# Begins the names of a store's weights in its state dict.
_PREFIX = "weights."
# Modules kept for detectors that run again, such as the largest and the smallest.
_KEPT = 64

Outputs = tuple[list[Tensor], list[Tensor]]


class WeightStore(nn.Module):
    """The largest form of each role's weight, and the backbone that all detectors have.

    `spec` is one of the detectors; the others differ from it in FREE alone.
    """

    def __init__(
        self, spec: DetectorSpec, backbone: tuple[nn.Module, list[int]], weights: Mapping[str, Tensor]
    ) -> None:
        super().__init__()
        self.spec = spec
        self.class_names: tuple[str, ...] | None = None
        self.backbone, self.channels = backbone
        self.weights = nn.ParameterDict({role: nn.Parameter(weight) for role, weight in weights.items()})
        self._made: dict[DetectorSpec, tuple[_Inputs, dict[str, Slices]]] = {}

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_made": {}}  # their backbone is this one's, not a copy's

    def run(self, spec: DetectorSpec, inputs: Sequence[Tensor], *, are_features: bool = False) -> Outputs:
        """Return the outputs of a detector in training mode, for images or the backbone's features, as `Detector.of` does.

        Batch norms use the batch's statistics and keep none. Raises UserError for a spec that does not fit.
        """
        module, slices = self._module(spec)
        weights = {f"detector.{name}": each.of(self.weights) for name, each in slices.items()}
        return functional_call(module, weights, (inputs, are_features))  # type: ignore[no-any-return]

    def tensors(self, spec: DetectorSpec) -> dict[str, Tensor]:
        """Return a detector's weights by the names of its module, without the backbone's; all but fusion weights are views.

        Raises UserError for a spec that does not fit.
        """
        return {name: each.of(self.weights) for name, each in self._module(spec)[1].items()}

    @torch.no_grad()
    def detector(self, spec: DetectorSpec) -> Detector:
        """Return an ordinary detector with a copy of its slices, and with this backbone itself.

        Its batch norms have no statistics yet: recalibrate them before inference. Raises UserError for a spec that does not fit.
        """
        tensors = self.tensors(spec)
        made = self._build(spec)
        made.class_names = self.class_names
        for name, weight in made.named_parameters():
            if name in tensors:
                weight.copy_(tensors[name])
        return made

    def _module(self, spec: DetectorSpec) -> tuple[_Inputs, dict[str, Slices]]:
        """Return a detector's module, without weights worth reading, and its weights' slices; the last few are kept."""
        if spec not in self._made:
            check_shareable(self.spec, spec)
            made = self._build(spec)
            slices = weight_slices(made)
            self._check_covered(spec, slices)
            for part in _own_parts(made):
                for module in part.modules():
                    if isinstance(module, nn.BatchNorm2d):
                        module.track_running_stats = False
                part.requires_grad_(False)
            if len(self._made) == _KEPT:
                del self._made[next(iter(self._made))]
            self._made[spec] = (_Inputs(made), slices)
        kept = self._made[spec] = self._made.pop(spec)  # the last one used is the last one dropped
        return kept

    def _build(self, spec: DetectorSpec) -> Detector:
        """Return a detector's module on this backbone and its device; torch's random state stays."""
        with torch.random.fork_rng(devices=[]):
            made = Detector(spec, backbone=(self.backbone, self.channels))
        for part in _own_parts(made):
            part.to(next(iter(self.weights.values())).device)
        return made

    def _check_covered(self, spec: DetectorSpec, slices: Mapping[str, Slices]) -> None:
        for each in slices.values():
            for role in each.roles:
                stored = self.weights[role].shape if role in self.weights else None
                if stored is None:
                    raise UserError(
                        f"the shared weights have no {role!r}, which {spec.describe()} needs; allowed are detectors of the "
                        "space that they were trained on"
                    )
                if any(side > most for side, most in zip(each.shape, stored, strict=True)):
                    raise UserError(
                        f"{spec.describe()} needs {each.shape} of {role!r}; allowed is at most {tuple(stored)}, as shared"
                    )


class _Inputs(nn.Module):
    """A detector called with images or features."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, inputs: Sequence[Tensor], are_features: bool) -> Outputs:
        """Return the detector's outputs."""
        return self.detector.of(inputs, are_features=are_features)


def new_store(
    specs: Sequence[DetectorSpec], *, pretrained: bool | str | Path = False, **backbone_options: Any
) -> WeightStore:
    """Return new weights that the detectors of all specs share, from torch's random generator.

    They also hold each spec's topology at the largest width, repeats and head repeats of all. `pretrained` and
    `backbone_options` are as in `build`. Raises UserError for specs that differ in more than FREE, and for weights of the
    backbone that are unavailable.
    """
    if not specs:
        raise UserError("there are no detectors to share weights; allowed is at least one")
    for spec in specs:
        check_shareable(specs[0], spec)
    levels = specs[0].topology.min_level, specs[0].topology.max_level
    options = {**specs[0].backbone_options, **backbone_options}
    backbone = make_backbone(specs[0].backbone, *levels, pretrained=pretrained, **options)
    weights: dict[str, Tensor] = {}
    largest = list(_largest(specs, backbone[1]))
    for spec in largest:
        made = Detector(spec, backbone=backbone)
        for name, each in weight_slices(made).items():
            for role, part in each.split(made.get_parameter(name).detach()).items():
                weights.setdefault(role, part.clone())
    return WeightStore(largest[0], backbone, weights)


def store_like(spec: DetectorSpec, state: Mapping[str, Tensor]) -> WeightStore:
    """Return a store with the roles and shapes of a state dict, for one of its detectors; its values are not loaded."""
    levels = spec.topology.min_level, spec.topology.max_level
    weights = {
        name.removeprefix(_PREFIX): torch.empty_like(each) for name, each in state.items() if name.startswith(_PREFIX)
    }
    return WeightStore(spec, make_backbone(spec.backbone, *levels, **spec.backbone_options), weights)


def check_shareable(base: DetectorSpec, spec: DetectorSpec) -> None:
    """Raise UserError for a spec that cannot share weights with the base."""
    for field in dataclasses.fields(DetectorSpec):
        own, other = getattr(spec, field.name), getattr(base, field.name)
        if field.name not in FREE and own != other:
            raise UserError(
                f"{spec.describe()} has {field.name}={own!r}, another detector {other!r}; detectors that share weights may "
                f"differ in {', '.join(FREE)}"
            )
    if spec.topology.levels != base.topology.levels:
        found = (f"P{each.topology.min_level} to P{each.topology.max_level}" for each in (spec, base))
        raise UserError(
            f"{spec.describe()} has levels {' and another detector '.join(found)}; allowed are the same levels"
        )


def _largest(specs: Sequence[DetectorSpec], channels: Sequence[int]) -> Iterator[DetectorSpec]:
    """Yield each topology at the largest repeats, head repeats and width.

    A feature with as many channels as the width has no projection. So where the backbone has such a level, the next smaller
    width follows.
    """
    most = {name: max(getattr(spec, name) for spec in specs) for name in ("repeats", "head_repeats")}
    widths = sorted({spec.width for spec in specs}, reverse=True)
    for width in widths[:2] if widths[0] in channels else widths[:1]:
        for topology in dict.fromkeys(spec.topology for spec in specs):
            yield dataclasses.replace(specs[0], topology=topology, width=width, **most)


def _own_parts(detector: Detector) -> tuple[nn.Module, ...]:
    return detector.feature_network, detector.class_head, detector.box_head
