"""A latency model finds the truth where the truth is what it supposes, and says where it knows nothing."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import pytest

from scaling_lab import DetectorSpec, count, topologies
from scaling_lab.errors import UserError
from scaling_lab.latency import Conditions
from scaling_lab.latency.features import features_of
from scaling_lab.latency.fitting import Measured, fit, linear
from scaling_lab.latency.model import LatencyModel
from search_spaces.compound import SMALL

# Milliseconds of each feature; a backbone's by its image's area.
TRUTH = {"one": 0.05, "macs": 4e-8, "activations": 2e-7, "convolutions": 0.02, "projections": 0.03, "pooled": 0.02,
         "enlarged": 0.04, "fast": 0.03, "fast, inputs": 0.01, "sum": 0.02, "sum, inputs": 0.005}  # fmt: skip
OVERHEAD = 0.3


def detectors(number: int) -> list[DetectorSpec]:
    chance = random.Random(0)
    made: dict[str, DetectorSpec] = {}
    while len(made) < number:
        make = chance.choice([topologies.bifpn, topologies.panet, topologies.fpn, topologies.simplified_panet])
        spec = dataclasses.replace(
            SMALL.base,
            topology=make(3, 7),
            width=chance.choice([16, 24, 32, 48, 64]),
            repeats=chance.randint(1, 4),
            head_repeats=chance.randint(1, 3),
            image_size=(chance.choice([96, 128, 160]),) * 2,
        )
        made.setdefault(spec.digest, spec)
    return list(made.values())


def measured(specs: list[DetectorSpec], *, noise: float = 0.01) -> list[Measured]:
    chance = random.Random(1)
    found = []
    for spec in specs:
        pieces = []
        for piece, features in features_of(spec, count(spec)):
            if piece.kind == "backbone":
                taken = 1e-4 * spec.image_size[0] * spec.image_size[1]
            else:
                taken = sum(TRUTH.get(name, 0.0) * value for name, value in features.items())
            pieces.append(taken * chance.gauss(1.0, noise))
        row = {
            "median_ms": (sum(pieces) + OVERHEAD) * chance.gauss(1.0, noise),
            "halves_ms": [chance.random(), chance.random()],
            "device": "d",
            "versions": {"torch": "1"},
        }
        found.append((spec, row, pieces))
    return found


@pytest.fixture(scope="module")
def model() -> LatencyModel:
    return fit(measured(detectors(60)), Conditions())


def test_held_out_detectors_are_predicted(model: LatencyModel) -> None:
    assert model.quality["fitted_on"] == 40
    assert model.quality["held_out"] == 20
    assert model.quality["median_error"] < 0.02
    assert model.quality["kendall_tau"] > 0.95
    assert "on 20 held-out ones the median error is" in model.quality_words()


def test_the_error_is_of_what_the_fit_has_not_seen() -> None:
    """Where times have nothing to do with specs, held-out errors are large however well the fit may do."""
    chance = random.Random(3)
    nonsense = []
    for spec, row, pieces in measured(detectors(30)):
        factor = chance.choice([0.3, 3.0])
        nonsense.append((spec, {**row, "median_ms": row["median_ms"] * factor}, [each * factor for each in pieces]))
    found = fit(nonsense, Conditions())
    assert found.quality["median_error"] > 0.3
    assert found.quality["kendall_tau"] < 0.8


def test_other_held_out_detectors_for_another_seed() -> None:
    samples = measured(detectors(30))
    one, two = (fit(samples, Conditions(), seed=seed) for seed in (0, 1))
    assert one == fit(samples, Conditions(), seed=0)
    assert one.quality["median_error"] != two.quality["median_error"]


def test_a_file_gives_the_same_model(model: LatencyModel, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(model.to_json())
    loaded = LatencyModel.load(tmp_path / "m.json")
    spec = detectors(1)[0]
    assert loaded.predict(spec) == model.predict(spec) == model.predict(spec, count(spec))
    assert loaded.to_json() == model.to_json()


def test_the_pieces_add_up(model: LatencyModel) -> None:
    spec = detectors(1)[0]
    assert model.predict(spec) == pytest.approx(model.offset + model.scale * sum(model.pieces(spec)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"width": 128}, "width 128 is outside the latency model's range; allowed are 16 to 64"),
        ({"head_repeats": 9}, "head_repeats 9 is outside"),
        ({"image_size": (320, 320)}, "image size 320x320 is outside the latency model's range"),
        (
            {"backbone": "resnet18", "backbone_options": {}},
            "was fitted without backbone resnet18 .* allowed are resnet10t",
        ),
        ({"activation": "relu"}, "was fitted without a detector with activation 'relu'"),
        ({"topology": topologies.bifpn(3, 7, fusion="softmax")}, "was fitted without a node with softmax"),
    ],
)
def test_what_it_does_not_know_it_does_not_predict(model: LatencyModel, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        model.predict(dataclasses.replace(SMALL.base, **changes))


def test_an_image_size_between_two_is_interpolated(model: LatencyModel) -> None:
    small, between, large = (
        model.predict(dataclasses.replace(SMALL.base, image_size=(size, size))) for size in (128, 144, 160)
    )
    assert small < between < large


def test_two_shapes_of_one_area_are_both_known() -> None:
    specs = detectors(30)
    turned = [
        dataclasses.replace(spec, image_size=(64, 144) if place % 2 else (144, 64)) for place, spec in enumerate(specs)
    ]
    found = fit(measured(turned), Conditions())
    assert found.quality["median_error"] < 0.05
    square = found.predict(dataclasses.replace(SMALL.base, image_size=(96, 96)))
    assert square == pytest.approx(found.predict(dataclasses.replace(SMALL.base, image_size=(64, 144))), rel=0.1)


def test_all_that_was_measured_is_in_the_model() -> None:
    """One backbone's detectors may all be among those held out: the model knows them all the same."""
    specs = [*detectors(29), dataclasses.replace(detectors(1)[0], backbone_options={"channels": [8, 16, 24, 32]})]
    for seed in range(6):
        assert fit(measured(specs), Conditions(), seed=seed).predict(specs[-1]) > 0


def test_too_few_are_refused() -> None:
    with pytest.raises(UserError, match="needs at least 12 distinct detectors, not 11"):
        fit(measured(detectors(11)), Conditions())


def test_features_that_always_come_together_share_their_time() -> None:
    samples = [({"one": 1.0, "a": float(n), "b": float(n)}, 1.0 + 2.0 * n) for n in range(1, 40)]
    weights = linear(samples)
    assert weights["a"] == pytest.approx(weights["b"])
    assert weights["a"] + weights["b"] == pytest.approx(2.0, rel=0.02)


@pytest.mark.parametrize(
    "text", ["", "[" * 100_000, "[]", "{}", '{"latency_model": 99}', '{"latency_model": 1, "device": "d"}']
)
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(
        UserError, match=r"m\.json is not a latency model; allowed is a file of `scaling-lab measure SPACE --fit FILE`"
    ):
        LatencyModel.load(tmp_path / "m.json")
    with pytest.raises(UserError, match=r"nowhere\.json cannot be read: No such file"):
        LatencyModel.load(tmp_path / "nowhere.json")


def test_a_models_file_says_what_it_is_of(model: LatencyModel) -> None:
    values = json.loads(model.to_json())
    assert (values["device"], values["conditions"]["backend"], values["versions"]) == ("d", "eager", {"torch": "1"})
    assert set(values["quality"]) == {
        "fitted_on", "held_out", "beyond", "median_error", "p90_error", "kendall_tau", "kendall_tau_of_halves",
        "seed"
    }  # fmt: skip
