"""Evaluation of a detector on files: effdet's detections from effdet's weights, and which class is which category."""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.effdet_equality import randomise
from scaling_lab import Coco, Recipe, Shapes, build, load_checkpoint
from scaling_lab.data.batches import batches
from scaling_lab.errors import UserError
from scaling_lab.model.checkpoints import load_with_notes
from scaling_lab.training.evaluation import (
    NO_CATEGORY,
    SUMMARY,
    class_categories,
    evaluate,
    file_category_id,
    predict,
    uncounted_objects,
)
from scaling_lab.training.train import train
from search_spaces.compound import SMALL
from tests.coco_files import write_coco

with warnings.catch_warnings():  # torch.jit.script, which effdet uses, is deprecated
    warnings.simplefilter("ignore")
    from effdet import DetBenchPredict, EfficientDet, get_efficientdet_config
    from effdet.data.transforms import ResizePad

# (width, height) of images whose scale to 192 px is a whole number: no rounding in which two programs could differ.
SQUARE, ALL = [(96, 96), (48, 48)], [(96, 96), (96, 64), (48, 64), (192, 100)]


def _write_images(folder: Path, sizes: list[tuple[int, int]]) -> Coco:
    """Write noise in COCO's layout, with one object of each of three categories; ids as COCO's, with gaps up to 90."""
    (folder / "annotations").mkdir()
    (folder / "val2017").mkdir()
    chance = np.random.default_rng(0)
    images, annotations = [], []
    for number, (width, height) in enumerate(sizes):
        coarse = Image.fromarray(chance.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(folder / "val2017" / f"{number}.jpg")
        images.append({"id": number, "file_name": f"{number}.jpg", "width": width, "height": height})
        for category in (1, 18, 90):
            box = [5.0, 6.0, 30.0, 20.0]
            own = {"image_id": number, "category_id": category, "bbox": box, "area": 600.0, "iscrowd": 0}
            annotations.append({"id": len(annotations) + 1, **own})
    categories = [{"id": number, "name": f"class {number}"} for number in (1, 18, 90)]
    text = json.dumps({"images": images, "annotations": annotations, "categories": categories})
    (folder / "annotations" / "instances_val2017.json").write_text(text)
    return Coco(folder=str(folder))


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("tf_efficientdet_lite0", SQUARE), pytest.param("tf_efficientdet_d0_ap", ALL, marks=pytest.mark.slow)],
)
def test_detections_on_files_are_effdets(name: str, sizes: list[tuple[int, int]], tmp_path: Path) -> None:
    """From JPEG to boxes in the original's pixels: resizing, padding, normalising, network, cutting off, suppressing."""
    source = _write_images(tmp_path, sizes)
    config = get_efficientdet_config(name)
    config.image_size = (192, 192)
    torch.manual_seed(0)
    model = EfficientDet(config, pretrained_backbone=False)
    randomise(model, torch.Generator().manual_seed(0))
    with torch.no_grad():  # noise gives logits of up to 43: scores that are 1.0 in float32 have no order
        model.class_net.predict.conv_pw.weight *= 0.1
    torch.save(model.state_dict(), tmp_path / f"{name}.pth")
    ours = load_checkpoint(None, tmp_path / f"{name}.pth")
    rows_D7 = predict(ours, source, batches(source, "val", image_size=192, batch_size=4, pixels=ours.spec.pixels))

    bench, resize = DetBenchPredict(model.eval()), ResizePad((192, 192))
    for entry in source.entries("val"):
        with Image.open(tmp_path / "val2017" / entry.file_name) as file:
            image, information = resize(file.convert("RGB"), {})
        images_BCHW = (torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255 - 0.5) / 0.5
        sizes_B2 = torch.tensor([entry.size[::-1]], dtype=torch.float32)
        with torch.inference_mode():
            expected_D6 = bench(
                images_BCHW, {"img_scale": torch.tensor([information["img_scale"]]), "img_size": sizes_B2}
            )
        own_D7 = rows_D7[rows_D7[:, 0] == entry.image_id]
        own_D7[:, 3:5] += own_D7[:, 1:3]
        own_D7[:, 6] = [file_category_id(int(number), source) for number in own_D7[:, 6]]
        # Rows, not their order: two of nearly one score may change places, and so may the last and the first left out.
        apart_DD = np.abs(own_D7[:, None, 1:] - expected_D6[0].numpy()[None]).max(axis=2)
        assert apart_DD.shape == (100, 100)
        for nearest_D, scores_D in (
            (apart_DD.min(axis=0), expected_D6[0, :, 4].numpy()),
            (apart_DD.min(axis=1), own_D7[:, 5]),
        ):
            sure_D = scores_D > scores_D.min() + 1e-6
            assert sure_D.sum() >= 98
            assert nearest_D[sure_D].max() < 0.05


def test_a_trained_detectors_weights_give_the_ap_that_training_gave(tmp_path: Path) -> None:
    data, spec = (
        Shapes(train_images=24, val_images=8),
        dataclasses.replace(SMALL.base, num_classes=8, image_size=(64, 64)),
    )
    recipe = Recipe.short(epochs=3, batch_size=8)
    metrics = train(spec, data, recipe, seed=0, folder=tmp_path, report=lambda _: None)
    result = evaluate(load_checkpoint(None, tmp_path / "weights.pt"), data)
    assert result["ar100"] > 0
    assert {name: metrics[name] for name in result} == result


def test_it_gives_the_twelve_numbers_and_says_how_far_it_is(tmp_path: Path) -> None:
    source = write_coco(tmp_path)
    detector = build(dataclasses.replace(SMALL.base, num_classes=3, repeats=1, image_size=(64, 64)))
    seen: list[tuple[int, int]] = []
    result = evaluate(detector, source, batch_size=5, progress=lambda done, total: seen.append((done, total)))
    assert set(result) == {*SUMMARY, "ap_by_class"}
    assert list(result["ap_by_class"]) == list(source.class_names)
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert detector.training  # as it was


def test_a_class_is_a_category(tmp_path: Path) -> None:
    source = _write_images(tmp_path, SQUARE)
    assert class_categories(3, source).tolist() == [1, 2, 3]
    numbers = class_categories(90, source).tolist()
    assert (numbers[0], numbers[17], numbers[89]) == (1, 2, 3)
    # A class that is no category of the data is none of theirs, and keeps its id.
    assert [file_category_id(number, source) for number in numbers] == list(range(1, 91))
    assert len(class_categories(8, Shapes())) == 8
    with pytest.raises(
        UserError, match=r"the detector has 80 classes, but the data have 3 .*; allowed are 3, .* at least 90"
    ):
        class_categories(80, source)
    # Without gaps in the ids there is nothing that says that the classes are the ids.
    with pytest.raises(
        UserError, match=r"the detector has 90 classes, but the data have 8 .*; allowed are 8, one for each"
    ):
        class_categories(90, Shapes())


def test_classes_with_names_are_found_by_them(tmp_path: Path) -> None:
    source = _write_images(tmp_path, SQUARE)
    first, second, third = source.class_names
    assert class_categories(3, source, [third, first, second]).tolist() == [3, 1, 2]
    assert class_categories(3, source, source.class_names).tolist() == [1, 2, 3]
    more = class_categories(5, source, ["x", third, "y", first, second])
    assert more.tolist() == [NO_CATEGORY, 3, NO_CATEGORY, 1, 2]
    # Names are the rule even where the numbers would fit.
    with pytest.raises(UserError, match=rf"in the data, but not in the weights: {first!r}; in the weights, .*: 'x'"):
        class_categories(3, source, ["x", second, third])
    with pytest.raises(UserError, match=rf"{first!r} and ' {first.upper()}' differ only in case, spaces or hyphens"):
        class_categories(3, source, [f" {first.upper()}", second, third])
    with pytest.raises(UserError, match=f"more than once in the weights: {first!r}"):
        class_categories(4, source, [first, second, third, first])


def test_the_order_of_the_classes_and_others_beside_them_change_no_ap(tmp_path: Path) -> None:
    source = write_coco(tmp_path)
    torch.manual_seed(0)
    detector = build(dataclasses.replace(SMALL.base, num_classes=3, repeats=1, image_size=(64, 64))).eval()
    detector.class_names = source.class_names
    torch.save(
        {"spec": detector.spec.to_dict(), "class_names": list(source.class_names), "state": detector.state_dict()},
        tmp_path / "weights.pt",
    )
    loader = list(batches(source, "val", image_size=64, batch_size=4, pixels=detector.spec.pixels))
    expected_D7 = predict(detector, source, loader)
    small, square, disc = source.class_names
    turned = load_with_notes(None, tmp_path / "weights.pt", class_names=(disc, small, square)).detector
    given_D7 = predict(turned, source, loader)
    assert len(given_D7) > 100
    assert np.array_equal(np.sort(given_D7[:, 5:], axis=0), np.sort(expected_D7[:, 5:], axis=0))
    # The data's classes may be some of the weights': what is found of the others is left out.
    detector.class_names = (small, "zebra", disc)
    of_two = dataclasses.replace(source, folder=str(_without_category(tmp_path, square)))
    some_D7 = predict(
        detector, of_two, batches(of_two, "val", image_size=64, batch_size=4, pixels=detector.spec.pixels)
    )
    kept_D7 = expected_D7[np.isin(expected_D7[:, 6], [1, 3])]
    kept_D7[:, 6] = np.where(kept_D7[:, 6] == 3, 2, 1)  # the two that are left are numbered anew
    assert set(some_D7[:, 6]) == set(of_two.category_ids)
    assert np.array_equal(some_D7, kept_D7)


def _without_category(folder: Path, name: str) -> Path:
    """Copy a data set but for the category of a name and its objects."""
    copy = folder / "of_two"
    (copy / "annotations").mkdir(parents=True)
    for split in ("train2017", "val2017"):
        (copy / split).symlink_to(folder / split)
        content = json.loads((folder / "annotations" / f"instances_{split}.json").read_text())
        content["categories"] = [one for one in content["categories"] if one["name"] != name]
        ids = {one["id"] for one in content["categories"]}
        content["annotations"] = [one for one in content["annotations"] if one["category_id"] in ids]
        (copy / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return copy


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; allowed are whole numbers from 1"),
        ({"workers": -1}, "workers is -1; allowed are whole numbers from 0"),
        ({"image_size": (64, 0)}, "image_size is 0; allowed are whole numbers from 1"),
    ],
)
def test_settings_are_checked(settings: dict[str, Any], message: str) -> None:
    detector = build(dataclasses.replace(SMALL.base, num_classes=8))
    with pytest.raises(UserError, match=message):
        evaluate(detector, Shapes(val_images=4), **settings)


def test_held_out_images_with_more_objects_than_detections_count_are_told(tmp_path: Path) -> None:
    source = _write_images(tmp_path, [(96, 96), (96, 64)])
    assert uncounted_objects(source) is None
    path = tmp_path / "annotations" / "instances_val2017.json"
    truth = json.loads(path.read_text())
    truth["annotations"] += [{**truth["annotations"][0], "id": 100 + number} for number in range(98)]
    dense = tmp_path / "dense"
    (dense / "annotations").mkdir(parents=True)
    (dense / "annotations" / path.name).write_text(json.dumps(truth))
    words = uncounted_objects(Coco(folder=str(dense)))
    assert words is not None
    assert words.startswith("1 held-out image has more than 100 objects (up to 101)")
