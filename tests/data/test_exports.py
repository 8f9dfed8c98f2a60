"""What other tools export for COCO's format and VOC's is recognised from the folder alone, and read right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scaling_lab import Coco, Voc
from scaling_lab.data import Source, parse_source
from scaling_lab.errors import UserError
from tests.export_files import BOXES, HEIGHT, NAMES, WIDTH, coco_content, write_export, write_picture
from tests.voc_files import annotation, voc_object

ROBOFLOW = [
    {"id": 0, "name": "lights", "supercategory": "none"},
    {"id": 1, "name": "red", "supercategory": "lights"},
    {"id": 2, "name": "green", "supercategory": "lights"},
]


def is_whole(source: Source, train: int = 4, val: int = 4) -> None:
    """Check that both splits have their images and the boxes that were written."""
    source.check_images("train", "val")
    assert (source.length("train"), source.length("val")) == (train, val)
    assert source.class_names == NAMES
    for split in ("train", "val"):
        boxes = [tuple(each["bbox"]) for each in source.ground_truth(split)["annotations"]]
        assert boxes == [pytest.approx(box, abs=0.001) for _ in range(source.length(split)) for box in BOXES]


def two_splits(root: Path, file: str, images: str, train: str, val: str, **changes: Any) -> None:
    for split, seed in ((train, 0), (val, 100)):
        write_export(root / file.format(split), root / images.format(split), seed=seed, **changes)


@pytest.mark.parametrize(
    ("file", "images", "train", "val"),
    [
        ("annotations/instances_{}.json", "images/{}", "Train", "Validation"),  # CVAT with subsets
        ("annotations/instances_{}.json", "{}", "train2017", "val2017"),
        ("annotations/{}.json", "{}", "train", "val"),
        ("annotations/{}.json", "images", "train", "test"),
        ("{}/_annotations.coco.json", "{}", "train", "valid"),  # Roboflow
        ("{}/labels.json", "{}/data", "train", "validation"),  # FiftyOne, a folder a split
        ("{}/result.json", "{}/images", "train", "val"),
        ("{}.json", "{}", "train", "val"),
        ("{}.json", "images", "train", "val"),
        ("{}.json", ".", "train", "val"),  # beside the images
    ],
)
def test_two_splits_are_found(tmp_path: Path, file: str, images: str, train: str, val: str) -> None:
    two_splits(tmp_path, file, images, train, val)
    source = parse_source(str(tmp_path))
    assert isinstance(source, Coco)
    assert (source.train, source.val) == (train, val)
    is_whole(source)
    assert parse_source(f"coco:{tmp_path}") == source
    assert source.describe().endswith(f"4 images of {train} and 4 of {val}, 2 classes")


@pytest.mark.parametrize(
    ("file", "images", "prefix"),
    [
        ("annotations/instances_default.json", "images", ""),  # CVAT
        ("result.json", "images", "images/"),  # Label Studio
        ("result.json", "images", "../../label-studio/data/media/"),
        ("labels.json", "data", ""),  # FiftyOne
        ("annotations.json", "JPEGImages", "JPEGImages/"),  # labelme2coco
        ("mine.json", ".", ""),
    ],
)
def test_one_file_is_divided_by_the_names_of_its_images(tmp_path: Path, file: str, images: str, prefix: str) -> None:
    write_export(tmp_path / file, tmp_path / images, count=10, prefix=prefix)
    with pytest.raises(UserError, match=r"no held-out ones; --data (.*),val_fraction=0\.2 holds out a fifth") as told:
        parse_source(str(tmp_path))
    advice = str(told.value).partition("--data ")[2].split()[0]
    source = parse_source(advice)
    is_whole(source, train=8, val=2)
    names = {split: {entry.file_name for entry in source.entries(split)} for split in ("train", "val")}
    assert len(names["train"] | names["val"]) == 10
    assert {entry.file_name for entry in parse_source(advice).entries("val")} == names["val"]
    for split in names:
        for entry in source.entries(split):
            content = json.loads((tmp_path / file).read_text())
            (record,) = [image for image in content["images"] if image["file_name"] == entry.file_name]
            assert source.file_image_id(split, entry.image_id) == record["id"]


def test_versions_of_one_image_are_held_out_together(tmp_path: Path) -> None:
    names = [f"photo{number // 3}_jpg.rf.{number:032x}.png" for number in range(12)]
    for number, name in enumerate(names):
        write_picture(tmp_path / "train" / name, number)
    (tmp_path / "train" / "_annotations.coco.json").write_text(json.dumps(coco_content(names)))
    source = parse_source(f"{tmp_path},val_fraction=0.25")
    of = {split: {entry.file_name.split(".rf.")[0] for entry in source.entries(split)} for split in ("train", "val")}
    assert not of["train"] & of["val"]
    assert (source.length("train"), source.length("val")) == (9, 3)


def test_a_file_may_be_named_itself(tmp_path: Path) -> None:
    write_export(tmp_path / "labels" / "a.json", tmp_path / "photos", seed=0)
    write_export(tmp_path / "labels" / "b.json", tmp_path / "photos", seed=100)
    is_whole(parse_source(f"coco:{tmp_path},train=labels/a.json,val=labels/b.json,images=photos"))
    write_export(tmp_path / "one.json", tmp_path / "images", count=5)
    is_whole(parse_source(f"{tmp_path / 'one.json'},val_fraction=0.2"), train=4, val=1)


def test_roboflows_first_class_is_left_out_where_no_object_is_of_it(tmp_path: Path) -> None:
    two_splits(tmp_path, "{}/_annotations.coco.json", "{}", "train", "valid", categories=ROBOFLOW)
    source = parse_source(str(tmp_path))
    is_whole(source)
    assert source.file_category_ids == (1, 2)
    assert [label for entry in source.entries("train") for label in entry.labels] == [0, 1] * 4
    (line,) = source.remarks()
    assert line.startswith("class 'lights' is left out")

    path = tmp_path / "valid" / "_annotations.coco.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["category_id"] = 0
    path.write_text(json.dumps(content))
    assert source.class_names == ("lights", "red", "green")
    assert [label for entry in source.entries("train") for label in entry.labels] == [1, 2] * 4


def test_roboflows_first_class_may_have_the_name_of_the_only_one(tmp_path: Path) -> None:
    categories = [
        {"id": 0, "name": "light", "supercategory": "none"},
        {"id": 1, "name": "light", "supercategory": "light"},
    ]
    annotations = [{**each, "category_id": 1} for each in coco_content(["a"] * 4)["annotations"]]
    changes = {"categories": categories, "annotations": annotations}
    two_splits(tmp_path, "{}/_annotations.coco.json", "{}", "train", "valid", **changes)
    assert parse_source(str(tmp_path)).class_names == ("light",)


def test_captions_and_other_json_are_no_splits(tmp_path: Path) -> None:
    two_splits(tmp_path, "annotations/{}.json", "{}", "train", "val")
    (tmp_path / "annotations" / "captions_train.json").write_text('{"images": [], "annotations": []}')
    (tmp_path / "annotations" / "info.json").write_text("{}")
    (tmp_path / "package.json").write_text("")
    is_whole(parse_source(str(tmp_path)))


def test_splits_of_other_names_are_asked_for(tmp_path: Path) -> None:
    two_splits(tmp_path, "{}.json", "{}", "day", "night")
    with pytest.raises(UserError, match=r"has the splits day, night, but none that begins with train; name them"):
        parse_source(str(tmp_path))
    is_whole(parse_source(f"{tmp_path},train=day,val=night"))


def test_a_held_out_split_alone_is_enough_to_evaluate(tmp_path: Path) -> None:
    write_export(tmp_path / "val.json", tmp_path / "val")
    source = parse_source(str(tmp_path))
    assert source.length("val") == 4
    with pytest.raises(UserError, match=r"instances_train2017\.json does not exist; .*\(there are val\)"):
        source.length("train")


def test_labelmes_own_files_are_called_so(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"version": "5", "shapes": [], "imagePath": "a.jpg"}')
    with pytest.raises(UserError, match="holds labelme files, one JSON for each image"):
        parse_source(str(tmp_path))


# --- VOC -------------------------------------------------------------------------------------------------------------


def write_xml(root: Path, folder: str, images: str, ending: str, seed: int) -> list[str]:
    names = [f"im{seed + place:03d}" for place in range(4)]
    (root / folder).mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(names):
        write_picture(root / images / f"{name}{ending}", seed + place)
        objects = [
            voc_object(label, x + 1, y + 1, x + width, y + height)
            for label, (x, y, width, height) in zip(NAMES, BOXES, strict=True)
        ]
        (root / folder / f"{name}.xml").write_text(annotation(WIDTH, HEIGHT, *objects))
    return names


def voc_is_whole(source: Source) -> None:
    assert isinstance(source, Voc)
    assert source.classes == "found"
    source.check_images("train", "val")
    assert source.class_names == ("green", "red")
    assert (source.length("train"), source.length("val")) == (4, 4)
    assert [tuple(each["bbox"]) for each in source.ground_truth("val")["annotations"]][:2] == list(BOXES)


@pytest.mark.parametrize("ending", [".JPG", ".bmp", ".tif", ".ppm", ".jfif"])
def test_voc_takes_any_ending_and_classes_of_its_own(tmp_path: Path, ending: str) -> None:
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    for split, seed in (("train", 0), ("val", 100)):
        ext = ending if ending != ".jfif" else ".jpg"
        names = write_xml(tmp_path, "Annotations", "JPEGImages", ext, seed)
        for name in names:
            (tmp_path / "JPEGImages" / f"{name}{ext}").rename(tmp_path / "JPEGImages" / f"{name}{ending}")
        (tmp_path / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names))
    voc_is_whole(parse_source(str(tmp_path)))


def test_lists_of_one_class_are_splits_where_there_are_no_others(tmp_path: Path) -> None:
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    for split, seed in (("cat_train", 0), ("cat_val", 100)):
        names = write_xml(tmp_path, "Annotations", "JPEGImages", ".png", seed)
        lines = "".join(f"{name} {flag:2d}\n" for name, flag in zip(names, (1, -1, 0, 1), strict=True))
        (tmp_path / "ImageSets" / "Main" / f"{split}.txt").write_text(lines)
    voc_is_whole(parse_source(f"{tmp_path},train=cat_train,val=cat_val"))
    assert Voc.splits_in(tmp_path) == ["cat_train", "cat_val"]


@pytest.mark.parametrize("images", ["{}", "images"])
def test_folders_of_xml_files_are_splits(tmp_path: Path, images: str) -> None:
    for split, seed in (("train", 0), ("valid", 100)):  # Roboflow
        write_xml(tmp_path, split, images.format(split), ".png", seed)
    voc_is_whole(parse_source(str(tmp_path)))


def test_one_folder_of_xml_files_is_divided(tmp_path: Path) -> None:
    write_xml(tmp_path, "Annotations", "images", ".png", 0)
    source = parse_source(f"{tmp_path},val_fraction=0.5")
    source.check_images("train", "val")
    assert (source.length("train"), source.length("val")) == (2, 2)


# --- names of files --------------------------------------------------------------------------------------------------


def renamed(root: Path, rename: Callable[[str], str], on_disk: Callable[[str], str] = str) -> Coco:
    """Write a set whose file names are changed in the JSON, and on the disk."""
    two_splits(root, "annotations/instances_{}.json", "{}", "train", "val")
    for split in ("train", "val"):
        path = root / "annotations" / f"instances_{split}.json"
        content = json.loads(path.read_text())
        for image in content["images"]:
            name = image["file_name"]
            image["file_name"] = rename(name) if "{}" not in rename("") else rename(name).format(split)
            there = root / split / on_disk(name)
            there.parent.mkdir(parents=True, exist_ok=True)
            (root / split / name).rename(there)
        path.write_text(json.dumps(content))
    return Coco(folder=str(root), train="train", val="val")


@pytest.mark.parametrize(
    ("rename", "on_disk", "words"),
    [
        (
            lambda name: f"a\\{name}",
            lambda name: f"a/{name}",
            r"4 file names are read with / for \: a\im000.png is train/a",
        ),
        (lambda name: f"{{}}/{name}", str, "from the data set's folder: train/im000.png is train/im000.png"),
        (lambda name: f"/home/me/set/{name}", str, "without their leading folders: /home/me/set/im000.png is"),
        (lambda name: f"C:\\me\\{name}", str, "without their leading folders"),
        (lambda name: f"https://example.org/x/{name}?sig=1", str, "without their leading folders"),
        (str.upper, str, "in another letter case or spelling: IM000.PNG is train/im000.png"),
        (lambda name: f"e\u0301_{name}", lambda name: f"\u00e9_{name}", "in another letter case or spelling"),
        (lambda name: f"my%20{name}", lambda name: f"my {name}", "in another letter case or spelling"),
        (lambda name: f"{name} ", str, "in another letter case or spelling"),
        (lambda name: name[:-4], str, "with another ending: im000 is train/im000.png"),
        (lambda name: name.replace(".png", ".jpg"), str, "with another ending"),
        (str, lambda name: f"deep/{name}", "from another folder: im000.png is train/deep/im000.png"),
    ],
)
def test_a_name_that_means_one_file_is_read_so_and_said(
    tmp_path: Path, rename: Callable[[str], str], on_disk: Callable[[str], str], words: str
) -> None:
    source = renamed(tmp_path, rename, on_disk)
    is_whole(source)
    assert source.image("val", source.entries("val")[0]).size == (WIDTH, HEIGHT)
    first, second = source.remarks()
    assert words in first
    assert first.startswith("train: 4 file names")
    assert second.startswith("val: 4 file names")


def test_a_name_that_could_mean_two_files_is_not_guessed(tmp_path: Path) -> None:
    source = renamed(tmp_path, str.upper, str)
    write_picture(tmp_path / "train" / "Im001.png", 7)
    with pytest.raises(
        UserError, match=r"IM001\.PNG does not exist.*train/Im001\.png and train/im001\.png would match"
    ):
        source.check_images("train")


def test_two_names_do_not_get_one_file(tmp_path: Path) -> None:
    source = renamed(tmp_path, lambda name: f"{name[-5:-4]}/im000.png")
    with pytest.raises(UserError, match=r"im000\.png would match without their leading folders"):
        source.check_images("train")


def test_a_missing_image_is_not_taken_from_the_other_split(tmp_path: Path) -> None:
    source = renamed(tmp_path, str)
    (tmp_path / "train" / "im002.png").unlink()
    write_picture(tmp_path / "val" / "im002.png", 7)
    with pytest.raises(
        UserError, match=r"train/im002\.png does not exist.*; val/im002\.png would match from another folder"
    ):
        source.check_images("train")


@pytest.mark.parametrize("name", ["a\0b.png", "\ud800.png", "..", "x" * 300, "\x1b[31m.png", ""])
def test_names_that_no_file_can_have_are_one_line(tmp_path: Path, name: str) -> None:
    content = coco_content([name or "a", "b"])
    if not name:
        content["images"][0]["file_name"] = " "
    (tmp_path / "annotations").mkdir()
    for split in ("train", "val"):
        (tmp_path / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    source = Coco(folder=str(tmp_path), train="train", val="val")
    with pytest.raises(UserError) as told:
        source.image("val", source.entries("val")[0])
    assert str(told.value).isprintable()
