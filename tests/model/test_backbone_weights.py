"""A backbone's pretrained weights: in what a file of them may be wrapped, and what is said of one that does not fit."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from scaling_lab import build
from scaling_lab.errors import UserError
from scaling_lab.model.backbone import make_backbone
from search_spaces.compound import SMALL

NAME = "lcnet_035"
SPEC = dataclasses.replace(SMALL.base, backbone=NAME, backbone_options={}, repeats=1)


@pytest.fixture(scope="module")
def whole() -> dict[str, Tensor]:
    """A whole model's weights, classifier and all, with statistics that no fresh batch norm has."""
    torch.manual_seed(1)
    state = timm.create_model(NAME).state_dict()
    return {name: tensor + 0.25 if tensor.is_floating_point() else tensor for name, tensor in state.items()}


def _prefixed(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


def _zeros(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.zeros_like(tensor) for name, tensor in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda whole: whole,
        lambda whole: _prefixed("backbone.", whole),
        lambda whole: _prefixed("module.", whole),
        lambda whole: {"state_dict": _prefixed("model.", whole), "epoch": 3},
        lambda whole: {"state_dict": _prefixed("_orig_mod.encoder.trunk.", whole)},
        lambda whole: {"model": whole, "arch": NAME},
        lambda whole: {"model": _zeros(whole), "model_ema": whole},
        lambda whole: {"state_dict_ema": whole, "state_dict": _zeros(whole), "optimizer": {"exp_avg": _zeros(whole)}},
        lambda whole: {
            name: tensor for name, tensor in whole.items() if not name.startswith(("classifier", "conv_head"))
        },
        lambda whole: {name: tensor for name, tensor in whole.items() if "num_batches" not in name},
        lambda whole: {name: t.double() if t.is_floating_point() else t for name, t in whole.items()},
    ],
    ids=[
        *("timm", "backbone", "data parallel", "lightning", "any prefix", "model", "average", "timm training"),
        *("without a classifier", "old torch", "double"),
    ],
)
def test_every_tensor_of_the_backbone_is_the_files(
    wrap: Callable[[Any], Any], whole: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save(wrap(whole), tmp_path / "weights.pth")
    own = build(SPEC, pretrained=str(tmp_path / "weights.pth")).backbone.state_dict()
    assert len(own) > 50
    assert all(torch.equal(tensor, whole[name]) for name, tensor in own.items() if "num_batches" not in name)


def test_a_path_and_safetensors_and_half_precision(whole: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(
        _prefixed("model.", {name: tensor.half() for name, tensor in whole.items()}), tmp_path / "weights.safetensors"
    )
    own = build(SPEC, pretrained=tmp_path / "weights.safetensors").backbone.state_dict()
    for name, tensor in own.items():
        assert torch.allclose(tensor.float(), whole[name].half().float()), name


def test_a_detectors_file_gives_its_backbone(tmp_path: Path) -> None:
    detector = build(SPEC)
    torch.save({"spec": SPEC.to_dict(), "state": detector.state_dict()}, tmp_path / "weights.pt")
    other = build(dataclasses.replace(SPEC, width=24), pretrained=str(tmp_path / "weights.pt"))
    expected = detector.backbone.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in other.backbone.state_dict().items())


# timm renames what it wraps: the first level of the one kind, with "model." before the other.
@pytest.mark.parametrize(
    "name",
    [
        "pvt_v2_b0",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("cspdarknet53", "maxvit_rmlp_pico_rw_256")),
    ],
)
def test_backbones_whose_features_have_other_names(name: str, tmp_path: Path) -> None:
    state = timm.create_model(name).state_dict()
    torch.save(state, tmp_path / "weights.pth")
    torch.manual_seed(9)
    backbone, _ = make_backbone(name, 3, 5, pretrained=tmp_path / "weights.pth")
    by_key = {each.replace(".", "_"): tensor for each, tensor in state.items()}
    for each, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, by_key[each.removeprefix("model.").replace(".", "_")]), each


def _first(whole: dict[str, Tensor], number: int) -> dict[str, Tensor]:
    return dict(list(whole.items())[:number])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda whole: {"foo": torch.zeros(3)},
            r"0 of \d+ tensors fit; .* looks like another .*: its tensor names begin with foo",
        ),
        (lambda whole: {}, "holds no tensors; its keys are none"),
        (
            lambda whole: _first(whole, 20),
            r"1\d of \d+ tensors fit; \d+ missing \(blocks\.\S+, \S+, \S+, …\); allowed are",
        ),
        (
            lambda whole: {**whole, "bn1.running_var": whole["bn1.running_var"] * torch.nan},
            r"tensors fit; 1 not finite \(bn1.running_var\)",
        ),
        (
            lambda whole: {**whole, "conv_stem.weight": torch.zeros(8, 1, 3, 3)},
            r"1 of another shape \(conv_stem.weight is 8x1x3x3 in the file, 8x3x3x3 in the model\)",
        ),
        (
            lambda whole: {
                "classifier.weight": whole["classifier.weight"],
                "classifier.bias": whole["classifier.bias"],
            },
            r"0 of \d+ tensors fit; .*its tensor names begin with classifier",
        ),
        (
            lambda whole: {"arch": "resnet10t", "state_dict": timm.create_model("resnet10t").state_dict()},
            r"the file names the model resnet10t; it looks like another backbone",
        ),
        (
            lambda whole: timm.create_model("lcnet_100").state_dict(),
            r"of another shape .*; it looks like another backbone",
        ),
        (lambda whole: {"a": whole, "b": _zeros(whole)}, "holds several sets of weights: a, b"),
    ],
    ids=["foo", "nothing", "twenty", "nan", "grey", "classifier", "resnet", "another size", "two"],
)
def test_what_does_not_fit_is_named(
    change: Callable[[Any], Any], message: str, whole: dict[str, Tensor], tmp_path: Path
) -> None:
    torch.save(change(whole), tmp_path / "weights.pth")
    with pytest.raises(UserError, match=message) as error:
        build(SPEC, pretrained=str(tmp_path / "weights.pth"))
    assert str(tmp_path / "weights.pth") in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("broken.pth", "broken.pth is not a file of tensors: it is damaged"),
        ("missing.pth", "missing.pth do not exist"),
        ("", "has no weights of backbone"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    with pytest.raises(UserError, match=message):
        build(SPEC, pretrained=tmp_path / name)


# --- timm's own ------------------------------------------------------------------------------------------------------

_BUILD = """
import dataclasses, sys, torch
from scaling_lab import build
from scaling_lab.errors import UserError
from search_spaces.compound import SMALL
try:
    detector = build(dataclasses.replace(SMALL.base, backbone=sys.argv[1], backbone_options={}), pretrained=True)
    torch.save(detector.backbone.state_dict(), sys.argv[2])
except UserError as error:
    print(error)
"""


def _build_offline(name: str, cache: Path) -> str:
    """Build with timm's weights in a process of its own, for the hub reads its settings once; give what it prints."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cache), "TORCH_HOME": str(cache)}
    command = [sys.executable, "-c", _BUILD, name, str(cache / "built.pth")]
    root = Path(__file__).parents[2]
    environment["PYTHONPATH"] = str(root)
    return subprocess.run(command, env=environment, cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_timms_weights_are_read_from_the_cache_and_fit(whole: dict[str, Tensor], tmp_path: Path) -> None:
    repository = timm.get_pretrained_cfg("lcnet_050").hf_hub_id
    folder = tmp_path / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
    state = timm.create_model("lcnet_050").state_dict()
    save_file(state, folder / "snapshots" / ("0" * 40) / "model.safetensors")
    assert _build_offline("lcnet_050", tmp_path) == ""
    built = torch.load(tmp_path / "built.pth", weights_only=True)
    assert len(built) > 50
    assert all(torch.equal(tensor, state[name]) for name, tensor in built.items())


def test_weights_that_cannot_be_fetched_give_one_message(tmp_path: Path) -> None:
    (said,) = _build_offline("resnet10t", tmp_path).splitlines()
    assert said.startswith(
        "the pretrained weights of backbone 'resnet10t' are not available from timm/resnet10t.c3_in1k: "
    )
    assert said.endswith(f"allowed are also pretrained=FILE, or the file in Hugging Face's cache, {tmp_path}")


def test_a_backbone_of_which_timm_has_no_weights() -> None:
    with pytest.raises(
        UserError, match=f"timm has no pretrained weights of backbone '{NAME}'; allowed is a weights file"
    ):
        build(SPEC, pretrained=True)
