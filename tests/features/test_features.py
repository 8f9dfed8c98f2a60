"""Stored features: equal to what a training run computes itself, kept, continued, shared and bounded."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from scaling_lab import Coco, DetectorSpec, Recipe, Shapes, build, topologies
from scaling_lab.data.augmentation import Augmentation
from scaling_lab.data.batches import Batch, batches
from scaling_lab.errors import UserError
from scaling_lab.features.build import FeatureFolder, layout_of, stored_features
from scaling_lab.features.cached_batches import CachedBatches
from scaling_lab.features.compute import frozen_features
from scaling_lab.features.key import feature_key
from scaling_lab.features.store import COMPLETE, folder_bytes, level_path
from scaling_lab.study.run.trial import Training
from scaling_lab.training.train import train
from tests.coco_files import write_coco

AUGMENTATION = Augmentation(jitter=(0.6, 1.4), colour=0.3)
VIEWS = 2
Source = Coco | Shapes


def spec_for(source: Source, **changes: Any) -> DetectorSpec:
    return DetectorSpec(
        **{
            "backbone": "resnet10t", "topology": topologies.fpn(3, 5), "width": 8, "repeats": 1, "head_repeats": 1,
            "image_size": 64, "num_classes": len(source.class_names), **changes,
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Coco:
    return write_coco(tmp_path_factory.mktemp("coco"), train=21, val=5)


@pytest.fixture(scope="module")
def backbone(coco: Coco) -> torch.nn.Module:
    torch.manual_seed(0)
    return build(spec_for(coco)).backbone


def loader_of(source: Source, split: str = "train", **changes: Any) -> Any:
    values = {"image_size": 64, "batch_size": 8, "augmentation": AUGMENTATION, "views": VIEWS, "epoch": 1, **changes}
    return batches(source, split, **values)


def stored(
    root: Path, backbone: torch.nn.Module, loader: Any, limit_gb: float = 1.0, said: list[str] | None = None
) -> Any:
    key = feature_key(
        spec_for(loader.source), backbone, loader.source, loader.split, augmentation=AUGMENTATION, views=VIEWS
    )
    where = FeatureFolder(root=root, limit_gb=limit_gb)
    return stored_features(where, key, backbone, loader, say=(said if said is not None else []).append)


def assert_same(cached: Batch, read: Batch, backbone: torch.nn.Module, dtype: torch.dtype) -> None:
    assert cached.image_ids == read.image_ids
    for name in ("boxes_BN4", "labels_BN", "scales_B", "sizes_B2"):
        assert torch.equal(getattr(cached, name), getattr(read, name)), name
    expected = frozen_features(backbone, read.images_BCHW, dtype)
    assert [level.dtype for level in cached.inputs] == [torch.float32] * 3
    assert all(torch.equal(own, level.float()) for own, level in zip(cached.inputs, expected, strict=True))


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("kind", ["coco", "shapes"])
def test_stored_features_are_those_of_the_images(
    kind: str, split: str, coco: Coco, backbone: torch.nn.Module, tmp_path: Path
) -> None:
    source: Source = coco if kind == "coco" else Shapes(train_images=21, val_images=5)
    dtype = torch.float16 if split == "train" else torch.float32
    for epoch in (1, 2, 3):
        loader = loader_of(source, split, epoch=epoch, seed=4)
        found = CachedBatches(loader, stored(tmp_path, backbone, loader))
        assert len(found) == len(loader)
        for cached, read in zip(found, loader, strict=True):
            assert_same(cached, read, backbone, dtype)


def test_views_are_the_same_for_all_seeds_and_each_comes_once(coco: Coco) -> None:
    def shown(seed: int, epoch: int) -> dict[int, bytes]:
        loader = loader_of(coco, seed=seed, epoch=epoch, batch_size=21)
        (batch,) = loader
        return dict(zip(batch.image_ids, (image.numpy().tobytes() for image in batch.images_BCHW), strict=True))

    first, second, again = shown(0, 1), shown(0, 2), shown(0, 3)
    assert all(first[index] != second[index] for index in first)
    assert first == again
    other = shown(1, 1)
    assert {index: {first[index], second[index]} >= {other[index]} for index in first} == dict.fromkeys(first, True)
    assert any(first[index] != other[index] for index in first)


def test_an_interrupted_computation_continues_where_it_was(
    coco: Coco, backbone: torch.nn.Module, tmp_path: Path
) -> None:
    loader = loader_of(coco)
    whole = stored(tmp_path / "whole", backbone, loader)
    layout = layout_of(backbone, loader)
    assert layout.rows == 42

    class Killed(BaseException):
        pass

    def killed_at(rows: int, root: Path) -> None:
        seen = 0
        hook = backbone.register_forward_pre_hook(lambda module, inputs: check())

        def check() -> None:
            nonlocal seen
            seen += 1
            if seen > rows:
                raise Killed

        with pytest.raises(Killed):
            stored(root, backbone, loader)
        hook.remove()

    for chunks in (1, 2, 3, 4):
        root = tmp_path / str(chunks)
        killed_at(chunks, root)  # the first pass is that of an empty image
        (folder,) = (each for each in root.iterdir() if each.is_dir())
        assert not (folder / COMPLETE).exists()
        for place in range(3):  # part of a row, as a kill in the middle of a write leaves it
            with level_path(folder, place).open("ab") as file:
                file.write(b"half a row")
        said: list[str] = []
        found = stored(root, backbone, loader, said=said)
        done = {1: 0, 2: 16, 3: 21, 4: 37}[chunks]
        assert any(f"; {done} of 42 are there" in line for line in said) == bool(done)
        for place in range(3):
            assert level_path(found.folder, place).read_bytes() == level_path(whole.folder, place).read_bytes()
        assert [found.image(index) for index in range(21)] == [*range(21)]


def test_features_are_computed_again_where_anything_differs(
    coco: Coco, backbone: torch.nn.Module, tmp_path: Path
) -> None:
    spec = spec_for(coco)

    def digest(spec: DetectorSpec = spec, source: Source = coco, split: str = "train", **changes: Any) -> str:
        values: dict[str, Any] = {"augmentation": AUGMENTATION, "views": VIEWS, **changes}
        return feature_key(spec, values.pop("backbone", backbone), source, split, **values).digest

    torch.manual_seed(1)
    others = {
        "weights": digest(backbone=build(spec).backbone),
        "size": digest(dataclasses.replace(spec, image_size=96)),
        "pixels": digest(dataclasses.replace(spec, pixels=dataclasses.replace(spec.pixels, mean=(0.5, 0.5, 0.5)))),
        "levels": digest(dataclasses.replace(spec, topology=topologies.fpn(4, 5))),
        "augmentation": digest(augmentation=Augmentation()),
        "views": digest(views=3),
        "split": digest(split="val"),
        "data": digest(source=write_coco(tmp_path / "other", train=21, val=5, seed=1)),
    }
    assert digest() == digest() == digest(data_digest=coco.digest())
    assert len({digest(), *others.values()}) == 1 + len(others)
    # What stands on the features takes no part in them.
    assert digest(dataclasses.replace(spec, width=16, repeats=2, topology=topologies.bifpn(3, 5))) == digest()
    copy = write_coco(tmp_path / "copy", train=21, val=5)
    before = digest(source=copy)
    image = next((tmp_path / "copy" / "train2017").iterdir())
    with Image.open(image) as opened:
        size = opened.size
    Image.new("RGB", size).save(image)
    assert digest(source=copy) != before


def test_the_least_recently_used_go_first(coco: Coco, backbone: torch.nn.Module, tmp_path: Path) -> None:
    loaders = [loader_of(coco, seed=seed, views=views) for seed, views in ((0, 1), (0, 2), (0, 3))]

    def keep(views: int, limit_gb: float = 1.0, said: list[str] | None = None) -> Path:
        loader = loaders[views - 1]
        key = feature_key(spec_for(coco), backbone, coco, "train", augmentation=AUGMENTATION, views=views)
        where = FeatureFolder(root=tmp_path, limit_gb=limit_gb)
        found = stored_features(where, key, backbone, loader, say=(said if said is not None else []).append)
        return Path(found.folder)

    one, two = keep(1), keep(2)
    os.utime(two / COMPLETE, (1, 1))  # long ago
    limit = (folder_bytes(one) + layout_of(backbone, loaders[2]).bytes + 20_000) / 1e9
    said: list[str] = []
    three = keep(3, limit, said)
    assert [one.is_dir(), two.exists(), three.is_dir()] == [True, False, True]
    assert sum("least recently used" in line for line in said) == 1
    with pytest.raises(UserError, match=r"the features need .* GB, but .* may hold 1e-06 GB; allowed are fewer views"):
        keep(2, 1e-6)


def test_a_broken_image_is_replaced_as_in_reading(backbone: torch.nn.Module, tmp_path: Path) -> None:
    source = dataclasses.replace(write_coco(tmp_path / "data", train=21, val=5), skip_broken=True)
    (tmp_path / "data" / "train2017" / f"{4:012d}.jpg").write_bytes(b"no image")
    loader = loader_of(source)
    found = stored(tmp_path / "features", backbone, loader)
    assert [found.image(index) for index in range(7)] == [0, 1, 2, 3, 5, 5, 6]
    for cached, read in zip(CachedBatches(loader, found), loader, strict=True):
        assert_same(cached, read, backbone, torch.float16)
    assert list(found.skipped) == list(loader.skipped)
    assert json.loads((found.folder / "key.json").read_text())["views"] == VIEWS


RECIPE = Recipe.short(
    epochs=3, batch_size=8, freeze="backbone", views=VIEWS, jitter=(0.6, 1.4), colour=0.3, eval_every=3, lr=0.01
)


def trained(source: Source, folder: Path, features: FeatureFolder | None, recipe: Recipe = RECIPE, **more: Any) -> Any:
    reports: list[dict[str, Any]] = []
    train(spec_for(source), source, recipe, seed=3, folder=folder, report=reports.append, features=features, **more)
    weights = torch.load(folder / "weights.pt", weights_only=True)["state"]
    return [(each["loss"], each.get("ap")) for each in reports], weights


@pytest.mark.parametrize(
    "recipe", [RECIPE, dataclasses.replace(RECIPE, freeze="none", frozen_epochs=2, backbone_lr=0.1)]
)
def test_training_on_stored_features_is_equal_to_the_bit(coco: Coco, recipe: Recipe, tmp_path: Path) -> None:
    features = FeatureFolder(root=tmp_path / "features")
    reports, weights = trained(coco, tmp_path / "without", None, recipe)
    for folder in (tmp_path / "computing", tmp_path / "stored"):
        found, same = trained(coco, folder, features, recipe)
        assert found == reports
        assert all(torch.equal(weights[name], same[name]) for name in weights)
    assert weights.keys() == build(spec_for(coco)).state_dict().keys()  # a whole detector's


def test_a_trial_takes_the_digest_of_the_data_from_its_driver(coco: Coco, tmp_path: Path) -> None:
    values = {"data": coco.to_dict(), "recipe": dataclasses.replace(RECIPE, epochs=1).to_dict(), "data_digest": "given"}
    places = {"device": "cpu", "threads": 1, "features": str(tmp_path / "features")}
    Training(**values, **places)(spec_for(coco), 0, tmp_path / "trial", lambda metrics: None)
    keys = [json.loads(path.read_text()) for path in (tmp_path / "features").glob("*/key.json")]
    assert [key["data"] for key in keys] == ["given", "given"]


def test_a_frozen_start_leaves_the_backbone_and_then_moves_it_slowly(coco: Coco, tmp_path: Path) -> None:
    def moved(**changes: Any) -> float:
        recipe = dataclasses.replace(RECIPE, freeze="none", ema_decay=0.0, **changes)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        _, weights = trained(coco, folder, None, recipe)
        torch.manual_seed(3)
        first = build(spec_for(coco)).state_dict()
        names = [name for name in first if name.startswith("backbone.") and first[name].dim() == 4]
        return float(np.mean([(weights[name] - first[name]).abs().mean() for name in names]))

    frozen = moved(frozen_epochs=2, epochs=3, views=0)
    slow = moved(frozen_epochs=0, epochs=3, views=0, backbone_lr=0.1)
    fast = moved(frozen_epochs=0, epochs=3, views=0)
    assert 0 < frozen < fast
    assert 0 < slow < fast / 2
    _, weights = trained(coco, tmp_path / "whole", None, dataclasses.replace(RECIPE, ema_decay=0.0))
    torch.manual_seed(3)
    first = build(spec_for(coco)).state_dict()
    assert all(torch.equal(weights[name], first[name]) for name in first if name.startswith("backbone."))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"views": 2, "freeze": "none"}, "recipe.views is 2; allowed is 0 unless the backbone is frozen"),
        ({"frozen_epochs": 1}, "recipe.frozen_epochs is 1; allowed are 0 where freeze is 'backbone'"),
        ({"freeze": "none", "views": 0, "frozen_epochs": 3}, "recipe.frozen_epochs is 3; allowed are 0 to 2"),
        ({"backbone_lr": 0}, "recipe.backbone_lr is 0"),
        ({"colour": 1.0}, "recipe.colour is 1.0"),
        ({"views": -1}, "recipe.views is -1"),
    ],
)
def test_settings_that_do_not_fit_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dataclasses.replace(RECIPE, **changes)
