"""Coco: what is on disk comes back, and what is wrong on disk is named in one message."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scaling_lab import Coco
from scaling_lab.data import parse_source, source_from_dict
from scaling_lab.data.batches import batches
from scaling_lab.errors import UserError
from tests.coco_files import CATEGORIES, write_coco

Content = dict[str, Any]


@pytest.fixture
def source(tmp_path: Path) -> Coco:
    return write_coco(tmp_path / "set", train=6, val=5)


def test_a_set_comes_back_as_it_was_written(source: Coco) -> None:
    written = json.loads(source.annotation_file("val").read_text())
    truth = source.ground_truth("val")
    assert source.length("train") == 6
    assert source.length("val") == 5
    assert source.file_category_ids == (3, 7, 44)
    assert source.category_ids == (1, 2, 3)
    assert source.class_names == ("small", "square", "disc")
    assert [image | {"id": source.file_image_id("val", image["id"])} for image in truth["images"]] == written["images"]
    ids = dict(zip(source.category_ids, source.file_category_ids, strict=True))
    assert [category | {"id": ids[category["id"]]} for category in truth["categories"]] == sorted(
        CATEGORIES, key=lambda category: category["id"]
    )
    own = [
        {"image_id": source.file_image_id("val", each["image_id"]), "category_id": ids[each["category_id"]], "id": 0}
        for each in truth["annotations"]
    ]
    assert [annotation | its for annotation, its in zip(truth["annotations"], own, strict=True)] == [
        annotation | {"id": 0} for annotation in written["annotations"]
    ]
    assert [annotation["id"] for annotation in truth["annotations"]] == list(range(1, len(truth["annotations"]) + 1))


def test_crowds_are_kept_as_truth_and_left_out_of_training(source: Coco) -> None:
    crowds = [annotation for annotation in source.ground_truth("train")["annotations"] if annotation["iscrowd"]]
    assert len(crowds) == 1
    trained = sum(len(entry.labels) for entry in source.entries("train"))
    assert trained == len(source.ground_truth("train")["annotations"]) - 1


def test_labels_are_places_in_the_category_ids(source: Coco) -> None:
    truth = source.ground_truth("val")
    for entry in source.entries("val"):
        own = [a for a in truth["annotations"] if a["image_id"] == entry.image_id and not a["iscrowd"]]
        assert [source.category_ids[label] for label in entry.labels] == [a["category_id"] for a in own]
        boxes = np.array([a["bbox"] for a in own]).reshape(-1, 4)
        assert np.allclose(entry.boxes[:, 2:] - entry.boxes[:, :2], boxes[:, 2:], atol=0.02)


def test_a_source_survives_its_dict_and_the_command_line(source: Coco) -> None:
    assert source_from_dict(source.to_dict()) == source == parse_source(f"coco:{source.folder}")
    assert source.describe().endswith("6 images of train2017 and 5 of val2017, 3 classes")


def test_digest_is_of_the_annotations(source: Coco, tmp_path: Path) -> None:
    before = source.digest()
    assert write_coco(tmp_path / "same", train=6, val=5).digest() == before
    assert write_coco(tmp_path / "other", train=6, val=5, seed=1).digest() != before
    change(source, "val", lambda content: content["images"].reverse())
    assert source.digest() != before


def test_samples_show_objects_at_their_own_size(source: Coco) -> None:
    samples = source.samples(3)
    # Image 1007 shows none.
    assert [source.file_image_id("val", image_id) for image_id, _ in samples] == [1000, 1014, 1021]
    for image_id, pixels in samples:
        size = next(i for i in source.ground_truth("val")["images"] if i["id"] == image_id)
        assert pixels.shape == (size["height"], size["width"], 3)
        assert pixels.dtype == np.uint8


def test_a_changed_file_is_read_again(source: Coco) -> None:
    assert source.length("train") == 6
    change(source, "train", lambda content: content["images"].pop(1))
    assert source.length("train") == 5


def test_a_study_loads_where_its_data_are_not() -> None:
    assert Coco(folder="/nowhere/coco").to_dict()["folder"] == "/nowhere/coco"


def change(source: Coco, split: str, edit: Callable[[Content], object]) -> None:
    path = source.annotation_file(split)
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_boxes_without_area_are_truth_but_not_trained_on(source: Coco) -> None:
    trained = sum(len(entry.labels) for entry in source.entries("train"))

    def spoil(content: Content) -> None:
        content["annotations"][0]["bbox"] = [5, 5, 0, 10]
        content["annotations"][1]["bbox"] = [5000, 5, 10, 10]
        content["annotations"][2]["bbox"][2] = 9999

    change(source, "train", spoil)
    entries = dataclasses.replace(source, cut_boxes=True).entries("train")
    assert sum(len(entry.labels) for entry in entries) == trained - 2
    assert all((entry.boxes[:, 2] <= entry.size[1]).all() for entry in entries)


def test_area_and_iscrowd_may_be_left_out(source: Coco) -> None:
    before = source.ground_truth("val")["annotations"][0]

    def thin(content: Content) -> None:
        del content["annotations"][0]["area"], content["annotations"][0]["iscrowd"]

    change(source, "val", thin)
    assert source.ground_truth("val")["annotations"][0] == before


# Each is (what to do to the content, what the message says).
BROKEN: list[tuple[Callable[[Content], object], str]] = [
    (lambda c: c.pop("annotations"), "lacks 'annotations'; allowed is a list"),
    (lambda c: c.update(images={}), "has a dict as 'images'; allowed is a list"),
    (lambda c: c["images"].clear(), "'images' is empty; allowed is one or more"),
    (
        lambda c: c["images"][2].pop("width"),
        "images[2] (id 1014) lacks 'width'; required are id, file_name, width, height",
    ),
    (lambda c: c["images"][1].update(height=0), "images[1] (id 1007) has height 0; allowed is a whole number above 0"),
    (lambda c: c["images"][1].update(id=1000), "images holds the id 1000 twice; allowed is once"),
    (
        lambda c: c["annotations"][3].update(category_id=4),
        "annotations[3] (id 3) has category_id 4; allowed are 3, 7, 44",
    ),
    (
        lambda c: c["annotations"][0].update(image_id=1),
        "annotations[0] (id 0) has image_id 1; allowed are 1000, 1007, 1014",
    ),
    (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), "has bbox [1, 2, 3]; allowed is four finite numbers"),
    (
        lambda c: c["annotations"][0].update(bbox=[1, 2, 3, None]),
        "four finite numbers: x, y, and width and height from 0",
    ),
    (
        lambda c: c["annotations"][5].update(bbox=[1, 2, -3, 4]),
        "annotations[5] (id 5) has bbox [1, 2, -3, 4]; allowed is",
    ),
    (
        lambda c: c["annotations"][5].update(bbox=[1, 2, 3, -4.5]),
        "annotations[5] (id 5) has bbox [1, 2, 3, -4.5]; allow",
    ),
    (
        lambda c: c["annotations"][0].update(bbox=[1, 2, float("nan"), 4]),
        "has bbox [1, 2, nan, 4]; allowed is four fin",
    ),
    (lambda c: c["annotations"][0].update(bbox=[1, 2, 10**400, 4]), "allowed is four finite numbers"),
    (lambda c: c["annotations"][0].update(bbox=["1", 2, 3, 4]), "has bbox ['1', 2, 3, 4]; allowed is four finite"),
    (
        lambda c: c["annotations"][0].pop("bbox"),
        "annotations[0] (id 0) lacks 'bbox'; required are image_id, category_id",
    ),
    (
        lambda c: c["annotations"][0].pop("category_id"),
        "annotations[0] (id 0) lacks 'category_id'; required are image_id",
    ),
    (lambda c: [c["annotations"][0].pop(key) for key in ("id", "bbox")], "annotations[0] lacks 'bbox'"),
    (
        lambda c: c["annotations"][0].update(area=-1),
        "annotations[0] (id 0) has area -1; allowed is a finite number from",
    ),
    (lambda c: c["images"][3].update(width=0), "images[3] (id 1021) has width 0; allowed is a whole number above 0"),
    (
        lambda c: c["images"][3].update(width=64.5),
        "images[3] (id 1021) has width 64.5; allowed is a whole number above",
    ),
    (lambda c: c["annotations"].append(7), "is 7; allowed is an object with image_id, category_id, bbox"),
    (lambda c: c["categories"][0].update(name=""), "categories[0] (id 44) has name ''; allowed is a text"),
    (lambda c: c["categories"][0].update(name="small"), "categories holds the name 'small' twice"),
    (lambda c: c["annotations"][0].update(area="9"), "has area '9'; allowed is a finite number from 0"),
    (lambda c: c["annotations"][0].update(bbox=[1, 2, 1e300, 4]), "width and height from 0, at most 10000000"),
    (lambda c: c["images"][3].update(width=10**400), "allowed is a whole number above 0, up to 1000000"),
    (lambda c: c["annotations"][0].update(iscrowd="no"), "has iscrowd 'no'; allowed is 0 or 1"),
]


@pytest.mark.parametrize(("edit", "message"), BROKEN, ids=[message[:30] for _, message in BROKEN])
def test_broken_annotations_are_named(source: Coco, edit: Callable[[Content], object], message: str) -> None:
    change(source, "val", edit)
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        source.ground_truth("val")
    assert "instances_val2017.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_splits_with_other_categories_are_named(source: Coco) -> None:
    change(source, "train", lambda content: content["categories"].append({"id": 50, "name": "more"}))
    with pytest.raises(UserError, match="only train2017 has the category ids 50; allowed are the same"):
        source.entries("train")


def test_splits_that_name_a_category_otherwise_are_named(source: Coco) -> None:
    # An off-by-one: the same ids, and the names one further.
    def shift(content: Content) -> None:
        names = [category["name"] for category in content["categories"]]
        for category, name in zip(content["categories"], names[1:] + names[:1], strict=True):
            category["name"] = name

    change(source, "train", shift)
    with pytest.raises(
        UserError, match="train2017 calls category 3 'square', but val2017 calls it 'small'; allowed are equal"
    ):
        source.entries("train")


@pytest.mark.parametrize(
    ("bbox", "is_outside"),
    [
        ([-1, 0, 9, 9], False),
        ([-1.01, 0, 9, 9], True),
        ([0, -2, 9, 9], True),
        ([0, 0, 101, 51], False),
        ([92, 0, 9.01, 9], True),
        ([0, 42, 9, 9.01], True),
    ],
)
def test_boxes_outside_the_image_by_more_than_a_pixel_are_named_or_cut(
    source: Coco, bbox: list[float], is_outside: bool
) -> None:
    def write(content: Content) -> None:
        content["images"] = [{"id": 7, "file_name": "a.jpg", "width": 100, "height": 50}]
        box = {"id": 70, "image_id": 7, "category_id": 3}
        content["annotations"] = [box | {"bbox": [5, 5, 9, 9]}, box | {"id": 71, "bbox": bbox}]

    change(source, "train", write)
    message = "annotations[1] (id 71) spans "
    if is_outside:
        with pytest.raises(UserError, match=re.escape(message)) as caught:
            source.entries("train")
        assert "outside its image of 100 x 50 pixels; allowed is up to 1 pixel outside, or any with cut_boxes" in str(
            caught.value
        )
    else:
        source.entries("train")
    cut = dataclasses.replace(source, cut_boxes=True)
    (entry,) = cut.entries("train")
    assert (entry.boxes >= 0).all()
    assert (entry.boxes <= [100, 50, 100, 50]).all()
    assert cut.ground_truth("train")["annotations"][1]["bbox"] == bbox


def test_boxes_outside_are_counted(source: Coco) -> None:
    def spoil(content: Content) -> None:
        for annotation in content["annotations"][:4]:
            annotation["bbox"][0] = -50

    change(source, "val", spoil)
    with pytest.raises(UserError, match=r"annotations\[0\] .*\(and 3 more of val2017\); allowed"):
        source.samples(1)


def test_skip_broken_puts_the_next_image_in_its_place_and_counts(source: Coco) -> None:
    folder = Path(source.folder) / "train2017"
    (folder / "000000000002.jpg").unlink()
    (folder / "000000000003.jpg").write_text("not a picture")
    (folder / "000000000005.jpg").write_bytes((folder / "000000000005.jpg").read_bytes()[:300])
    skipping = dataclasses.replace(source, skip_broken=True)
    orders = []
    for workers in (0, 2):
        loader = batches(skipping, "train", image_size=64, batch_size=2, workers=workers)
        orders.append([image_id for batch in loader for image_id in batch.image_ids])
        assert sorted(Path(file).stem[-1] for file in loader.skipped) == ["2", "3", "5"]
        assert "does not exist" in loader.skipped[str(folder / "000000000002.jpg")]
    # The third and fourth became the fifth; the sixth is the last, so it became the first.
    assert orders[0] == orders[1]
    assert sorted(orders[0]) == [1, 1, 2, 5, 5, 5]


def test_held_out_images_are_never_skipped(source: Coco) -> None:
    (Path(source.folder) / "val2017" / "000000000002.jpg").unlink()
    skipping = dataclasses.replace(source, skip_broken=True)
    with pytest.raises(
        UserError, match=r"000000000002.jpg does not exist, .*skip_broken skips training images only; AP"
    ):
        list(batches(skipping, "val", image_size=64, batch_size=2))


def test_a_set_without_any_whole_image_ends(source: Coco) -> None:
    for path in (Path(source.folder) / "train2017").iterdir():
        path.unlink()
    skipping = dataclasses.replace(source, skip_broken=True)
    with pytest.raises(
        UserError, match=r"none of the 6 training images can be read; the last error: .* does not exist"
    ):
        list(batches(skipping, "train", image_size=64, batch_size=2))


def test_a_wrong_size_is_no_broken_image(source: Coco) -> None:
    change(source, "train", lambda content: content["images"][0].update(width=500))
    skipping = dataclasses.replace(source, skip_broken=True)
    with pytest.raises(UserError, match="but the annotations give 500 x"):
        list(batches(skipping, "train", image_size=64, batch_size=2))


def test_fields_follow_the_folder_on_the_command_line() -> None:
    source = parse_source("coco:/data/mine,train=train,val=valid,skip_broken")
    assert source == Coco(folder="/data/mine", train="train", val="valid", skip_broken=True)
    with pytest.raises(UserError, match=r"Coco has no field 'skip_brocken' \(did you mean 'skip_broken'\?\)"):
        parse_source("coco:/data/mine,skip_brocken")
    with pytest.raises(UserError, match="Coco: skip_broken is 'no'; allowed are True and False"):
        parse_source("coco:/data/mine,skip_broken=no")
    with pytest.raises(UserError, match="allowed are shapes, a folder, coco:DIR, voc:DIR and yolo:DIR"):
        parse_source("coco:")


@pytest.mark.parametrize(("text", "message"), [("{", "is not JSON"), ("[1]", "holds a list"), ("\xff", "is not JSON")])
def test_a_broken_file_is_named(source: Coco, text: str, message: str) -> None:
    source.annotation_file("val").write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=message):
        source.ground_truth("val")


def test_missing_folders_and_files_are_named(source: Coco, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the folder .*none does not exist; allowed is a folder with annotations/"):
        Coco(folder=str(tmp_path / "none")).digest()
    with pytest.raises(
        UserError, match=r"instances_train2014\.json does not exist; allowed is a folder in COCO's layout"
    ):
        Coco(folder=source.folder, train="train2014").length("train")
    with pytest.raises(UserError, match="Coco: folder is ''; allowed is a name"):
        Coco(folder="")
    with pytest.raises(UserError, match="Coco: folder is None; allowed is a name"):
        Coco(folder=None)  # type: ignore[arg-type]
    with pytest.raises(
        UserError, match=r"Coco has no field 'trian' \(did you mean 'train'\?\); allowed are folder, train"
    ):
        Coco(folder="x", trian="y")  # type: ignore[call-arg]
    assert Coco(folder=tmp_path).folder == str(tmp_path)  # type: ignore[arg-type]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("harm", ["missing", "truncated", "text", "size"])
def test_a_broken_image_is_named(source: Coco, harm: str, workers: int) -> None:
    path = Path(source.folder) / "val2017" / "000000000004.jpg"
    if harm == "missing":
        path.unlink()
    elif harm == "truncated":
        path.write_bytes(path.read_bytes()[:-800])
    elif harm == "text":
        path.write_text("not a picture")
    else:
        change(source, "val", lambda content: content["images"][4].update(width=333))
    messages = {
        "missing": "does not exist, but is in the annotations",
        "truncated": "cannot be read as an image: image file is truncated",
        "text": "cannot be read as an image",
        "size": "but the annotations give 333 x",
    }
    with pytest.raises(UserError, match=messages[harm]) as caught:
        list(batches(source, "val", image_size=64, batch_size=2, workers=workers))
    assert "000000000004.jpg" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_images_are_found_before_any_is_decoded(tmp_path: Path) -> None:
    source = write_coco(tmp_path)
    source.check_images("train", "val")
    for name in ("000000000003.jpg", "000000000005.jpg"):
        (tmp_path / "train2017" / name).unlink()
    with pytest.raises(UserError, match=r"000000000003.jpg does not exist, .*image id 1021.*and 1 more of train2017"):
        source.check_images("train", "val")
    dataclasses.replace(source, skip_broken=True).check_images("train", "val")


def test_a_held_out_image_that_is_cut_short_is_found_at_once(tmp_path: Path) -> None:
    source = write_coco(tmp_path)
    path = tmp_path / "val2017" / "000000000004.jpg"
    whole = path.read_bytes()
    path.write_bytes(whole + b"written by a camera")  # no JPEG's end, but all of the image
    source.check_images("val")
    path.write_bytes(whole[:-800])
    with pytest.raises(UserError, match=r"000000000004.jpg cannot be read as an image: .*truncated"):
        source.check_images("val")


# How a camera stores what it marks as upside down, or as to be turned to the right.
TURNS = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}


def store_turned(path: Path, tag: int) -> Image.Image:
    """Store an image as a camera does that marks it as to be turned; give what it shows."""
    exif = Image.Exif()
    exif[0x0112] = tag
    with Image.open(path) as file:
        shown = file.convert("RGB")
    shown.transpose(TURNS[tag]).save(path, quality=95, exif=exif)
    return shown


@pytest.mark.parametrize("tag", TURNS)
def test_images_that_exif_turns_lie_under_their_boxes(source: Coco, tag: int) -> None:
    shown = {e.image_id: store_turned(source.image_path("val", e), tag) for e in source.entries("val")}
    for entry in source.entries("val"):
        found = np.asarray(source.image("val", entry)).astype(int)
        assert np.abs(found - np.asarray(shown[entry.image_id])).mean() < 3
    (first, *_) = batches(source, "val", image_size=64, batch_size=2)
    assert first.sizes_B2.tolist() == [list(entry.size) for entry in source.entries("val")[:2]]
    assert np.abs(source.samples(1)[0][1].astype(int) - np.asarray(shown[1])).mean() < 3
    source.check_images("train", "val")


def test_annotations_of_what_is_stored_are_kept_to(source: Coco) -> None:
    shown = store_turned(source.image_path("val", source.entries("val")[0]), 6)

    def as_stored(content: Content) -> None:
        image = content["images"][0]
        image["width"], image["height"] = image["height"], image["width"]
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] != image["id"]]

    change(source, "val", as_stored)
    entry = source.entries("val")[0]
    found = np.asarray(source.image("val", entry)).astype(int)
    assert np.abs(found - np.asarray(shown.transpose(TURNS[6]))).mean() < 3
    assert source.picture("val", entry).look.turn == "kept"
    assert source.sizes_of([source.image_path("val", entry)]) == {source.image_path("val", entry): entry.size}
    always = dataclasses.replace(source, orientation="exif")
    with pytest.raises(
        UserError, match=r"after rotation by its EXIF tag, but the annotations give .*; orientation=auto follows"
    ):
        always.image("val", entry)
    with pytest.raises(UserError, match="after rotation by its EXIF tag"):
        always.check_images("val")


def test_what_changes_the_pixels_changes_the_digest(source: Coco) -> None:
    digests = {
        dataclasses.replace(source, **change).digest() for change in ({}, {"orientation": "raw"}, {"white": 255})
    }
    assert len(digests) == 3


def test_orientation_and_white_are_fields_of_the_command_line() -> None:
    source = parse_source("coco:/data/mine,orientation=raw,white=4095")
    assert (source.orientation, source.white) == ("raw", 4095.0)  # type: ignore[union-attr]
    assert source_from_dict(source.to_dict()) == source
    with pytest.raises(UserError, match="Coco: white is 'bright'; allowed are finite numbers above 0"):
        parse_source("coco:/data/mine,white=bright")
    with pytest.raises(UserError, match=r"Coco: orientation is True; allowed are auto, exif, raw"):
        parse_source("coco:/data/mine,orientation")


@pytest.mark.parametrize("workers", [0, 1])
def test_whatever_a_decoder_raises_is_skipped_or_named(source: Coco, workers: int) -> None:
    path = source.image_path("train", source.entries("train")[0])
    with Image.open(path) as file:
        file.convert("RGB").save(path, "DDS")
    content = bytearray(path.read_bytes())
    content[80:88] = b"\4\0\0\0????"  # Pillow raises NotImplementedError
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"000000000000.jpg cannot be read as an image: NotImplementedError: "):
        list(batches(source, "train", image_size=64, batch_size=2, workers=workers))
    loader = batches(
        dataclasses.replace(source, skip_broken=True), "train", image_size=64, batch_size=2, workers=workers
    )
    assert sum(len(batch.image_ids) for batch in loader) == 6
    assert list(loader.skipped) == [str(path)]


def test_images_without_a_known_range_are_not_skipped(source: Coco) -> None:
    entry = source.entries("train")[0]
    Image.new("F", entry.size[::-1]).save(source.image_path("train", entry), "TIFF")
    skipping = dataclasses.replace(source, skip_broken=True)
    with pytest.raises(UserError, match="holds floating-point numbers"):
        list(batches(skipping, "train", image_size=64, batch_size=2))
    assert not np.asarray(dataclasses.replace(source, white=1.0).image("train", entry)).any()


# --- what tools write, accepted and said ------------------------------------------------------------------------------


def polygon(box: list[float]) -> list[float]:
    x, y, width, height = box
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def every(part: str, edit: Callable[[Content], object]) -> Callable[[Content], object]:
    return lambda content: [edit(record) for record in content[part]]


def as_segmentation(record: Content) -> None:
    record["segmentation"] = [polygon(record.pop("bbox"))]


def as_floats(content: Content) -> None:
    for record in content["images"]:
        record.update(id=float(record["id"]), width=float(record["width"]))
    for record in content["annotations"]:
        record.update(image_id=float(record["image_id"]), category_id=float(record["category_id"]))
    for record in content["categories"]:
        record["id"] = float(record["id"])


ACCEPTED: list[tuple[Callable[[Content], object], str]] = [
    (every("annotations", lambda record: record.update(iscrowd=record["iscrowd"] or None)), "iscrowd are null"),
    (every("annotations", lambda record: record.update(area=None)), "areas are null"),
    (every("annotations", as_segmentation), "boxes are missing and taken from segmentations"),
    (as_floats, "ids have a decimal point"),
]


@pytest.mark.parametrize(("edit", "words"), ACCEPTED, ids=[words for _, words in ACCEPTED])
def test_what_has_one_meaning_is_accepted_and_counted(
    source: Coco, edit: Callable[[Content], object], words: str
) -> None:
    before = source.ground_truth("val")
    change(source, "val", edit)
    after = source.ground_truth("val")
    assert after["images"] == before["images"]
    for one, other in zip(before["annotations"], after["annotations"], strict=True):
        assert other["bbox"] == pytest.approx(one["bbox"])
        assert {**other, "bbox": 0, "area": 0} == {**one, "bbox": 0, "area": 0}
    assert any(re.match(rf"val2017: \d+ {words}", line) for line in source.remarks())
    assert json.loads(json.dumps(after)) == after


def test_a_mask_in_run_lengths_gives_its_box(source: Coco) -> None:
    image = source.ground_truth("val")["images"][0]
    mask = np.zeros((image["height"], image["width"]), dtype=np.uint8)
    mask[10:30, 20:50] = 1
    columns = mask.flatten(order="F")
    ends = np.flatnonzero(np.diff(columns)) + 1
    counts = np.diff([0, *ends, len(columns)]).tolist()

    def spoil(content: Content) -> None:
        del content["annotations"][0]["bbox"]
        content["annotations"][0]["segmentation"] = {"size": list(mask.shape), "counts": counts}

    change(source, "val", spoil)
    assert source.ground_truth("val")["annotations"][0]["bbox"] == [20, 10, 30, 20]


@pytest.mark.parametrize("segmentation", [[[1, 2]], [["a", 1, 2, 3]], {"counts": 3}, "text", [[1, 2, float("nan"), 4]]])
def test_a_segmentation_without_a_box_is_named(source: Coco, segmentation: Any) -> None:
    def spoil(content: Content) -> None:
        content["annotations"][2].update(bbox=None, segmentation=segmentation)

    change(source, "val", spoil)
    with pytest.raises(UserError, match=r"annotations\[2\] \(id 2\) lacks 'bbox', and its segmentation"):
        source.ground_truth("val")


def read_otherwise(source: Coco, edit: Callable[[Content, Content], list[float]]) -> None:
    """Write every box of the training images another way, from the annotation and its image."""

    def spoil(content: Content) -> None:
        images = {image["id"]: image for image in content["images"]}
        for record in content["annotations"]:
            record["bbox"] = edit(record["bbox"], images[record["image_id"]])

    change(source, "train", spoil)


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda box, image: [box[0], box[1], box[0] + box[2], box[1] + box[3]], "look like corners, x0, y0, x1, y1"),
        (lambda box, image: [box[0] + box[2] / 2, box[1] + box[3] / 2, *box[2:]], "look like centre, width and height"),
        (
            lambda box, image: [side / image[("width", "height")[place % 2]] for place, side in enumerate(box)],
            "look like fractions of the image",
        ),
    ],
)
@pytest.mark.parametrize("cut_boxes", [False, True])
def test_boxes_in_another_form_are_called_so_and_not_trained_on(
    tmp_path: Path, edit: Callable[[Any, Any], list[float]], words: str, cut_boxes: bool
) -> None:
    source = dataclasses.replace(write_coco(tmp_path / "set", train=20, val=2), cut_boxes=cut_boxes)
    read_otherwise(source, edit)
    with pytest.raises(UserError, match=f"the boxes {words}"):
        source.entries("train")


def test_one_box_far_outside_is_only_that(source: Coco) -> None:
    change(source, "train", lambda content: content["annotations"][0]["bbox"].__setitem__(2, 400))
    with pytest.raises(UserError, match=r"spans .* outside its image"):
        source.entries("train")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; allowed is JSON"),
        (b"[" * 100_000, "is nested too deeply"),
        (b'{"images": ' + b"[" * 100_000, "is nested too deeply"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "is not JSON"),
        (b"\xef\xbb\xbf{}", "lacks 'categories'"),
        (b'{"images": [{"id": ' + b"9" * 5000 + b"}]}", "is not JSON"),
        (b"null", "holds a NoneType"),
    ],
)
def test_a_file_that_is_no_annotations_is_one_line(source: Coco, content: bytes, message: str) -> None:
    source.annotation_file("val").write_bytes(content)
    with pytest.raises(UserError) as told:
        source.length("val")
    assert message in str(told.value)
    assert len(str(told.value)) < 400
    assert "\n" not in str(told.value)


def test_ids_of_any_length_are_told_in_messages(source: Coco) -> None:
    change(source, "val", lambda content: content["images"][0].update(id=10**400))
    with pytest.raises(UserError) as told:
        source.length("val")
    assert len(str(told.value)) < 600
