"""Voc: boxes become COCO's, difficult objects crowds, and what is wrong in a file is named with the file and the object."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scaling_lab import Voc
from scaling_lab.data import parse_source, source_from_dict
from scaling_lab.data.batches import batches
from scaling_lab.data.voc import VOC_CLASSES
from scaling_lab.errors import UserError
from scaling_lab.training.evaluation import average_precision
from tests.voc_files import annotation, voc_object, write_voc


@pytest.fixture
def source(tmp_path: Path) -> Voc:
    return write_voc(tmp_path / "VOC2007", train=5, val=4)


def put(source: Voc, name: str, text: str | bytes) -> None:
    path = Path(source.folder) / "Annotations" / f"{name}.xml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def list_split(source: Voc, split: str, text: str) -> None:
    (Path(source.folder) / "ImageSets" / "Main" / f"{split}.txt").write_text(text)


def test_a_set_has_vocs_classes_and_its_own_images(source: Voc) -> None:
    truth = source.ground_truth("val")
    assert source.class_names == VOC_CLASSES
    assert source.category_ids == tuple(range(1, 21))
    assert (source.length("train"), source.length("val")) == (5, 4)
    names = [(image["id"], image["file_name"]) for image in truth["images"]]
    assert names == [(1, "000500.jpg"), (2, "000503.jpg"), (3, "000506.jpg"), (4, "000509.jpg")]
    assert (truth["images"][1]["width"], truth["images"][1]["height"]) == (140, 110)
    assert source.describe().endswith("VOC2007: 5 images of train and 4 of val, 20 classes")
    assert len(source.entries("val")[1].labels) == 0


def test_boxes_hold_their_first_and_last_pixel(source: Voc) -> None:
    put(source, "000500", annotation(130, 100, voc_object("dog", 1, 1, 130, 100), voc_object("cat", 10, 21.5, 10, 30)))
    truth = source.ground_truth("val")["annotations"]
    assert [(a["bbox"], a["area"], a["category_id"]) for a in truth[:2]] == [
        ([0, 0, 130, 100], 13000, 12),
        ([9, 20.5, 1, 9.5], 9.5, 8),
    ]
    assert source.entries("val")[0].boxes.tolist() == [[0, 0, 130, 100], [9, 20.5, 10, 30]]
    assert [VOC_CLASSES[label] for label in source.entries("val")[0].labels] == ["dog", "cat"]


def test_pixels_counted_from_0_are_let_pass(source: Voc) -> None:
    put(source, "000500", annotation(130, 100, voc_object("dog", 0, 0, 129, 99)))
    assert source.entries("val")[0].boxes.tolist() == [[0, 0, 129, 99]]


def test_boxes_stand_where_the_objects_are_drawn(source: Voc) -> None:
    # Objects are at least .22 darker or lighter than what is around them.
    checked = 0
    for entry in source.entries("train"):
        pixels = np.asarray(source.image("train", entry).convert("L"), dtype=float)
        for x0, y0, x1, y1 in entry.boxes.astype(int).tolist():
            middle = (y0 + y1) // 2
            if min(x1 - x0, y1 - y0) < 30 or x0 < 4:
                continue
            inside, outside = pixels[middle, x0 + 2 : x0 + 5].mean(), pixels[middle, x0 - 4 : x0 - 1].mean()
            checked += abs(inside - outside) > 20
    assert checked >= 2


def test_difficult_objects_are_crowds(source: Voc) -> None:
    crowds = [a for a in source.ground_truth("val")["annotations"] if a["iscrowd"]]
    assert [a["image_id"] for a in crowds] == [3]
    trained = sum(len(entry.labels) for entry in source.entries("val"))
    assert trained == len(source.ground_truth("val")["annotations"]) - 1
    assert [a["id"] for a in source.ground_truth("val")["annotations"]] == list(range(1, trained + 2))


def test_finding_or_missing_a_difficult_object_changes_no_ap(source: Voc) -> None:
    truth = source.ground_truth("val")
    rows = np.array([[a["image_id"], *a["bbox"], 0.9, a["category_id"]] for a in truth["annotations"]], dtype=float)
    crowd = np.array([bool(a["iscrowd"]) for a in truth["annotations"]])
    # The difficult one first, so that it would hurt were it counted as wrong.
    rows[crowd, 5] = 0.95
    for found in (rows, rows[~crowd]):
        assert average_precision(truth, found)["ap"] == pytest.approx(100)


def test_a_source_survives_its_dict_and_the_command_line(source: Voc) -> None:
    other = Voc(folder=source.folder, train="val", classes=["cat", "dog", "sofa"])  # type: ignore[arg-type]
    for each in (source, other):
        assert source_from_dict(json.loads(json.dumps(each.to_dict()))) == each
    assert parse_source(f"voc:{source.folder}") == source
    assert parse_source("voc:/x,train=trainval,classes=found") == Voc(folder="/x", train="trainval", classes="found")


def test_classes_are_declared_or_found(source: Voc) -> None:
    declared = dataclasses.replace(source, classes=("sofa", "dog", "cat"))
    assert declared.class_names == ("sofa", "dog", "cat")
    assert declared.ground_truth("val")["categories"][2] == {"id": 3, "name": "cat"}
    put(source, "000003", annotation(140, 110, voc_object("zebra", 5, 5, 50, 50)))
    found = dataclasses.replace(source, classes="found")
    assert found.class_names == ("cat", "dog", "sofa", "zebra")
    # Held-out images number the classes as the training images do, whichever show them.
    assert found.ground_truth("val")["categories"] == found.ground_truth("train")["categories"]


def test_an_unknown_class_is_named(source: Voc) -> None:
    put(source, "000003", annotation(140, 110, voc_object("dog", 5, 5, 50, 50), voc_object("catt", 5, 5, 50, 50)))
    with pytest.raises(
        UserError, match=r"000003\.xml: object 2 \(catt\) has an unknown class \(did you mean 'cat'\?\)"
    ):
        source.entries("train")


def test_batches_are_vocs(source: Voc) -> None:
    for workers in (0, 1):
        (batch,) = batches(source, "val", image_size=64, batch_size=4, workers=workers)
        assert batch.image_ids == [1, 2, 3, 4]
        assert batch.sizes_B2.tolist() == [[100, 130], [110, 140], [120, 150], [130, 160]]
        wanted = source.entries("val")[0]
        count = len(wanted.labels)
        assert batch.labels_BN[0, :count].tolist() == wanted.labels.tolist()
        assert np.allclose(batch.boxes_BN4[0, :count] / batch.scales_B[0], wanted.boxes, atol=0.02)


def test_names_may_have_blanks(source: Voc) -> None:
    folder = Path(source.folder)
    (folder / "JPEGImages" / "000500.jpg").rename(folder / "JPEGImages" / "my dog 1.jpg")
    (folder / "Annotations" / "000500.xml").rename(folder / "Annotations" / "my dog 1.xml")
    list_split(source, "val", "my dog 1\n000503\n")
    assert [entry.file_name for entry in source.entries("val")] == ["my dog 1.jpg", "000503.jpg"]


def test_images_may_have_another_ending(source: Voc) -> None:
    folder = Path(source.folder) / "JPEGImages"
    source.image("val", source.entries("val")[0]).save(folder / "000500.png")
    (folder / "000500.jpg").unlink()
    assert source.entries("val")[0].file_name == "000500.png"
    assert source.image("val", source.entries("val")[0]).size == (130, 100)


def test_a_missing_image_is_named_or_skipped(source: Voc) -> None:
    (Path(source.folder) / "JPEGImages" / "000006.jpg").unlink()
    with pytest.raises(UserError, match=r"000006\.jpg does not exist, but is in the annotations"):
        list(batches(source, "train", image_size=64, batch_size=5))
    loader = batches(dataclasses.replace(source, skip_broken=True), "train", image_size=64, batch_size=5)
    (batch,) = loader
    assert sorted(batch.image_ids) == [1, 2, 4, 4, 5]
    assert [Path(file).name for file in loader.skipped] == ["000006.jpg"]


def test_digest_is_of_lists_classes_and_xml(source: Voc, tmp_path: Path) -> None:
    same = write_voc(tmp_path / "same", train=5, val=4)
    assert same.digest() == source.digest()
    digests = {source.digest(), dataclasses.replace(source, classes="found").digest()}
    digests.add(dataclasses.replace(source, train="val").digest())
    other = write_voc(tmp_path / "other", train=5, val=4)
    put(other, "000500", annotation(130, 100, voc_object("dog", 1, 1, 130, 100)))
    digests.add(other.digest())
    assert len(digests) == 4


def test_a_study_loads_where_its_data_are_not() -> None:
    assert Voc(folder="/nowhere").to_dict()["classes"] == VOC_CLASSES


# Each is (what to write, what the message says).
BROKEN: list[tuple[str | bytes, str]] = [
    ("<annotation>", "is not XML: no element found"),
    (b"\xff\xfe\x00", "is not XML"),
    ("", "is not XML: no element found"),
    ('<?xml version="1.0" encoding="nonsense"?><annotation/>', "is not XML"),
    (
        "<annotation><size><width>5</width><height>" + "9" * 5000 + "</height></size></annotation>",
        "a whole number above",
    ),
    ("<html/>", "holds a <html>; allowed is an <annotation>"),
    ("<annotation/>", "lacks size/height; required are the image's width and height"),
    (annotation(0, 5), "has size/width '0'; allowed is a whole number above 0"),
    (annotation("5.5", 5), "has size/width '5.5'; allowed"),  # type: ignore[arg-type]
    (annotation(9, 9, "<object/>"), "object 1 has no name"),
    (
        annotation(9, 9, "<object><name>dog</name></object>"),
        "object 1 (dog) lacks bndbox/xmin; required are xmin, ymin",
    ),
    (annotation(9, 9, voc_object("dog", 1, "a", 3, 4)), "object 1 (dog) has ymin 'a'; allowed is a finite number"),
    (annotation(9, 9, voc_object("dog", "nan", 1, 3, 4)), "object 1 (dog) has xmin 'nan'; allowed is a finite number"),
    (
        annotation(9, 9, voc_object("dog", 1, 1, 3, 4), voc_object("cat", 5, 1, 4, 4)),
        "object 2 (cat) has xmin 5 and xmax 4; allowed is xmin <= xmax",
    ),
    (annotation(9, 9, voc_object("dog", 1, 1, 3, 4, 2)), "object 1 (dog) has difficult '2'; allowed is 0 or 1"),
    (
        annotation(9, 9, voc_object("dog", 1, 1, 11, 4)),
        "object 1 (dog) spans (0, 0) to (11, 4), outside its image of 9 x 9 pixels; allowed is up to 1 pixel",
    ),
]


@pytest.mark.parametrize(("text", "message"), BROKEN, ids=[message[:30] for _, message in BROKEN])
def test_broken_annotations_are_named(source: Voc, text: str | bytes, message: str) -> None:
    put(source, "000503", text)
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        source.ground_truth("val")
    assert "000503.xml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE annotation [<!ENTITY a SYSTEM "file:///etc/hostname">]>',
        '<!DOCTYPE annotation [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>',
        '<!DOCTYPE annotation SYSTEM "http://127.0.0.1:9/x.dtd">',
    ],
)
def test_xml_with_a_doctype_is_refused(source: Voc, doctype: str, encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?>{doctype}' + annotation(9, 9, voc_object("dog", 1, 1, 3, 4))
    put(source, "000503", text.encode(encoding))
    with pytest.raises(UserError, match=r"000503\.xml has a DOCTYPE; allowed is XML without one"):
        source.ground_truth("val")


LISTS = [
    ("", "is empty; allowed is one image name a line"),
    ("000500\n000500\n", "line 2, repeats '000500'; allowed is once"),
    ("000500 more\n", "line 1, is '000500 more'; allowed is an image's name without its ending"),
    ("../../etc/x\n", "line 1, is '../../etc/x'; allowed is an image's name"),
    ("000500\nnothing\n", "nothing.xml cannot be read: No such file"),
]


@pytest.mark.parametrize(("text", "message"), LISTS, ids=[message[:30] for _, message in LISTS])
def test_broken_lists_are_named(source: Voc, text: str, message: str) -> None:
    list_split(source, "val", text)
    with pytest.raises(UserError, match=re.escape(message)):
        source.ground_truth("val")


def test_missing_folders_and_fields_are_named(source: Voc, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the folder .*none does not exist; allowed is a folder with Annotations/"):
        Voc(folder=str(tmp_path / "none")).digest()
    with pytest.raises(UserError, match=r"test\.txt does not exist; .*\(there are train, val\)"):
        dataclasses.replace(source, val="test").length("val")
    (Path(source.folder) / "JPEGImages").rename(tmp_path / "away")
    with pytest.raises(UserError, match="JPEGImages does not exist; allowed is a folder with the images"):
        source.length("val")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"classes": "dog"}, "Voc: classes is 'dog'; allowed is a list of names, each once, or 'found'"),
        ({"classes": []}, r"Voc: classes is \[\]; allowed is a list of names"),
        ({"classes": ["a", "a"]}, r"Voc: classes is \['a', 'a'\]; allowed is a list of names, each once"),
        ({"classes": ["a", 3]}, "Voc: a class is 3; allowed is a name"),
        ({"cut_boxes": 1}, "Voc: cut_boxes is 1; allowed are True and False"),
        ({"clases": "found"}, r"Voc has no field 'clases' \(did you mean 'classes'\?\)"),
    ],
)
def test_bad_settings_are_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Voc(folder="x", **values)


def test_images_that_exif_turns_lie_under_their_boxes(source: Voc) -> None:
    entry = source.entries("val")[0]
    path = source.image_path("val", entry)
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(path) as file:
        shown = file.convert("RGB")
    shown.transpose(Image.Transpose.ROTATE_90).save(path, quality=95, exif=exif)
    found = np.asarray(source.image("val", entry)).astype(int)
    assert np.abs(found - np.asarray(shown)).mean() < 3
    with pytest.raises(UserError, match="as stored, but the annotations give"):
        dataclasses.replace(source, orientation="raw").image("val", entry)
