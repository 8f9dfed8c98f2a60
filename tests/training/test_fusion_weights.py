"""Fusion weights are recorded each epoch: those that the averaged model fuses by, the same for a run that was continued."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from scaling_lab import Recipe, Shapes, build, topologies
from scaling_lab.architecture.node_names import inputs_by_node
from scaling_lab.model.fusion_weights import fusion_weights
from scaling_lab.training.train import train
from search_spaces.compound import SMALL

SPEC = dataclasses.replace(SMALL.base, repeats=2, width=16, num_classes=8, image_size=(64, 64))
DATA = Shapes(train_images=16, val_images=4)
RECIPE = Recipe.short(epochs=3, batch_size=4, lr=0.02, eval_every=3)


def with_fusion(fusion: str) -> Any:
    return dataclasses.replace(SPEC, topology=topologies.bifpn(3, 7, fusion=fusion))


def recorded(folder: Path, spec: Any = SPEC, stop_after: int = 99) -> list[dict[str, list[float]]]:
    """Give the weights that each epoch reports."""
    found: list[dict[str, list[float]]] = []

    def report(metrics: dict[str, Any]) -> None:
        found.append(metrics.get("fusion_weights", {}))
        if metrics["epoch"] == stop_after:
            raise KeyboardInterrupt

    train(spec, DATA, RECIPE, seed=1, folder=folder, report=report)
    return found


def test_weights_are_recorded_and_move(tmp_path: Path) -> None:
    epochs = recorded(tmp_path)
    assert len(epochs) == 3
    for weights in epochs:
        assert list(weights) == [name for name, places in inputs_by_node(SPEC).items() if len(places) > 1]
        assert [len(values) for values in weights.values()] == [
            len(places) for places in inputs_by_node(SPEC).values() if len(places) > 1
        ]
        assert all(sum(values) == pytest.approx(1.0, abs=2e-3) for values in weights.values())

    def moved(weights: dict[str, list[float]]) -> float:
        return max(abs(value - 1 / len(values)) for values in weights.values() for value in values)

    assert 0.001 < moved(epochs[0]) < moved(epochs[2])


def test_the_last_are_those_of_the_averaged_model_that_is_kept(tmp_path: Path) -> None:
    last = recorded(tmp_path)[-1]
    detector = build(SPEC)
    detector.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True)["state"])
    assert fusion_weights(detector) == last
    cell, node = detector.feature_network.cells[1], SPEC.topology.node(12)  # P7's, the last
    raw = torch.relu(cell.nodes[-1].fusion.weights)  # type: ignore[union-attr, index]
    assert node.level == 7
    expected = (raw / (raw.sum() + 1e-4)).tolist()
    assert last["cell 2, P7 (node 12)"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
def test_a_continued_run_records_the_same(tmp_path: Path) -> None:
    whole = recorded(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        recorded(tmp_path / "stopped", stop_after=1)
    torch.manual_seed(99)
    assert recorded(tmp_path / "stopped") == whole  # the first epoch is told again


def test_weights_for_each_channel_are_averaged() -> None:
    detector = build(with_fusion("channel_softmax"))
    node = detector.feature_network.cells[0].nodes[0]  # type: ignore[index]
    with torch.no_grad():
        node.fusion.weights.copy_(torch.linspace(-2, 3, 32).view(2, 16))  # type: ignore[union-attr]
    expected = torch.softmax(node.fusion.weights, dim=0).mean(dim=1).tolist()  # type: ignore[union-attr]
    weights = fusion_weights(detector)
    assert weights["cell 1, P6 (node 5)"] == pytest.approx(expected, abs=1e-4)
    assert weights["cell 2, P6 (node 5)"] == [0.5, 0.5]


@pytest.mark.parametrize("topology", [topologies.bifpn(3, 7, fusion="sum"), topologies.none(3, 7)])
def test_without_weighted_fusion_nothing_is_recorded(topology: Any) -> None:
    assert fusion_weights(build(dataclasses.replace(SPEC, topology=topology))) == {}


def test_an_unweighted_run_has_no_such_metric(tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, epochs=1)
    metrics = train(with_fusion("sum"), DATA, recipe, seed=0, folder=tmp_path, report=lambda _: None)
    assert "fusion_weights" not in metrics
