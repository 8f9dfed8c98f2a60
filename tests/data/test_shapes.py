"""Shapes as a data source: settings, ground truth, samples."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from scaling_lab import Shapes
from scaling_lab.data import parse_source, source_from_dict
from scaling_lab.errors import UserError


@pytest.mark.parametrize(("field", "value"), [("train_images", 0), ("val_images", "9"), ("seed", -1), ("seed", 1.5)])
def test_wrong_settings_are_named(field: str, value: object) -> None:
    with pytest.raises(UserError, match=f"{field} is {value!r}; allowed are whole numbers from"):
        Shapes(**{field: value})  # type: ignore[arg-type]


def test_a_source_survives_its_dict() -> None:
    source = Shapes(train_images=10, val_images=3, seed=5)
    assert source_from_dict(source.to_dict()) == source
    assert parse_source("shapes") == Shapes()
    assert parse_source("shapes,train_images=10,val_images=3,seed=5") == source


@pytest.mark.parametrize("text", ["shape", "coco", "coco:", "shapes:3", ""])
def test_an_unknown_source_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="allowed are shapes, coco:DIR and voc:DIR"):
        parse_source(text)


def test_unknown_kinds_and_fields_are_refused() -> None:
    with pytest.raises(UserError, match="'yolo'; allowed are shapes, coco, voc"):
        source_from_dict({"kind": "yolo"})
    with pytest.raises(UserError, match="Shapes has no field 'colour'; allowed are train_images, val_images, seed"):
        source_from_dict({"kind": "shapes", "colour": 3})
    with pytest.raises(UserError, match=r"no field 'train_image' \(did you mean 'train_images'\?\)"):
        Shapes(train_image=3)  # type: ignore[call-arg]
    with pytest.raises(UserError, match="Shapes has no field 'kind'"):
        Shapes(kind="shapes")  # type: ignore[call-arg]
    with pytest.raises(UserError, match="Shapes: seed is -1; allowed are whole numbers from 0"):
        parse_source("shapes,seed=-1")
    with pytest.raises(UserError, match="Shapes: seed is True; allowed are whole numbers from 0"):
        parse_source("shapes,seed")
    with pytest.raises(UserError, match="Shapes has no field 'images'"):
        parse_source("shapes,images=3")


def test_digest_names_the_images() -> None:
    assert Shapes().digest() == Shapes().digest()
    assert len({Shapes().digest(), Shapes(seed=1).digest(), Shapes(train_images=8).digest()}) == 3


def test_ground_truth_is_in_coco_format() -> None:
    source = Shapes(train_images=4, val_images=20)
    truth = source.ground_truth("val")
    assert [image["id"] for image in truth["images"]] == list(range(1, 21))
    assert [category["id"] for category in truth["categories"]] == list(source.category_ids) == list(range(1, 9))
    assert [category["name"] for category in truth["categories"]] == list(source.class_names)
    for annotation in truth["annotations"]:
        x, y, width, height = annotation["bbox"]
        assert x >= 0
        assert y >= 0
        assert x + width <= 192
        assert y + height <= 192
        assert annotation["area"] == width * height
        # COCO's "small" is exactly the objects whose class is their context.
        assert (annotation["area"] < 32 * 32) == (annotation["category_id"] <= 4)


def test_more_images_keep_the_earlier_ones() -> None:
    few, many = Shapes(val_images=5).ground_truth("val"), Shapes(val_images=9).ground_truth("val")
    assert few["annotations"] == many["annotations"][: len(few["annotations"])]


def test_samples_are_always_the_same() -> None:
    samples = Shapes(val_images=3).samples(8)
    assert [image_id for image_id, _ in samples] == [1, 2, 3]
    assert samples[0][1].shape == (192, 192, 3)
    assert samples[0][1].dtype == np.uint8
    assert (Shapes().samples(1)[0][1] == samples[0][1]).all()


def test_sources_import_no_torch() -> None:
    code = "import sys, scaling_lab.data, scaling_lab.data.coco; assert not {'torch', 'ray', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
