"""Predicts latency from a spec, for search: a sum over pieces, each linear in its features.

It holds for one device and one set of conditions, for the backbones and within the size ranges of the fit. Predictions are
called predicted_latency_ms everywhere, to distinguish them from measurements.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.cost import Cost, count
from scaling_lab.errors import UserError
from scaling_lab.files import parse_json, read_bytes
from scaling_lab.latency.features import Features, backbone_of, features_of, style_of

FORMAT = 1
FEW = 10  # the least number of errors for a 90th percentile


@dataclass(frozen=True, kw_only=True)
class LatencyModel:
    """A fitted latency model.

    `weights` maps each kind of piece to the milliseconds of each feature. `backbones` maps each backbone (named by
    features.py) to its measured milliseconds by image size, "128x128". `scale` and `offset` map the sum of the pieces to the
    total. Specs must have one of `styles`; `ranges` bounds width, head_repeats and num_classes. `quality` is the error on
    held-out specs.
    """

    device: str
    conditions: Mapping[str, Any]
    versions: Mapping[str, Any]
    styles: list[dict[str, Any]]
    ranges: Mapping[str, list[float]]
    weights: Mapping[str, Features]
    backbones: Mapping[str, Mapping[str, float]]
    scale: float
    offset: float
    quality: Mapping[str, Any]

    def predict(self, spec: DetectorSpec, cost: Cost | None = None) -> float:
        """Return predicted milliseconds; `cost` is the spec's, if already known.

        Raises UserError for a spec outside the model's domain: another style or backbone, or out of range.
        """
        self._check(spec)
        return self.offset + self.scale * sum(self.pieces(spec, cost))

    def pieces(self, spec: DetectorSpec, cost: Cost | None = None) -> list[float]:
        """Return the milliseconds of each of profile.py's pieces, unscaled. Raises UserError."""
        found = []
        for piece, features in features_of(spec, cost or count(spec)):
            if piece.kind == "backbone":
                found.append(self._backbone(spec))
                continue
            weights = self.weights.get(piece.kind, {})
            if unknown := [name for name in features if name not in weights]:
                raise UserError(
                    f"the latency model was fitted without a {piece.kind} with {unknown[0]}; fit it on detectors with one"
                )
            found.append(max(0.0, sum(weights[name] * value for name, value in features.items())))
        return found

    def _backbone(self, spec: DetectorSpec) -> float:
        """Interpolate between the two nearest image areas."""
        name = backbone_of(spec)
        if name not in self.backbones:
            known = ", ".join(json.loads(each)[0] for each in self.backbones)
            raise UserError(
                f"the latency model was fitted without backbone {spec.backbone} with these options; allowed are {known}"
            )
        if size_of(spec) in self.backbones[name]:
            return self.backbones[name][size_of(spec)]
        by_area: dict[int, list[float]] = {}
        for size, ms in self.backbones[name].items():
            by_area.setdefault(_area(size), []).append(ms)
        points = sorted((each, sum(times) / len(times)) for each, times in by_area.items())
        area = spec.image_size[0] * spec.image_size[1]
        if not points[0][0] <= area <= points[-1][0]:
            sizes = ", ".join(self.backbones[name])
            raise UserError(f"image size {size_of(spec)} is outside the latency model's range; allowed are {sizes}")
        for (low, less), (high, more) in itertools.pairwise(points):
            if low <= area <= high:
                return less + (more - less) * (area - low) / (high - low)
        return points[0][1]

    def _check(self, spec: DetectorSpec) -> None:
        style = style_of(spec)
        if style not in self.styles:
            name, value = next(
                ((n, v) for n, v in style.items() if all(each.get(n) != v for each in self.styles)), ("style", style)
            )
            raise UserError(f"the latency model was fitted without a detector with {name} {value!r}")
        for name, (least, most) in self.ranges.items():
            if not least <= getattr(spec, name) <= most:
                known = f"{least}" if least == most else f"{least} to {most}"
                raise UserError(
                    f"{name} {getattr(spec, name)} is outside the latency model's range; allowed are {known}"
                )

    def quality_words(self) -> str:
        """Return the model's error as one line."""
        known = self.quality
        if known["kendall_tau"] is None:
            return (
                f"fitted on {known['fitted_on']} detectors; {known['held_out']} held-out ones are within its range, too few to "
                "estimate its error"
            )
        tail = f"the 90th percentile {known['p90_error']:.1%}, " if known["held_out"] >= FEW else ""
        beyond = f"; {known['beyond']} more are outside its range" if known["beyond"] else ""
        return (
            f"fitted on {known['fitted_on']} detectors; on {known['held_out']} held-out ones the median error is "
            f"{known['median_error']:.1%}, {tail}Kendall's tau-b "
            f"{known['kendall_tau']:.3f} (two halves of the measurement itself agree by "
            f"{known['kendall_tau_of_halves']:.3f}){beyond}"
        )

    # --- files ---

    def to_json(self) -> str:
        """Return the model as JSON."""
        return json.dumps({"latency_model": FORMAT, **asdict(self)}, indent=1, sort_keys=True) + "\n"

    @classmethod
    def load(cls, path: str | Path) -> LatencyModel:
        """Read a model's file. Raises UserError for a missing or invalid file."""
        content = read_bytes(Path(path))
        try:
            values = parse_json(content)
        except UserError:
            values = None
        names = [field.name for field in fields(cls)]
        if (
            not isinstance(values, dict)
            or values.pop("latency_model", None) != FORMAT
            or sorted(values) != sorted(names)
        ):
            raise UserError(
                f"{path} is not a latency model; allowed is a file of `scaling-lab measure SPACE --fit FILE`"
            )
        return cls(**values)


def _area(size: str) -> int:
    height, _, width = size.partition("x")
    return int(height) * int(width)


def size_of(spec: DetectorSpec) -> str:
    """Return the image size as a key of `backbones`."""
    return "{}x{}".format(*spec.image_size)
