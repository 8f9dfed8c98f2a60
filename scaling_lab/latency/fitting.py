"""Fits a latency model to measured detectors and their profiles, and measures its error on held-out ones."""

from __future__ import annotations

import dataclasses
import random
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.cost import count
from scaling_lab.errors import UserError
from scaling_lab.latency.conditions import Conditions
from scaling_lab.latency.features import Features, backbone_of, features_of, style_of
from scaling_lab.latency.model import LatencyModel, size_of
from scaling_lab.stats.least_squares import RIDGE, relative_nonnegative
from scaling_lab.stats.ranks import tau

HELD_OUT = 1 / 3
LEAST = 12
RANGED = ("width", "head_repeats", "num_classes")

# A detector, its row of `latencies`, and its pieces' milliseconds; None if it has no profile.
Measured = tuple[DetectorSpec, Mapping[str, Any], Sequence[float] | None]


def fit(measured: Sequence[Measured], conditions: Conditions, *, seed: int = 0) -> LatencyModel:
    """Fit on a random two thirds and measure the error on the rest. Return a fit to all with that error.

    Without profiles, as from another machine, all pieces are fitted together to the medians.
    Raises UserError for fewer than 12 detectors.
    """
    check_enough(len(measured))
    order = list(range(len(measured)))
    random.Random(seed).shuffle(order)
    held_out = set(order[: round(HELD_OUT * len(order))])
    shown = [each for index, each in enumerate(measured) if index not in held_out]
    others = [each for index, each in enumerate(measured) if index in held_out]
    model = _fit(shown, conditions)
    predicted, medians, halves, beyond = [], [], [], 0
    for spec, row, _ in others:
        try:
            predicted.append(model.predict(spec))
        except UserError:
            beyond += 1
            continue
        medians.append(row["median_ms"])
        halves.append(row["halves_ms"])
    errors = [abs(guess / median - 1) for guess, median in zip(predicted, medians, strict=True)]
    quality = {
        "fitted_on": len(shown),
        "held_out": len(errors),
        "beyond": beyond,
        "median_error": statistics.median(errors) if errors else None,
        "p90_error": float(np.quantile(errors, 0.9)) if errors else None,
        "kendall_tau": tau(predicted, medians) if len(errors) > 1 else None,
        "kendall_tau_of_halves": tau(*zip(*halves, strict=True)) if len(errors) > 1 else None,
        "seed": seed,
    }
    return dataclasses.replace(_fit(measured, conditions), quality=quality)


def check_enough(detectors: int) -> None:
    """Raise UserError for too few detectors to fit and test a model."""
    if detectors < LEAST:
        raise UserError(f"a latency model needs at least {LEAST} distinct detectors, not {detectors}")


def _fit(shown: Sequence[Measured], conditions: Conditions) -> LatencyModel:
    if all(milliseconds is not None for _, _, milliseconds in shown):
        return _fit_pieces(shown, conditions)
    return _fit_totals(shown, conditions)


def _fit_totals(shown: Sequence[Measured], conditions: Conditions) -> LatencyModel:
    """Fit the sums of all pieces' features to the medians; a backbone at one image size is a feature of its own."""
    samples = []
    for spec, row, _ in shown:
        sums: dict[tuple[str, str, str], float] = {}  # by kind of piece, its feature or backbone, and image size
        for piece, features in features_of(spec, count(spec)):
            if piece.kind == "backbone":
                sums["backbone", backbone_of(spec), size_of(spec)] = 1.0
                continue
            for name, value in features.items():
                sums[piece.kind, name, ""] = sums.get((piece.kind, name, ""), 0.0) + value
        samples.append((sums, float(row["median_ms"])))
    weights: dict[str, Features] = {}
    backbones: dict[str, dict[str, float]] = {}
    for (kind, name, size), value in relative_nonnegative(samples).items():
        if kind == "backbone":
            backbones.setdefault(name, {})[size] = value
        else:
            weights.setdefault(kind, {})[name] = value
    return _model(shown, conditions, weights, backbones)


def _fit_pieces(shown: Sequence[Measured], conditions: Conditions) -> LatencyModel:
    """Fit each kind of piece to its own times, then their sum to the medians."""
    by_kind: dict[str, list[tuple[Features, float]]] = {}
    backbones: dict[str, dict[str, list[float]]] = {}
    for spec, _, milliseconds in shown:
        assert milliseconds is not None
        for (piece, features), taken in zip(features_of(spec, count(spec)), milliseconds, strict=True):
            if piece.kind == "backbone":
                sizes = backbones.setdefault(backbone_of(spec), {})
                sizes.setdefault(size_of(spec), []).append(taken)
            else:
                by_kind.setdefault(piece.kind, []).append((features, taken))
    medians = {
        name: {size: statistics.median(times) for size, times in sizes.items()} for name, sizes in backbones.items()
    }
    weights = {kind: linear(samples) for kind, samples in by_kind.items()}
    model = _model(shown, conditions, weights, medians)
    sums = [({"one": 1.0, "sum": sum(model.pieces(spec))}, row["median_ms"]) for spec, row, _ in shown]
    whole = linear(sums, ridge=0.0)
    return dataclasses.replace(model, scale=whole["sum"], offset=whole["one"])


def _model(
    shown: Sequence[Measured],
    conditions: Conditions,
    weights: dict[str, Features],
    backbones: dict[str, dict[str, float]],
) -> LatencyModel:
    """Return the model of these weights, with the domain of the detectors that it was fitted on."""
    row = shown[0][1]
    styles: list[dict[str, Any]] = []
    for spec, _, _ in shown:
        if style_of(spec) not in styles:
            styles.append(style_of(spec))
    return LatencyModel(
        device=row["device"],
        conditions=conditions.to_dict(),
        versions=row["versions"],
        styles=styles,
        ranges={name: _range([getattr(spec, name) for spec, _, _ in shown]) for name in RANGED},
        weights=weights,
        backbones=backbones,
        scale=1.0,
        offset=0.0,
        quality={},
    )


def linear(samples: Sequence[tuple[Features, float]], *, ridge: float = RIDGE) -> Features:
    """Return the feature weights of least squared relative error, with a small ridge for undetermined ones."""
    names = sorted({name for features, _ in samples for name in features})
    table_ND = np.array([[features.get(name, 0.0) for name in names] for features, _ in samples])
    times_N = np.array([taken for _, taken in samples])
    shares_ND = table_ND / times_N[:, None]
    scales_D = np.abs(shares_ND).mean(axis=0)
    scales_D[scales_D == 0] = 1.0
    scaled_ND = shares_ND / scales_D
    normal_DD = scaled_ND.T @ scaled_ND / len(samples) + ridge * np.eye(len(names))
    weights_D = np.linalg.lstsq(normal_DD, scaled_ND.mean(axis=0), rcond=None)[0] / scales_D
    return dict(zip(names, weights_D.tolist(), strict=True))


def _range(values: Sequence[float]) -> list[float]:
    return [min(values), max(values)]
