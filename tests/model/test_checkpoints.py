"""Weights from files: effdet's outputs from effdet's weights, and what is said of files that do not fit.

Here a sample; all 47 models at their own size: python benchmarks/effdet_equality.py
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import datetime
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from benchmarks.effdet_equality import ODD_SIZE, EfficientDet, compare, get_efficientdet_config, relative
from scaling_lab import DetectorSpec, build, load_checkpoint
from scaling_lab.architecture import effdet_spec
from scaling_lab.architecture.effdet import spec_from_effdet
from scaling_lab.errors import UserError
from scaling_lab.model.checkpoints import load_with_notes
from search_spaces.compound import SMALL

SPEC = dataclasses.replace(SMALL.base, num_classes=5, repeats=1)
_SCORES: dict[str, Any] = collections.defaultdict(list, loss=[1.0], rates=np.ones(3))


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("efficientdet_d0", ODD_SIZE),  # symmetric padding, no idle bias
        ("efficientdet_q0", ODD_SIZE),  # quad-FPN, norms level first
        *(
            pytest.param(*each, marks=pytest.mark.slow)
            for each in (
                ("tf_efficientdet_d0", None),
                ("tf_efficientdet_lite0", None),  # sum, relu6
                ("cspresdext50pan", ODD_SIZE),  # PANet, leaky ReLU, no separable convolutions
                ("cspdarkdet53m", ODD_SIZE),  # bilinear resampling, another activation in the heads, other taps
                ("efficientdet_w0", ODD_SIZE),  # features from within a block
                ("mobiledetv3_large", ODD_SIZE),
                ("tf_efficientdet_d7x", (129, 193)),  # P3 to P8
            )
        ),
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


def _zeros(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: torch.zeros_like(tensor) for name, tensor in state.items()}


def _same(detector: torch.nn.Module, state: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, state[name]) for name, tensor in detector.state_dict().items())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"spec": SPEC.to_dict(), "state": state},
        lambda state: {"model": {}, "average": state, "epoch": 3},
        lambda state: {
            "state_dict": {},
            "state_dict_ema": state,
            "args": argparse.Namespace(lr=0.1),
            "metric": np.float64(0.3),
        },
        lambda state: {f"module.model.{name}": tensor for name, tensor in state.items()},
        lambda state: {"state_dict": {f"_orig_mod.module.model.{name}": tensor for name, tensor in state.items()}},
        lambda state: {name: tensor for name, tensor in state.items() if "num_batches" not in name},
        lambda state: {"state_dict": {f"net.detector.{name}": tensor for name, tensor in state.items()}},
        lambda state: {
            "checkpoint": {"student": {"weights": state}},
            "optimizer": {"state": {"exp_avg": _zeros(state)}},
        },
        lambda state: {
            "state_dict": state,
            "when": datetime.datetime(2026, 1, 1),
            "path": Path("x"),
            "scores": _SCORES,
        },
        lambda state: {"model": {**{f"module.{n}": t for n, t in state.items()}, "n_averaged": torch.tensor(3)}},
        lambda state: {"state_dict": {**{f"model.{n}": t for n, t in state.items()}, "loss.scale": torch.ones(1)}},
    ],
    ids=[
        *("state", "ours", "training", "effdet training", "data parallel", "compiled", "old torch"),
        *("any prefix", "any keys", "other values", "torch's average", "another module"),
    ],
)
def test_wrapped_in_any_usual_way(wrap: Callable[[Any], Any], state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(wrap(state), tmp_path / "weights.pth")
    assert _same(load_checkpoint(SPEC, tmp_path / "weights.pth"), state)


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.bin"])
def test_safetensors_whatever_the_files_name(name: str, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    save_file(state, tmp_path / name)
    assert _same(load_checkpoint(SPEC, tmp_path / name), state)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda raw, average: {"model": raw, "ema": average},
        lambda raw, average: {"model": raw, "model_ema": {"module": average, "decay": 0.99}},
        lambda raw, average: {"ema_state_dict": average, "state_dict": raw},
        lambda raw, average: {"state": raw, "averaged": average},
        lambda raw, average: {"net": raw, "modelEMA": {f"module.{name}": tensor for name, tensor in average.items()}},
        lambda raw, average: {
            "state_dict": {
                **{f"model.{name}": tensor for name, tensor in raw.items()},
                **{f"ema_model.module.{name}": tensor for name, tensor in average.items()},
            }
        },
        lambda raw, average: {"model": raw, "swa_model": {k: v for k, v in average.items() if "batches" not in k}},
    ],
    ids=["ema", "model_ema", "ema_state_dict", "averaged", "camel case", "prefixes", "without counters"],
)
def test_averaged_weights_are_taken_and_that_is_said(
    wrap: Callable[[Any, Any], Any], state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save(wrap(_zeros(state), state), tmp_path / "weights.pt")
    loaded = load_with_notes(SPEC, tmp_path / "weights.pt")
    assert _same(loaded.detector, state)
    assert "the averaged weights under" in loaded.notes[0]


def test_averaged_weights_that_are_not_whole_are_left_and_that_is_said(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    part = dict(list(_zeros(state).items())[:20])
    torch.save({"model": state, "ema": part}, tmp_path / "weights.pt")
    loaded = load_with_notes(SPEC, tmp_path / "weights.pt")
    assert _same(loaded.detector, state)
    (note,) = loaded.notes
    assert re.search(r"the averaged weights under 'ema' have \d+ of \d+ tensors; those at 'model' are used", note)


def test_two_sets_of_which_neither_is_averaged_are_refused(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save({"student": state, "teacher": _zeros(state)}, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=r"holds several sets of weights: student, teacher; allowed is one"):
        load_checkpoint(SPEC, tmp_path / "weights.pt")


def test_of_two_sets_under_usual_keys_the_one_that_is_taken_is_said(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save({"best": _zeros(state), "state_dict": state}, tmp_path / "weights.pt")
    loaded = load_with_notes(SPEC, tmp_path / "weights.pt")
    assert _same(loaded.detector, state)
    assert loaded.notes == (f"{tmp_path}/weights.pt: the weights under 'state_dict' are used, not those under 'best'",)
    torch.save({"best": state, "state_dict": state}, tmp_path / "weights.pt")
    assert load_with_notes(SPEC, tmp_path / "weights.pt").notes == ()


def test_half_precision(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        torch.save({n: t.to(kind) if t.is_floating_point() else t for n, t in state.items()}, tmp_path / "weights.pt")
        own = load_checkpoint(SPEC, tmp_path / "weights.pt").state_dict()
        assert all(tensor.dtype == state[name].dtype for name, tensor in own.items())
        assert all(torch.allclose(tensor, state[name], rtol=0.01, atol=1e-6) for name, tensor in own.items())


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (10**6, r"2 not plain numbers \(class_head.predict.pointwise"),
        (10**12, "num_classes is 1000000000000; allowed are whole numbers from 1 to 1000000"),
    ],
)
def test_a_class_layer_of_more_values_than_the_file_holds_is_refused(
    classes: int, said: str, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """Otherwise a file of few bytes would have a detector of as many classes built."""
    length, layer = SPEC.anchors.per_position * classes, "class_head.predict.pointwise"
    many = {
        f"{layer}.bias": torch.zeros(1).expand(length),
        f"{layer}.weight": torch.zeros(1).expand(length, SPEC.width, 1, 1),
    }
    torch.save({**state, **many}, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=said):
        load_checkpoint(SPEC, tmp_path / "weights.pt")


# --- classes by name -------------------------------------------------------------------------------------------------

NAMES = ("cat", "dog", "cow", "owl", "elk")


def _logits(detector: torch.nn.Module) -> torch.Tensor:
    torch.manual_seed(5)
    logits, _ = detector.eval()(torch.randn(1, 3, 64, 64))
    by_class: torch.Tensor = logits[0].unflatten(1, (SPEC.anchors.per_position, -1))
    return by_class


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (NAMES, "its classes match the data's, in the same order"),
        (("elk", "cow", "owl", "cat", "dog"), "rows are matched by class name"),
        (("owl", "cat"), "3 of the weights' 5 classes are not in the data ('dog', 'cow', 'elk')"),
    ],
)
def test_the_class_layer_is_taken_by_name(
    wanted: tuple[str, ...], said: str, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save({"spec": SPEC.to_dict(), "class_names": list(NAMES), "state": state}, tmp_path / "weights.pt")
    whole = load_checkpoint(None, tmp_path / "weights.pt")
    assert whole.class_names == NAMES
    loaded = load_with_notes(None, tmp_path / "weights.pt", class_names=wanted)
    assert loaded.detector.class_names == wanted
    assert loaded.detector.spec.num_classes == len(wanted)
    assert said in loaded.notes[0]
    expected = _logits(whole)[:, :, [NAMES.index(name) for name in wanted]]
    torch.testing.assert_close(_logits(loaded.detector), expected)


@pytest.mark.parametrize(
    ("own", "wanted", "said"),
    [
        (NAMES, ("cat", "dog", "cow", "owl", "Elk"), "since the classes differ: .*'Elk' and 'elk' differ only in case"),
        (
            NAMES,
            ("a", "b", "c", "d", "e"),
            "since the classes differ: in the data, but not in the weights: 'a', 'b'",
        ),
        (None, ("a", "b"), "it has 5 classes without names, but the data have 2; the class layer is newly initialised"),
        (("cat", "dog"), ("cat", "dog"), "its 2 class names are not used, since it has 5 classes"),
    ],
)
def test_a_class_layer_that_starts_anew_is_said(
    own: tuple[str, ...] | None, wanted: tuple[str, ...], said: str, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save({"class_names": own and list(own), "state": state}, tmp_path / "weights.pt")
    loaded = load_with_notes(SPEC, tmp_path / "weights.pt", class_names=wanted)
    assert re.search(said, loaded.notes[0])
    for name, tensor in loaded.detector.state_dict().items():
        is_kept = tensor.shape == state[name].shape and torch.equal(tensor, state[name])
        assert is_kept or name.startswith("class_head.predict."), name
    untrained = torch.sigmoid(_logits(loaded.detector)).mean().item()
    assert untrained == pytest.approx(0.01, rel=0.5)


def test_weights_without_names_keep_their_classes(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "weights.pt")
    assert load_checkpoint(SPEC, tmp_path / "weights.pt").class_names is None
    loaded = load_with_notes(SPEC, tmp_path / "weights.pt", class_names=NAMES)
    assert _same(loaded.detector, state)
    assert "it has no class names" in loaded.notes[0]


def test_what_is_said_of_a_file_is_one_line_that_can_be_printed(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save({**state, "a\nb\x1b[2J\ud800": torch.zeros(1), "c" * 10**6: torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=r"2 that the model lacks \(a\\nb\\x1b\[2J\\ud800, ccc") as error:
        load_checkpoint(SPEC, tmp_path / "weights.pt")
    assert len(str(error.value)) < 1000
    str(error.value).encode()


# --- files made to fill the memory -----------------------------------------------------------------------------------


def test_a_file_that_unpacks_to_far_more_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "weights.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + b"0" * (1 << 20))
    with pytest.raises(UserError, match=r"weights.pt has [\d,]+ bytes but unpacks to 1,048,578"):
        load_checkpoint(SPEC, tmp_path / "weights.pt")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"width": 10**6}, "weights.pt does not fit "),
        ({"repeats": 10**4}, "weights.pt does not fit "),
        ({"head_repeats": 10**4}, "weights.pt does not fit "),
        ({"width": 10**9}, "weights.pt: width is 1000000000; allowed are whole numbers from 1 to 1000000"),
        ({"width": 10**12}, "weights.pt: width is 1000000000000; allowed are whole numbers from 1 to 1000000"),
        ({"repeats": 10**9}, "weights.pt: repeats is 1000000000; allowed are whole numbers from 1 to 10000"),
        ({"head_repeats": 10**9}, "weights.pt: head_repeats is 1000000000; allowed are whole numbers from 0 to 10000"),
    ],
)
def test_a_spec_that_no_memory_holds_is_refused(
    change: dict[str, int], said: str, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save({"spec": {**SPEC.to_dict(), **change}, "state": state}, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=said):
        load_checkpoint(None, tmp_path / "weights.pt")


@pytest.mark.parametrize("length", [0, 8, 10**13])
def test_a_class_layer_of_another_length_is_refused_before_it_is_built(
    length: int, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save({**state, "class_head.predict.pointwise.bias": torch.zeros(1).expand(length)}, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=r"1 of another shape \(class_head.predict.pointwise.bias is \d+ in the file"):
        load_checkpoint(SPEC, tmp_path / "weights.pt")


def test_the_file_or_its_name_says_the_spec(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save({"spec": SPEC.to_dict(), "state": state}, tmp_path / "weights.pt")
    assert load_checkpoint(None, tmp_path / "weights.pt").spec == SPEC
    d0 = effdet_spec("tf_efficientdet_d0")
    torch.save(build(d0).state_dict(), tmp_path / "tf_efficientdet_d0_34-f153e0cf.pth")
    assert load_checkpoint(None, tmp_path / "tf_efficientdet_d0_34-f153e0cf.pth").spec == d0
    torch.save(state, tmp_path / "mine.pt")
    with pytest.raises(UserError, match=r"mine.pt does not identify its model; name the model, such as d0"):
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
    with pytest.raises(UserError, match=r"weights.pth is not a file of tensors: it (holds|is damaged)"):
        load_checkpoint(SPEC, tmp_path / "weights.pth")
    assert not (tmp_path / "touched").exists()


def _without(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith("box_head.predict")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without, r"\d+ of \d+ tensors fit; \d missing \(box_head.predict\."),
        (lambda state: {**state, "more": torch.zeros(1)}, r".*; 1 that the model lacks \(more\)"),
        (
            lambda state: {**state, "box_head.norms.0.0.weight": torch.zeros(3)},
            r".*; 1 of another shape \(box_head.norms.0.0.weight is 3 in the file, 32 in the model\)",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    change: Callable[[Any], Any], message: str, state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save(change(dict(state)), tmp_path / "weights.pt")
    with pytest.raises(UserError, match=f"weights.pt does not fit .*: {message}"):
        load_checkpoint(SPEC, tmp_path / "weights.pt")


def test_values_that_no_network_has_are_refused(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    bias = state["class_head.predict.pointwise.bias"]
    for wrong, message in (
        (bias.int(), "1 not plain numbers"),
        (bias.to(torch.complex64), "1 not plain numbers"),
        (bias.to(torch.float8_e4m3fn), "1 not plain numbers"),
        (bias.to("meta"), "1 not plain numbers"),
        (bias.to_sparse(), "1 not plain numbers"),
        (torch.zeros(1).expand(len(bias)), "1 not plain numbers"),  # more values than the file holds
        (bias / 0, "1 not finite"),
        (bias.double().abs() * 1e300, "1 not finite"),  # beyond single precision
    ):
        torch.save({**state, "class_head.predict.pointwise.bias": wrong}, tmp_path / "weights.pt")
        with pytest.raises(UserError, match=rf"{message} \(class_head.predict.pointwise.bias"):
            load_checkpoint(SPEC, tmp_path / "weights.pt")


def test_a_tensor_beside_the_others_under_another_prefix_is_refused(
    state: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save({**state, "module.box_head.norms.0.0.weight": torch.zeros(32)}, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=r"1 that the model lacks \(module.box_head.norms.0.0.weight\)"):
        load_checkpoint(SPEC, tmp_path / "weights.pt")


def test_a_file_that_holds_itself_ends(tmp_path: Path) -> None:
    value: dict[str, Any] = {}
    value["state"] = value
    torch.save(value, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=r"weights.pt holds no tensors"):
        load_checkpoint(SPEC, tmp_path / "weights.pt")


def test_a_model_of_the_same_tensors_is_told_apart_by_the_files_name(tmp_path: Path) -> None:
    path = tmp_path / "tf_efficientdet_d0_ap-d0cdbd0a.pth"
    torch.save(build(effdet_spec("tf_efficientdet_d0_ap")).state_dict(), path)
    for name, field in (("tf_efficientdet_d0", "pixels"), ("d0", "anchors")):
        with pytest.raises(UserError, match=rf"gives {field} .* in its name \(tf_efficientdet_d0_ap\), but {name} has"):
            load_checkpoint(name, path)
    assert load_checkpoint("tf_efficientdet_d0_ap", path).spec.pixels.fill == "black"


def test_a_spec_in_a_file_cannot_have_another_file_read(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    for option in ("checkpoint_path", "pretrained", "pretrained_cfg_overlay", "cache_dir"):
        spec = {**SPEC.to_dict(), "backbone_options": {option: "evil.pth"}}
        torch.save({"spec": spec, "state": state}, tmp_path / "weights.pt")
        with pytest.raises(UserError, match=rf"weights.pt: .*backbone_options has '{option}'"):
            load_checkpoint(None, tmp_path / "weights.pt")


def test_weights_of_points_come_back_with_their_classes_by_name_and_fit_no_anchors(tmp_path: Path) -> None:
    torch.manual_seed(0)
    detector = build(dataclasses.replace(SPEC, head="points")).eval()
    contents = {"spec": detector.spec.to_dict(), "class_names": list(NAMES), "state": detector.state_dict()}
    torch.save(contents, tmp_path / "weights.pt")
    loaded = load_with_notes(None, tmp_path / "weights.pt", class_names=NAMES[::-1]).detector.eval()
    assert loaded.spec == detector.spec
    images = torch.randn(1, 3, 64, 64)
    for backwards, logits in zip(loaded(images)[0], detector(images)[0], strict=True):
        assert torch.equal(backwards.flip(1), logits)
    with pytest.raises(UserError, match="gives head points in its contents, but d0 has anchors; omit the model"):
        load_checkpoint("d0", tmp_path / "weights.pt")


@pytest.mark.parametrize("number", [0, -1, "3", 2.5])
def test_the_number_of_classes_is_a_number(number: Any, state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(UserError, match=r"num_classes is .*; allowed are whole numbers from 1"):
        load_checkpoint(SPEC, tmp_path / "weights.pt", num_classes=number)


def test_effdets_toggled_heads_and_own_choices(tmp_path: Path) -> None:
    """Norms level first after effdet's toggle, softmax fusion, norm before activation, other levels."""
    config = get_efficientdet_config("tf_efficientdet_d0")
    config.update(min_level=4, max_level=7, num_levels=4, backbone_indices=(3, 4), fpn_name="bifpn_attn")
    config.update(conv_bn_relu_pattern=True, image_size=(128, 192))
    torch.manual_seed(0)
    theirs = EfficientDet(config, pretrained_backbone=False)
    theirs.toggle_head_bn_level_first()
    theirs.eval()
    for part in theirs.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.bias, -0.5, 0.5)
    torch.save(theirs.state_dict(), tmp_path / "weights.pth")
    ours = load_checkpoint(spec_from_effdet(config), tmp_path / "weights.pth").eval()
    images = torch.randn(1, 3, 128, 192)
    with torch.inference_mode():
        expected, given = theirs(images), ours(images)
    assert max(relative(g, e) for e, g in zip(expected[0] + expected[1], given[0] + given[1], strict=True)) < 1e-4


def test_another_models_weights_do_not_fit(state: dict[str, torch.Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "weights.pt")
    with pytest.raises(
        UserError, match=r"weights.pt does not fit d0: \d+ of \d+ tensors fit; .* missing .* that the model lacks"
    ):
        load_checkpoint("d0", tmp_path / "weights.pt")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.pth", None, "a.pth do not exist; allowed is a state dict from torch.save"),
        ("a.pth", b"", "a.pth is not a file of tensors: it is damaged"),
        ("a.pth", b"no weights at all", "a.pth is not a file of tensors: it is damaged"),
        ("a.safetensors", b"no weights at all", "a.safetensors is not a file of tensors: it is damaged"),
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
    with pytest.raises(UserError, match=r"weights.pt is not a file of tensors: it is damaged"):
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
    with pytest.raises(UserError, match=r"weights.pt: .* has no field 'wdth'"):
        load_checkpoint(None, tmp_path / "weights.pt")
    assert DetectorSpec.from_dict(SPEC.to_dict()) == SPEC
