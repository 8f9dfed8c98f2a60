"""The table of fusions: what a line of it is enough for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from scaling_lab import DetectorSpec, Node, Topology, build, count, efficientdet
from scaling_lab.architecture.fusions import FUSIONS, Fusion
from scaling_lab.errors import UserError
from scaling_lab.model.fusion import Weighted
from scaling_lab.model.fusion_weights import fusion_weights


class Cubes(Weighted):
    """Weights w_i³: in no published network, so that nothing else can know of it."""

    def normalised(self) -> Tensor:
        return self.weights**3


def test_a_new_fusion_is_one_class_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    topology = Topology(3, 4, (Node(4, (1, 0)), Node(3, (0, 2))))
    with pytest.raises(UserError, match="fusion 'cubes' is unknown; allowed are sum, mean, fast"):
        topology.with_fusion("cubes")
    line = Fusion(name="cubes", home=f"{__name__}:Cubes", formula="Σ w_i³ x_i", is_weighted=True)
    monkeypatch.setitem(FUSIONS, "cubes", line)
    spec = DetectorSpec(
        backbone="resnet10t", topology=topology.with_fusion("cubes"), width=8, repeats=1, head_repeats=1, image_size=64
    )
    detector = build(spec)
    assert sum(parameter.numel() for parameter in detector.parameters()) == count(spec).params
    assert list(fusion_weights(detector).values()) == [[1.0, 1.0], [1.0, 1.0]]
    classes, boxes = detector(torch.zeros(1, 3, 64, 64))
    (classes[0].sum() + boxes[0].sum()).backward()
    cubes = [module for module in detector.modules() if isinstance(module, Cubes)]
    assert len(cubes) == 2
    assert all(module.weights.grad is not None for module in cubes)
    assert DetectorSpec.from_json(spec.to_json()) == spec
    assert spec.topology.describe().endswith(" cubes")


def test_every_line_makes_a_module_whose_weights_are_as_it_says() -> None:
    from scaling_lab.model.fusion import make_fusion

    for name, fusion in FUSIONS.items():
        module = make_fusion(name, 2, 4)
        assert isinstance(module, nn.Module)
        assert fusion.name == name
        assert bool(list(module.parameters())) == fusion.is_weighted == isinstance(module, Weighted)
    d6 = efficientdet("d6")
    assert {node.fusion for node in d6.topology.nodes} == {"sum"}
