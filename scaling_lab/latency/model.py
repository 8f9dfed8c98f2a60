"""A latency predicted from a spec, for search: a sum over its pieces, each linear in what it does. It measures nothing.

It holds for one device and one set of conditions, for the backbones and within the sizes that it was fitted on. What it
predicts is called predicted_latency_ms everywhere, and is never taken for a measurement.
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
FEW = 10  # of fewer errors a 90th percentile says nothing


@dataclass(frozen=True, kw_only=True)
class LatencyModel:
    """What was fitted.

    `weights` has for each kind of piece the milliseconds of each feature; `backbones` for each backbone (features.py names
    them) its measured milliseconds by image size, "128x128"; `scale` and `offset` bring the sum of the pieces to the whole.
    `styles` are what specs must have one of, `ranges` the least and most width, head_repeats and num_classes. `quality` tells
    the error on specs that the fit had not seen.
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
        """Give milliseconds; `cost` is the spec's, where it is known already.

        Raises UserError for a spec of another style, with another backbone, or beyond what was measured.
        """
        self._check(spec)
        return self.offset + self.scale * sum(self.pieces(spec, cost))

    def pieces(self, spec: DetectorSpec, cost: Cost | None = None) -> list[float]:
        """Give the milliseconds of each of profile.py's pieces, unscaled."""
        found = []
        for piece, features in features_of(spec, cost or count(spec)):
            if piece.kind == "backbone":
                found.append(self._backbone(spec))
                continue
            weights = self.weights.get(piece.kind, {})
            if unknown := [name for name in features if name not in weights]:
                raise UserError(
                    f"the latency model has seen no {piece.kind} with {unknown[0]}; fit it on detectors that have one"
                )
            found.append(max(0.0, sum(weights[name] * value for name, value in features.items())))
        return found

    def _backbone(self, spec: DetectorSpec) -> float:
        """Interpolate between the two next image areas."""
        name = backbone_of(spec)
        if name not in self.backbones:
            known = ", ".join(json.loads(each)[0] for each in self.backbones)
            raise UserError(
                f"the latency model has not seen the backbone {spec.backbone} with these options; it knows {known}"
            )
        if _size(spec) in self.backbones[name]:
            return self.backbones[name][_size(spec)]
        by_area: dict[int, list[float]] = {}
        for size, ms in self.backbones[name].items():
            by_area.setdefault(_area(size), []).append(ms)
        points = sorted((each, sum(times) / len(times)) for each, times in by_area.items())
        area = spec.image_size[0] * spec.image_size[1]
        if not points[0][0] <= area <= points[-1][0]:
            sizes = ", ".join(self.backbones[name])
            raise UserError(f"image size {_size(spec)} is beyond what the latency model was fitted on ({sizes})")
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
            raise UserError(f"the latency model has seen no detector with {name} {value!r}")
        for name, (least, most) in self.ranges.items():
            if not least <= getattr(spec, name) <= most:
                known = f"{least}" if least == most else f"{least} to {most}"
                raise UserError(
                    f"{name} {getattr(spec, name)} is beyond what the latency model was fitted on ({known})"
                )

    def quality_words(self) -> str:
        """Say in a line how far it is off."""
        known = self.quality
        if known["kendall_tau"] is None:
            return (
                f"fitted on {known['fitted_on']} detectors; {known['held_out']} of the held-out ones lie within what it was "
                "fitted on, too few to tell its error"
            )
        tail = f"the 90th percentile {known['p90_error']:.1%}, " if known["held_out"] >= FEW else ""
        beyond = f"; {known['beyond']} more lie beyond what it was fitted on" if known["beyond"] else ""
        return (
            f"fitted on {known['fitted_on']} detectors; on {known['held_out']} others the median error is "
            f"{known['median_error']:.1%}, {tail}Kendall's tau-b "
            f"{known['kendall_tau']:.3f} (two halves of the measurement itself agree by "
            f"{known['kendall_tau_of_halves']:.3f}){beyond}"
        )

    # --- files ---

    def to_json(self) -> str:
        """Give the text of a file."""
        return json.dumps({"latency_model": FORMAT, **asdict(self)}, indent=1, sort_keys=True) + "\n"

    @classmethod
    def load(cls, path: str | Path) -> LatencyModel:
        """Read a file. Raises UserError where it is not there or is none."""
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
            raise UserError(f"{path} is no latency model; `scaling-lab measure SPACE --fit FILE` writes one")
        return cls(**values)


def _area(size: str) -> int:
    height, _, width = size.partition("x")
    return int(height) * int(width)


def _size(spec: DetectorSpec) -> str:
    return "{}x{}".format(*spec.image_size)
