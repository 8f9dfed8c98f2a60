"""The operators of a whole detector, the latency model on them, and outputs that load suppression realistically."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from scaling_lab import build, count
from scaling_lab.latency.operators import operators
from scaling_lab.latency.spread_outputs import DELTA, SIDE, SPREAD, spread_outputs, textured_images
from scaling_lab.latency.whole_model import LEAST, fit_whole
from scaling_lab.stats.least_squares import relative_nonnegative
from tests.latency.tiny import tiny


def test_convolutions_are_counted_by_kind() -> None:
    spec = tiny()
    found = operators(spec, end_to_end=True)
    assert found["pointwise"] + found["depthwise"] + found["dense"] == count(spec).macs
    assert found["pointwise made"] + found["depthwise made"] + found["dense made"] == count(spec).activations
    positions = 8**2 + 4**2 + 2**2
    assert found["logits"] == positions * spec.boxes_per_position * spec.num_classes
    assert found["one"] == 1.0
    assert "logits" not in operators(spec, end_to_end=False)
    wider, same = (operators(dataclasses.replace(spec, width=width), end_to_end=False) for width in (24, 40))
    assert wider["calls"] == same["calls"]
    assert wider["elementwise"] < same["elementwise"]


def test_weights_are_found_and_never_negative() -> None:
    samples = [({"a": float(n), "b": float(n * n)}, 2.0 * n + 0.5 * n * n) for n in range(1, 9)]
    found = relative_nonnegative(samples, ridge=0.0)
    assert found == {"a": pytest.approx(2.0), "b": pytest.approx(0.5)}
    less = relative_nonnegative([({"a": float(n), "b": 1.0}, 3.0 * n - 1.0) for n in range(1, 9)], ridge=0.0)
    assert less["b"] == 0.0


def test_errors_are_of_detectors_that_a_fit_did_not_see() -> None:
    exact = [({"one": 1.0, "dense": float(n)}, 5.0 + 2.0 * n) for n in range(1, 13)]
    model = fit_whole(exact)
    assert model.predict({"one": 1.0, "dense": 100.0}) == pytest.approx(205.0, rel=0.01)
    assert model.median_error < 0.01
    assert (len(model.left_out), len(model.beyond)) == (12, 4)
    slower = [(features, taken * (1.5 if taken > 22 else 1.0)) for features, taken in exact]
    worse = fit_whole(slower)
    assert worse.median_beyond == pytest.approx(1 / 3, abs=0.02)  # what larger ones take is not known from smaller ones
    with pytest.raises(AssertionError):
        fit_whole(exact[: LEAST - 1])


def test_outputs_have_the_spread_that_is_stated() -> None:
    torch.manual_seed(0)
    detector = build(tiny(num_classes=20)).eval()
    before = [name for name, _ in detector.named_modules()]
    spread_outputs(detector)
    with torch.no_grad():
        class_logits, box_deltas = detector(textured_images(1, SIDE, SIDE))
    logits_CP = torch.cat([each[0].flatten(1) for each in class_logits], dim=1)
    deltas_CP = torch.cat([each[0].flatten(1) for each in box_deltas], dim=1)
    assert torch.allclose(logits_CP.std(dim=1), torch.tensor(SPREAD), rtol=0.02)
    assert torch.allclose(deltas_CP.std(dim=1), torch.tensor(DELTA), rtol=0.02)
    best = logits_CP.view(9, 20, -1).mean(dim=(0, 2)).topk(5)
    assert set(best.indices[:4].tolist()) == {0, 6, 13, 19}  # four classes have objects
    assert float(best.values[3] - best.values[4]) > 3.0
    assert [name for name, _ in detector.named_modules()] == before  # no operator more
    assert not detector.training


def test_images_are_the_same_every_time() -> None:
    first = textured_images(2, 32, 48)
    assert first.shape == (2, 3, 32, 48)
    assert torch.equal(first, textured_images(2, 32, 48))
