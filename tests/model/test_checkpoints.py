"""Weights from files: effdet's outputs from effdet's weights, and what is said of files that do not fit.

Here a sample; all 47 models at their own size: python benchmarks/effdet_equality.py
"""

from __future__ import annotations

import argparse
import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from benchmarks.effdet_equality import ODD_SIZE, compare
from scaling_lab import DetectorSpec, build, load_checkpoint
from scaling_lab.architecture import effdet_spec
from scaling_lab.errors import UserError
from scaling_lab.model.checkpoints import checkpoint_spec
from search_spaces.compound import SMALL

SPEC = dataclasses.replace(SMALL.base, num_classes=5, repeats=1)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("tf_efficientdet_d0", None),
        ("tf_efficientdet_lite0", None),  # sum, relu6
        ("efficientdet_d0", ODD_SIZE),  # symmetric padding, no idle bias
        ("efficientdet_q0", ODD_SIZE),  # quad-FPN, norms level first
        ("cspresdext50pan", ODD_SIZE),  # PANet, leaky ReLU, no separable convolutions
        ("cspdarkdet53m", ODD_SIZE),  # bilinear resampling, another activation in the heads, other taps
        ("efficientdet_w0", ODD_SIZE),  # features from within a block
        ("mobiledetv3_large", ODD_SIZE),
        ("tf_efficientdet_d7x", (129, 193)),  # P3 to P8
    ],
)
def test_effdets_weights_give_effdets_outputs_and_detections(name: str, size: tuple[int, int] | None) -> None:
    result = compare(name, size)
    assert result.largest_difference < 1e-4
    assert result.detections_equal == result.detections == 100


def test_another_number_of_classes() -> None:
    result = compare("tf_efficientdet_d0", (128, 128), num_classes=7)
    assert result.largest_difference < 1e-4


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return build(SPEC).state_dict()


def _same(detector: torch.nn.Module, state: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, state[name]) for name, tensor in detector.state_dict().items())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"spec": SPEC.to_dict(), "state": state},
        lambda state: {"model": {}, "average": state, "epoch": 3},
        lambda state: {"state_dict": {}, "state_dict_ema": state, "args": argparse.Namespace(lr=0.1), "arch": "x"},
        lambda state: {f"module.model.{name}": tensor for name, tensor in state.items()},
        lambda state: {name: tensor for name, tensor in state.items() if "num_batches" not in name},
    ],
    ids=["state", "ours", "training", "effdet training", "data parallel", "old torch"],
)
def test_wrapped_in_any_usual_way(wrap: Callable[[Any], Any], state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(wrap(state), tmp_path / "weights.pth")
    assert _same(load_checkpoint(SPEC, tmp_path / "weights.pth"), state)


def test_safetensors(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    save_file(state, tmp_path / "weights.safetensors")
    assert _same(load_checkpoint(SPEC, tmp_path / "weights.safetensors"), state)


def test_the_file_or_its_name_says_the_spec(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save({"spec": SPEC.to_dict(), "state": state}, tmp_path / "weights.pt")
    assert load_checkpoint(None, tmp_path / "weights.pt").spec == SPEC
    torch.save({}, tmp_path / "tf_efficientdet_d1_40-a30f94af.pth")
    assert checkpoint_spec(None, tmp_path / "tf_efficientdet_d1_40-a30f94af.pth") == effdet_spec("tf_efficientdet_d1")
    torch.save(state, tmp_path / "mine.pt")
    with pytest.raises(UserError, match=r"mine.pt says neither .*; name the model, such as d0"):
        load_checkpoint(None, tmp_path / "mine.pt")


def test_the_number_of_classes_is_the_files_unless_another_is_asked_for(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save(state, tmp_path / "weights.pt")
    assert load_checkpoint(dataclasses.replace(SPEC, num_classes=90), tmp_path / "weights.pt").spec == SPEC
    other = load_checkpoint(SPEC, tmp_path / "weights.pt", num_classes=3)
    assert other.spec.num_classes == 3
    for name, tensor in other.state_dict().items():
        assert name.startswith("class_head.predict.") or torch.equal(tensor, state[name])
    class_logits, _ = other.eval()(torch.zeros(1, 3, 64, 64))
    assert class_logits[0].shape[1] == 3 * SPEC.anchors.per_position


class _Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("touched"),))


@pytest.mark.parametrize("write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_nothing_in_a_file_is_executed(
    write: Callable[[Any, Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write({"state": _Trap()}, tmp_path / "weights.pth")
    with pytest.raises(UserError, match=r"weights.pth is no file of tensors"):
        load_checkpoint(SPEC, tmp_path / "weights.pth")
    assert not (tmp_path / "touched").exists()


def _without(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith("box_head.predict")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without, r"tensors \d missing \(box_head.predict\."),
        (lambda state: {**state, "more": torch.zeros(1)}, r"tensors 1 that the model lacks \(more\)"),
        (
            lambda state: {**state, "box_head.norms.0.0.weight": torch.zeros(3)},
            r"tensors 1 of another shape \(box_head.norms.0.0.weight is \(3,\) in the file, \(32,\) in the model\)",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    change: Callable[[Any], Any], message: str, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save(change(dict(state)), tmp_path / "weights.pt")
    with pytest.raises(UserError, match=f"weights.pt does not fit .*: {message}"):
        load_checkpoint(SPEC, tmp_path / "weights.pt")


def test_another_models_weights_do_not_fit(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=r"weights.pt does not fit d0: tensors .* missing .* that the model lacks"):
        load_checkpoint("d0", tmp_path / "weights.pt")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pth", None, "a.pth do not exist; allowed is a .safetensors, .pth or .pt file"),
        ("a.pth", b"", "a.pth cannot be read|a.pth is no file of tensors"),
        ("a.pth", b"no weights at all", "a.pth cannot be read|a.pth is no file of tensors"),
        ("a.safetensors", b"no weights at all", "a.safetensors cannot be read as weights"),
    ],
)
def test_a_file_that_cannot_be_read(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_checkpoint(SPEC, tmp_path / name)


def test_a_cut_file(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "weights.pt")
    whole = (tmp_path / "weights.pt").read_bytes()
    (tmp_path / "weights.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"weights.pt cannot be read as weights"):
        load_checkpoint(SPEC, tmp_path / "weights.pt")


@pytest.mark.parametrize("value", [[torch.zeros(1)], {"epoch": 3}])
def test_a_file_without_a_state_dict(value: object, tmp_path: Path) -> None:
    torch.save(value, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=r"weights.pt holds (list|no tensors; its keys are epoch)"):
        load_checkpoint(SPEC, tmp_path / "weights.pt")


def test_an_unknown_name(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=r"detector 'd99' is unknown.*; allowed are d0, .*tf_efficientdet_d0"):
        load_checkpoint("d99", tmp_path / "weights.pt")


def test_a_spec_says_what_it_is_of(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save({"spec": {**SPEC.to_dict(), "wdth": 3}, "state": state}, tmp_path / "weights.pt")
    with pytest.raises(UserError, match="a spec has no field 'wdth'"):
        load_checkpoint(None, tmp_path / "weights.pt")
    assert DetectorSpec.from_dict(SPEC.to_dict()) == SPEC
