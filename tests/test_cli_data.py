"""`scaling-lab data` as a user meets it: what it says, its JSON, its contact sheet and its exit code."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scaling_lab import Anchors, Coco, Shapes, Voc, efficientdet, fit_anchors
from scaling_lab.cli import main
from scaling_lab.cli.sheet import CELL, COLUMNS, GAP, LINE, contact_sheet
from tests.coco_files import write_coco
from tests.voc_files import annotation, voc_object, write_voc


@pytest.fixture
def coco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Coco:
    monkeypatch.chdir(tmp_path)
    return write_coco(tmp_path / "set", train=7, val=4)


@pytest.fixture
def voc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Voc:
    monkeypatch.chdir(tmp_path)
    return write_voc(tmp_path / "VOC2007", train=7, val=4)


def test_a_folder_is_shown_and_a_sheet_written(coco: Coco, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "set"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^ +train2017 +val2017$", shown, re.MULTILINE)
    assert re.search(r"^images +7 +4$", shown, re.MULTILINE)
    assert re.search(r"^crowds, not trained on +1 +1$", shown, re.MULTILINE)
    objects = len(coco.ground_truth("train")["annotations"]) - 1, len(coco.ground_truth("val")["annotations"]) - 1
    assert re.search(rf"^objects +{objects[0]} +{objects[1]}$", shown, re.MULTILINE)
    assert re.search(r"^44 +disc +\d+ +\d+$", shown, re.MULTILINE)
    assert shown.endswith("contact sheet: data_sheet.png\n")
    assert "nan" not in shown
    # Six images show something, in two rows of at most COLUMNS.
    with Image.open("data_sheet.png") as sheet:
        assert sheet.width == GAP + COLUMNS * (CELL + GAP)
        assert sheet.height > GAP + 3 * LINE + CELL


def test_json_holds_both_splits(voc: Voc, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", f"voc:{voc.folder},classes=found", "--json", "--no-sheet"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["data"]["classes"] == "found"
    assert found["train"]["images"] == 7
    assert found["val"]["images"] == 4
    assert list(found["val"]["classes"]) == ["cat", "dog", "sofa"]
    assert found["sheet"] is None
    assert found["broken_images"] == []
    assert not Path("data_sheet.png").exists()


def test_empty_classes_are_named_and_no_error(voc: Voc, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "VOC2007", "--no-sheet"]) == 0
    shown = capsys.readouterr().out
    assert "classes without any object in train, which cannot be learned: aeroplane, bicycle, bird," in shown
    assert "classes without any object in val, which have no AP: aeroplane, bicycle, bird," in shown


def test_ids_from_0_are_pointed_out(coco: Coco, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "val"):
        path = coco.annotation_file(split)
        content = json.loads(path.read_text())
        ids = {44: 2, 3: 0, 7: 1}
        for category in content["categories"]:
            category["id"] = ids[category["id"]]
        for each in content["annotations"]:
            each["category_id"] = ids[each["category_id"]]
        path.write_text(json.dumps(content))
    assert main(["data", "set", "--no-sheet"]) == 0
    assert "category ids start at 0: class i of a detector is the i-th id" in capsys.readouterr().out


def test_what_training_would_stop_at_is_told_at_once(voc: Voc, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(voc.folder)
    (folder / "Annotations" / "000003.xml").write_text(annotation(140, 110, voc_object("dog", 1, 1, 150, 50)))
    (folder / "JPEGImages" / "000500.jpg").write_bytes(b"no picture")
    (folder / "JPEGImages" / "000006.jpg").unlink()
    assert main(["data", "VOC2007", "--no-sheet", "--check-images"]) == 1
    shown = capsys.readouterr().out
    assert "000003.xml: object 1 (dog) spans (0, 0) to (150, 50), outside its image of 140 x 110" in shown
    assert "training refuses boxes more than a pixel outside" in shown
    assert "000500.jpg cannot be read as an image" in shown
    assert "000006.jpg does not exist" in shown
    assert main(["data", "voc:VOC2007,cut_boxes", "--no-sheet"]) == 0


def test_whole_images_are_said_to_be_whole(coco: Coco, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "set", "--no-sheet", "--check-images"]) == 0
    assert "all images can be used" in capsys.readouterr().out


def test_turned_and_dark_images_are_counted(coco: Coco, capsys: pytest.CaptureFixture[str]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    train, val = coco.entries("train"), coco.entries("val")
    with Image.open(coco.image_path("train", train[0])) as file:
        file.transpose(Image.Transpose.ROTATE_90).save(coco.image_path("train", train[0]), exif=exif)
    with Image.open(coco.image_path("train", train[1])) as file:  # annotated as it is stored
        file.save(coco.image_path("train", train[1]), exif=exif)
    Image.fromarray(np.full(val[0].size, 4000, dtype=np.uint16)).save(coco.image_path("val", val[0]), "PNG")
    coco.image_path("val", val[1]).write_bytes(b"no picture")
    assert main(["data", "set", "--no-sheet"]) == 0
    shown = capsys.readouterr().out
    assert "1 of 7 images of train2017 are rotated by their EXIF tag\n" in shown
    assert "1 images of val2017 cannot be used; --check-images names them" in shown
    assert main(["data", "set", "--no-sheet", "--check-images", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["files"]
    assert {key: found["train"][key] for key in ("images", "turned", "turned_unasked", "kept", "deep")} == {
        "images": 7, "turned": 1, "turned_unasked": 0, "kept": 1, "deep": 0,
    }  # fmt: skip
    assert (found["val"]["deep"], found["val"]["brightest"], len(found["val"]["unusable"])) == (1, 16, 1)
    assert main(["data", "set", "--no-sheet", "--check-images"]) == 1
    assert "16 bits or more and become almost black, at most 16 of 255" in capsys.readouterr().out


def test_a_sheet_shows_the_boxes_where_they_are(coco: Coco) -> None:
    sheet, broken = contact_sheet(coco, "val", 1)
    assert not broken
    entry = coco.entries("val")[0]
    scale = CELL / max(entry.size)
    plain = coco.image("val", entry).resize((round(entry.size[1] * scale), round(entry.size[0] * scale)))
    cell = np.asarray(sheet)[GAP + LINE :][: plain.height, GAP : GAP + plain.width].astype(int)
    changed = (cell != np.asarray(plain)).any(axis=2)
    for x0, y0, x1, y1 in entry.boxes * scale:
        left, right, top, bottom = round(x0) + 6, round(x1) - 6, round(y0) + 3, round(y1) - 3
        # The upper line of each box is drawn; its middle is as it was.
        assert changed[round(y0) - 2 : round(y0) + 3, left:right].any(axis=0).all()
        assert not changed[(top + bottom) // 2 - 1 : (top + bottom) // 2 + 2, left:right].all()
    assert 0.01 < changed.mean() < 0.35


def test_a_sheet_holds_what_is_asked_for(coco: Coco) -> None:
    assert contact_sheet(coco, "train", 2)[0].width == GAP + 2 * (CELL + GAP)
    assert contact_sheet(Shapes(train_images=3, val_images=2), "val", 9)[0].width == GAP + 2 * (CELL + GAP)


def test_a_broken_image_leaves_a_gap_in_the_sheet(coco: Coco, capsys: pytest.CaptureFixture[str]) -> None:
    (Path(coco.folder) / "train2017" / "000000000004.jpg").unlink()
    assert main(["data", "set", "--sheet", "here.png", "--images", "20"]) == 1
    assert "000000000004.jpg does not exist" in capsys.readouterr().out
    assert Path("here.png").is_file()


def test_names_that_the_font_lacks_and_long_ones_are_drawn(coco: Coco) -> None:
    for split in ("train", "val"):
        path = coco.annotation_file(split)
        content = json.loads(path.read_text())
        for category, name in zip(content["categories"], ("人", "x" * 200, "Fußgänger"), strict=True):
            category["name"] = name
        for image in content["images"]:
            (path.parents[1] / f"{split}2017" / image["file_name"]).rename(
                path.parents[1] / f"{split}2017" / f"{'long' * 30}{image['id']}.jpg"
            )
            image["file_name"] = f"{'long' * 30}{image['id']}.jpg"
        path.write_text(json.dumps(content))
    sheet, broken = contact_sheet(coco, "train", 4)  # a missing glyph is a warning, and so an error here
    assert sheet.width == GAP + COLUMNS * (CELL + GAP)
    assert not broken


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["nowhere"],
            "--data is 'nowhere', which is not a folder; allowed are shapes, a folder, coco:DIR, voc:DIR and yolo:DIR",
        ),
        (["set", "--images", "0"], "--images is 0; allowed are whole numbers from 1"),
        (["set", "--sheet", "away/sheet.png"], "away/sheet.png cannot be written: there is no folder away"),
        (
            ["set", "--sheet", "sheet.txt"],
            "--sheet is sheet.txt; allowed is an image file that ends in .apng, .bmp, ",
        ),
        (["coco:set,val=test"], "instances_test.json does not exist"),
        (["set", "--image-size", "0", "--fit-anchors"], "--image-size is 0; allowed are whole numbers from 1"),
        (["set", "--detector", "d1"], "--detector is d1, which is used by --fit-anchors alone; add --fit-anchors"),
        (["set", "--fit-anchors", "--detector", "d11"], "detector 'd11' is unknown (did you mean 'd1'?)"),
    ],
)
def test_bad_arguments_are_one_line(
    coco: Coco, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["data", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1


def test_what_spoils_results_is_told(coco: Coco, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(coco.folder)
    for split in ("train", "val"):
        path = coco.annotation_file(split)
        content = json.loads(path.read_text())
        content["annotations"] += [content["annotations"][0]] * 120
        path.write_text(json.dumps(content))
    shutil.copy(folder / "train2017" / "000000000002.jpg", folder / "train2017" / "000000000004.jpg")
    shutil.copy(folder / "train2017" / "000000000002.jpg", folder / "val2017" / "000000000000.jpg")
    assert main(["data", "set", "--no-sheet"]) == 0
    shown = capsys.readouterr().out
    assert "train2017 has 120 duplicate boxes" in shown
    assert "an image of val2017 has 12" in shown
    assert "train2017 holds 1 duplicate images, such as 000000000002.jpg and 000000000004.jpg" in shown
    # The pictures without an object are the same, too.
    assert "2 held-out images are also in train2017, such as 000000000001.jpg (there 000000000001.jpg)" in shown
    assert re.search(r"^  duplicates within the split +1 +0$", shown, re.MULTILINE)
    assert main(["data", "set", "--no-sheet", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["images_in_both"], found["train"]["images_twice"], found["train"]["twice"]) == (2, 1, 120)


def test_the_advice_on_boxes_outside_works_as_it_stands(voc: Voc, capsys: pytest.CaptureFixture[str]) -> None:
    (Path(voc.folder) / "Annotations" / "000003.xml").write_text(annotation(140, 110, voc_object("dog", 1, 1, 150, 50)))
    assert main(["data", "VOC2007", "--no-sheet"]) == 1
    advice = re.search(r"--data (\S+) cuts them off", capsys.readouterr().out)
    assert advice is not None
    assert main(["data", advice[1], "--no-sheet"]) == 0
    assert main(["data", "voc:VOC2007,cut_boxes=True", "--no-sheet"]) == 0


def test_anchors_that_fit_are_proposed_with_their_gain(coco: Coco, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["data", "set", "--no-sheet", "--fit-anchors", "--image-size", "64"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert main([*arguments, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    before, fitted = (content["fitted_anchors"][name] for name in ("before", "fitted"))
    spec = dataclasses.replace(efficientdet("d0"), image_size=(64, 64))
    anchors = fit_anchors(coco, spec)
    assert Anchors(**fitted["anchors"]) == anchors != spec.anchors
    assert before["per_position"] == 9
    assert before["objects"] == fitted["objects"] == content["train"]["objects"]
    assert before["missed_centred"] == content["train"]["no_anchor"]
    assert fitted["recall"] == 1 - fitted["missed"] / fitted["objects"] > before["recall"] + 0.1
    assert re.search(rf"^anchors per position +9 +{anchors.per_position}$", shown, re.MULTILINE)
    assert re.search(rf"^no anchor with IoU .5 +{before['missed']} +{fitted['missed']}$", shown, re.MULTILINE)
    assert "\nto train with them: scaling-lab train d0 --image-size 64 --data set --anchors fit\n" in shown
    pasted = re.search(r"^in Python: (Anchors\(.*\))$", shown, re.MULTILINE)
    assert pasted is not None
    assert eval(pasted[1], {"Anchors": Anchors}) == anchors


def test_a_detectors_own_anchors_and_image_size_are_taken(coco: Coco, capsys: pytest.CaptureFixture[str]) -> None:
    spec = dataclasses.replace(efficientdet("d0"), image_size=(64, 64))
    fitting = dataclasses.replace(spec, anchors=fit_anchors(coco, spec))
    Path("fitting.json").write_text(fitting.to_json())
    assert main(["data", "set", "--no-sheet", "--fit-anchors", "--detector", "fitting.json"]) == 0
    shown = capsys.readouterr().out
    assert "levels at 64 px" in shown
    assert "anchors: the detector's own, recall " in shown
    assert "the best found are within 1 point" in shown
    assert "--anchors fit" not in shown


def test_anchors_for_no_objects_are_one_line(coco: Coco, capsys: pytest.CaptureFixture[str]) -> None:
    path = coco.annotation_file("train")
    path.write_text(json.dumps({**json.loads(path.read_text()), "annotations": []}))
    assert main(["data", "set", "--no-sheet", "--fit-anchors"]) == 2
    error = "scaling-lab: anchors cannot be fitted: train2017 has no objects; at least one is needed\n"
    assert capsys.readouterr().err.endswith(error)
