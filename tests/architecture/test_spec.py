"""Specs: JSON, digests, and what is refused."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scaling_lab import Anchors, DetectorSpec, Node, Pixels, Topology, efficientdet, topologies
from scaling_lab.architecture.efficientdet import NAMES
from scaling_lab.errors import UserError
from search_spaces.compound import SMALL

D0 = efficientdet("d0")


@pytest.mark.parametrize("name", NAMES)
def test_json_gives_back_the_same_spec(name: str) -> None:
    spec = efficientdet(name)
    assert DetectorSpec.from_json(spec.to_json()) == spec
    assert DetectorSpec.from_json(spec.to_json()).digest == spec.digest


def test_every_field_changes_the_digest_and_the_writing_of_the_topology_does_not() -> None:
    changes: dict[str, Any] = {
        "backbone": "resnet18",
        "topology": topologies.fpn(3, 7),
        "width": 72,
        "repeats": 4,
        "head_repeats": 2,
        "image_size": 640,
        "num_classes": 80,
        "anchors": Anchors(scale=3.0),
        "activation": "relu",
        "head_activation": "relu",
        "padding": "symmetric",
        "separable": False,
        "bias_before_norm": False,
        "norm_before_activation": True,
        "downsampling": "bilinear",
        "upsampling": "bilinear",
        "backbone_options": {"drop_path_rate": 0.1},
        "pixels": Pixels(fill="black"),
        "head": "points",
    }
    assert set(changes) == {field.name for field in dataclasses.fields(DetectorSpec)}
    digests = {dataclasses.replace(D0, **{name: value}).digest for name, value in changes.items()}
    assert len(digests | {D0.digest}) == len(changes) + 1
    backwards = tuple(dataclasses.replace(node, inputs=node.inputs[::-1]) for node in D0.topology.nodes)
    assert dataclasses.replace(D0, topology=Topology(3, 7, backwards)).digest == D0.digest


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 0}, "width is 0; allowed are whole numbers from 1"),
        ({"width": 64.0}, "width is 64.0; allowed are whole numbers from 1"),
        ({"repeats": True}, "repeats is True; allowed are whole numbers from 1"),
        ({"image_size": (512, 0)}, "image_size is 0; allowed are whole numbers from 1"),
        ({"image_size": (1, 2, 3)}, r"image_size is \(1, 2, 3\); allowed is one number, or \(height, width\)"),
        ({"activation": "swish"}, "activation is 'swish'; allowed are silu"),
        ({"head": "boxes"}, "head is 'boxes'; allowed are anchors, points"),
        ({"padding": "valid"}, "padding is 'valid'; allowed are same, symmetric"),
        ({"topology": "bifpn"}, "topology is 'bifpn'; allowed is a Topology"),
        ({"backbone": ""}, "backbone is ''; allowed is the name of a timm model"),
        ({"anchors": Anchors(scale=(3.0, 4.0))}, "anchors.scale has 2 numbers, but the topology 5 levels"),
        ({"backbone_options": {"x": object()}}, "backbone_options is .* allowed is a mapping of JSON values"),
        ({"backbone_options": {"x": math.nan}}, "backbone_options is .* allowed is a mapping of JSON values"),
        ({"backbone_options": [1]}, r"backbone_options is \[1\]; allowed is a mapping of JSON values"),
        ({"backbone": 18}, "backbone is 18; allowed is the name of a timm model"),
        ({"width": "64"}, "width is '64'; allowed are whole numbers from 1"),
        ({"num_classes": None}, "num_classes is None; allowed are whole numbers from 1"),
        ({"image_size": "512"}, r"image_size is '512'; allowed is one number, or \(height, width\)"),
        ({"image_size": 512.5}, "image_size is 512.5; allowed is one number"),
        ({"image_size": (512, "x")}, "image_size is 'x'; allowed are whole numbers from 1"),
        ({"anchors": 4.0}, r"anchors is 4.0; allowed is Anchors\(...\)"),
        ({"separable": 1}, "separable is 1; allowed are True and False"),
        ({"bias_before_norm": "no"}, "bias_before_norm is 'no'; allowed are True and False"),
        ({"norm_before_activation": None}, "norm_before_activation is None; allowed are True and False"),
        ({"activation": ["silu"]}, r"activation is \['silu'\]; allowed are silu"),
        (
            {"widht": 64},
            r"DetectorSpec has no field 'widht' \(did you mean 'width'\?\); allowed are backbone, topology",
        ),
    ],
)
def test_a_wrong_field_is_named_with_its_value(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dataclasses.replace(D0, **changes)


def test_digests_are_those_of_files_from_before_heads_of_points() -> None:
    assert (D0.digest, SMALL.base.digest) == ("fd246d039af8", "6e4d8b48078c")
    assert "head" not in D0.to_dict()


def test_points_have_no_anchors() -> None:
    points = dataclasses.replace(D0, head="points", anchors=Anchors(scale=3.0))
    assert points == dataclasses.replace(D0, head="points")
    assert "anchors" not in points.to_dict()
    assert points.to_dict()["head"] == "points"
    assert DetectorSpec.from_json(points.to_json()) == points
    assert (points.boxes_per_position, D0.boxes_per_position) == (1, 9)
    assert points.describe().endswith("width 64, points, 512 px")
    assert D0.describe().endswith("width 64, 512 px")


def test_a_dangling_node_is_refused_with_the_way_out() -> None:
    topology = Topology(3, 4, (Node(3, (0, 1)), Node(3, (0, 1)), Node(4, (1, 3))))
    with pytest.raises(UserError, match=r"node 2 \(P3\) is dangling: no output depends on it; remove it with"):
        dataclasses.replace(D0, topology=topology)
    assert dataclasses.replace(D0, topology=topology.without_dead_nodes()).topology.dead_nodes == ()


def test_a_level_computed_for_nothing_is_refused() -> None:
    topology = Topology(3, 4, (Node(3, (0,)), Node(4, (0,))))
    with pytest.raises(UserError, match="no node reads the input P4, so with repeats=3 that level has no effect"):
        dataclasses.replace(D0, topology=topology)
    assert dataclasses.replace(D0, topology=topology, repeats=1).repeats == 1


def with_(name: str, value: object) -> str:
    """D0 in JSON, one field changed."""
    return json.dumps({**D0.to_dict(), name: value})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "a spec is a JSON object, not list"),
        ('{"backbone": "resnet18"}', "a spec needs the field 'topology'"),
        ('{"widht": 3}', r"a spec has no field 'widht' \(did you mean 'width'\?\); allowed are backbone, topology"),
        (with_("topology", 3), "a topology is 3; allowed is a mapping with min_level, max_level and nodes"),
        (with_("anchors", None), "anchors is None; allowed is a mapping"),
        (
            with_("anchors", {"scales": 3}),
            r"Anchors has no field 'scales' \(did you mean 'scale'\?\); allowed are scale",
        ),
        (with_("width", None), "width is None; allowed are whole numbers from 1"),
    ],
)
def test_what_is_no_spec_in_json_is_named(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        DetectorSpec.from_json(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"backbone": ', "not JSON: Expecting value: line 1"),
        (b"\xff{}", r"is not UTF-8 \(byte 0 is 0xff\)"),
        (b"[" * 100_000, "nested too deeply"),
        (with_("width", 10**400).encode(), r"width is 10000.*… \(401 characters\); allowed are .* from 1 to 1000000"),
        (with_("width", float("nan")).encode(), "NaN is not a JSON number"),
        (
            with_("head_repeats", 10**9).encode(),
            "head_repeats is 1000000000; allowed are whole numbers from 0 to 10000",
        ),
        (with_("image_size", [64, 10**7]).encode(), "image_size is 10000000; allowed are .* from 1 to 1000000"),
        (with_("width", 0).encode(), "width is 0; allowed are whole numbers from 1"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_what_is_no_spec_in_a_file_is_named_with_the_file(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "mine.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"mine\.json.*" + message):
        DetectorSpec.load(path)


def test_a_spec_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(D0.to_json())
    assert DetectorSpec.load(path) == D0


def test_whole_numbers_do_where_numbers_are_meant_and_stay_what_they_are() -> None:
    assert Anchors(scale=4).scale == 4
    assert isinstance(Anchors(scale=4).scale, int)
    assert Anchors(scale=[3, 4]).scale == (3.0, 4.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda value: pickle.loads(pickle.dumps(value))])
def test_specs_can_be_copied_and_sent(copied: Callable[[DetectorSpec], DetectorSpec]) -> None:
    assert copied(D0) == D0


@pytest.mark.parametrize(
    "changes",
    [
        {"scale": 0.0},
        {"scale": ()},
        {"scale": "4"},
        {"scale": True},
        {"scale": (4.0, None)},
        {"scale": math.inf},
        {"octave_scales": 0},
        {"octave_scales": 1.5},
        {"aspects": ()},
        {"aspects": 1.0},
        {"aspects": (1.0, 1.0)},
        {"aspects": ((1.0, 1.0, 1.0),)},
        {"aspects": ((1.0, -1.0),)},
        {"aspects": ((1.0, math.nan),)},
    ],
)
def test_wrong_anchors_are_named(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"anchors.{next(iter(changes))} is"):
        Anchors(**changes)


def test_the_architecture_and_the_public_names_import_neither_torch_nor_ray() -> None:
    code = (
        "import sys, scaling_lab, scaling_lab.architecture\n"
        "from scaling_lab import Coco, Recipe, Runs, Shapes, Study, count\n"
        "print(sorted({'torch', 'ray', 'timm', 'matplotlib', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
