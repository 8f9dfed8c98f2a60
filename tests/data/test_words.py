"""What --data says: folders with commas, fields by their types, and homes that are nobody's."""

from __future__ import annotations

from pathlib import Path

import pytest

from scaling_lab import Coco, Shapes, Voc
from scaling_lab.data import parse_source
from scaling_lab.errors import UserError


def test_a_folder_may_hold_commas_and_equals_signs(tmp_path: Path) -> None:
    folder = tmp_path / "dä ta, x=1"
    folder.mkdir()
    assert parse_source(f"coco:{folder}") == Coco(folder=str(folder))
    assert parse_source(f"voc:{folder},train=t,skip_broken") == Voc(folder=str(folder), train="t", skip_broken=True)
    (tmp_path / "dä ta").mkdir()
    assert parse_source(f"coco:{folder}") == Coco(folder=str(folder))


@pytest.mark.parametrize("text", ["cut_boxes", "cut_boxes=True", "cut_boxes=true", " cut_boxes = TRUE "])
def test_a_field_is_read_as_its_type_is_written(text: str) -> None:
    assert parse_source(f"coco:x,{text}") == Coco(folder="x", cut_boxes=True)
    assert parse_source("coco:x,cut_boxes=False,train=True") == Coco(folder="x", train="True")
    assert parse_source("shapes,train_images=7,seed=3") == Shapes(train_images=7, seed=3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("coco:x,cut_boxes=yes", "cut_boxes is 'yes'; allowed are True and False"),
        ("coco:x,trian=a", r"has no field 'trian' \(did you mean 'train'\?\)"),
        ("coco:x,train=a,train=b", "--data names the field 'train' twice; allowed is once"),
        ("shapes,seed=" + "9" * 5000, r"seed is '999.*… \(5002 characters\); allowed are whole numbers from 0"),
        ("shapes,seed=1.5", "seed is '1.5'; allowed are whole numbers from 0"),
        ("shapes,seed", "seed is True; allowed are whole numbers from 0"),
        ("coco:x,train", "train is True; allowed is a name"),
        ("coco", "--data is 'coco', which is not a folder; allowed are shapes, a folder, coco:DIR"),
    ],
)
def test_what_cannot_be_read_is_named(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parse_source(text)


def test_a_home_that_nobody_has_is_a_folder_that_is_not_there() -> None:
    with pytest.raises(UserError, match="the folder ~nosuchuser/x does not exist"):
        _ = parse_source("coco:~nosuchuser/x").class_names
