"""What is counted of a data set: against sets written by hand, and against sums that must hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scaling_lab import Coco, Shapes
from scaling_lab.data.duplicates import find_copies
from scaling_lab.data.recognition import parse_source
from scaling_lab.data.summary import copies_of, summarize
from scaling_lab.errors import UserError
from tests.coco_files import write_coco
from tests.export_files import write_export, write_picture
from tests.voc_files import write_voc


def write(folder: Path, boxes: list[list[float]], **more: Any) -> Coco:
    """Write the same annotations of one image of 512 x 256 as both splits; the second of two classes is empty."""
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 512, "height": 256}],
        "categories": [{"id": 0, "name": "thing"}, {"id": 1, "name": "nothing"}],
        "annotations": [{"id": i, "image_id": 1, "category_id": 0, "bbox": box, **more} for i, box in enumerate(boxes)],
    }
    (folder / "annotations").mkdir()
    for split in ("train", "val"):
        (folder / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(content))
    return Coco(folder=str(folder))


@pytest.mark.parametrize(
    ("side", "level"), [(10, "P3"), (32, "P3"), (55, "P3"), (59, "P4"), (64, "P4"), (128, "P5"), (256, "P6")]
)
def test_an_object_belongs_to_the_level_whose_anchor_overlaps_it_most(tmp_path: Path, side: int, level: str) -> None:
    # P3's anchors are 32, 40.3 and 50.8 a side at 512 px, P4's begin at 64; between 50.8 and 64, 57 is halfway.
    source = write(tmp_path, [[0, 0, side, side]])
    counts = summarize(source, "train", 512)["levels"]
    assert counts.pop(level) == 1
    assert set(counts.values()) == {0}


def test_levels_follow_the_image_size(tmp_path: Path) -> None:
    source = write(tmp_path, [[0, 0, 64, 64]])
    found = {size: summarize(source, "train", size)["levels"] for size in (256, 512, 1024)}
    assert [[level for level, count in each.items() if count] for each in found.values()] == [["P3"], ["P4"], ["P5"]]


def test_what_no_anchor_fits_is_counted(tmp_path: Path) -> None:
    # 20 wide and 200 high: the best anchor is half as high as wide at most.
    assert summarize(write(tmp_path, [[0, 0, 20, 200], [0, 0, 12, 12], [0, 0, 45, 90]]), "val", 512)["no_anchor"] == 2


def test_sizes_are_cocos(tmp_path: Path) -> None:
    boxes = [[0, 0, 31, 33], [0, 0, 32, 32], [0, 0, 96, 95], [0, 0, 96, 96], [0, 0, 200, 200]]
    assert summarize(write(tmp_path, boxes), "train", 512)["sizes"] == {"small": 1, "medium": 2, "large": 2}


def test_sizes_are_of_the_files_area(tmp_path: Path) -> None:
    # A mask of COCO's covers less than its box.
    assert summarize(write(tmp_path, [[0, 0, 200, 200]], area=900), "train", 512)["sizes"]["small"] == 1


def test_classes_crowds_and_boxes_outside_are_told(tmp_path: Path) -> None:
    source = write(tmp_path, [[0, 0, 20, 20], [500, 0, 20, 20], [5, 5, 0, 5]])
    found = summarize(source, "train", 512)
    assert found["classes"] == {"thing": 3, "nothing": 0}
    assert found["empty_classes"] == ["nothing"]
    assert found["category_ids"] == [0, 1]
    assert found["without_area"] == 1
    (line,) = found["outside"]
    assert line.endswith("annotations[1] (id 1) spans (500, 0) to (520, 20), outside its image of 512 x 256 pixels")
    assert sum(found["levels"].values()) == 2


def test_a_set_of_crowds_alone_has_no_object(tmp_path: Path) -> None:
    found = summarize(write(tmp_path, [[0, 0, 20, 20]], iscrowd=1), "train", 512)
    assert (found["objects"], found["crowds"], found["images_without_object"]) == (0, 1, 1)
    assert sum(found["sizes"].values()) == sum(found["levels"].values()) == found["no_anchor"] == 0
    assert found["empty_classes"] == ["thing", "nothing"]


@pytest.mark.parametrize("kind", ["shapes", "coco", "voc"])
def test_sums_agree(tmp_path: Path, kind: str) -> None:
    writers = {"coco": write_coco, "voc": write_voc}
    shapes = Shapes(train_images=9, val_images=5)
    source = shapes if kind == "shapes" else writers[kind](tmp_path / kind, train=9, val=5)
    for split, images in (("train", 9), ("val", 5)):
        found = summarize(source, split, 512)
        truth = source.ground_truth(split)
        assert found["images"] == images
        assert found["objects"] + found["crowds"] == len(truth["annotations"])
        assert found["objects"] == sum(found["classes"].values()) == sum(found["sizes"].values())
        assert found["objects"] == sum(found["levels"].values())
        assert list(found["classes"]) == list(source.class_names)
        width, height = found["image_sizes"]["largest"]
        assert width * height == max(image["width"] * image["height"] for image in truth["images"])
        assert found["crowds"] == (0 if kind == "shapes" else 1)


def test_a_folder_is_told_by_its_content(tmp_path: Path) -> None:
    coco, voc = write_coco(tmp_path / "coco", train=1, val=1), write_voc(tmp_path / "kit" / "VOC2007", train=1, val=1)
    assert parse_source(coco.folder) == coco
    assert parse_source(voc.folder) == voc
    assert parse_source(f"voc:{voc.folder},cut_boxes").to_dict()["cut_boxes"] is True
    assert parse_source("shapes") == Shapes()
    with pytest.raises(UserError, match=r"is in no known data format; .*; .*kit/VOC2007 is such a folder"):
        parse_source(str(tmp_path / "kit"))
    with pytest.raises(
        UserError,
        match="--data is 'nowhere', which is not a folder; allowed are shapes, a folder, coco:DIR, voc:DIR and yolo:DIR",
    ):
        parse_source("nowhere")


def test_splits_are_told_by_their_names(tmp_path: Path) -> None:
    coco = write_coco(tmp_path / "coco", train=1, val=1)
    for split, name in (("train", "train_mine"), ("val", "valid")):
        coco.annotation_file(split).rename(tmp_path / "coco" / "annotations" / f"instances_{name}.json")
    assert parse_source(coco.folder) == Coco(folder=coco.folder, train="train_mine", val="valid")
    with pytest.raises(UserError, match=r"does not exist; .*\(there are train_mine, valid\)"):
        coco.length("val")


def test_copies_are_found_by_their_content(tmp_path: Path) -> None:
    for split, numbers in (("train", (0, 1, 0, 2)), ("val", (3, 1, 3, 0))):
        write_export(tmp_path / f"{split}.json", tmp_path / split)
        for place, number in enumerate(numbers):
            write_picture(tmp_path / split / f"im{place:03d}.png", number)
    copies = copies_of(parse_source(str(tmp_path)))
    assert copies.within == {"train": [[0, 2]], "val": [[0, 2]]}
    assert sorted(copies.across) == [(0, 3), (1, 1)]


def test_files_of_one_size_are_no_copies_and_missing_ones_are_none(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"0" * 10_000)
    (tmp_path / "b").write_bytes(b"1" + b"0" * 9_999)
    paths = [tmp_path / name for name in ("a", "b", "c", "c")]
    found = find_copies(paths, [])
    assert found.within == {"train": [], "val": []}
    assert found.across == []


def test_boxes_twice_and_the_most_of_an_image_are_counted(tmp_path: Path) -> None:
    found = summarize(write(tmp_path, [[0, 0, 20, 20], [0, 0, 20, 20], [5, 5, 10, 5]]), "train", 512)
    assert (found["twice"], found["most_objects"]) == (1, 3)
