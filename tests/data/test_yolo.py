"""Yolo: exports of Ultralytics, Roboflow, CVAT and Label Studio are recognised from the folder alone, and read right."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from scaling_lab import Yolo
from scaling_lab.data import Source, parse_source, source_from_dict
from scaling_lab.errors import UserError
from tests.export_files import BOXES, HEIGHT, NAMES, WIDTH, write_picture, write_yolo, yolo_lines

NAMES_LIST = "names: [red, green]\n"


def is_whole(source: Source, train: int = 4, val: int = 4) -> None:
    """Check that both splits have their images and the boxes that were written."""
    assert isinstance(source, Yolo)
    source.check_images("train", "val")
    assert (source.length("train"), source.length("val")) == (train, val)
    assert source.class_names == NAMES
    for split in ("train", "val"):
        truth = source.ground_truth(split)
        assert {(image["width"], image["height"]) for image in truth["images"]} == {(WIDTH, HEIGHT)}
        boxes = [tuple(each["bbox"]) for each in truth["annotations"]]
        assert boxes == [pytest.approx(box, abs=0.001) for _ in range(source.length(split)) for box in BOXES]
        assert source.image(split, source.entries(split)[0]).size == (WIDTH, HEIGHT)


def write_splits(root: Path, images: str = "images/{}", labels: str = "labels/{}", val: str = "val") -> None:
    for split, seed in (("train", 0), (val, 100)):
        write_yolo(root / images.format(split), root / labels.format(split), seed=seed)


@pytest.mark.parametrize(
    ("images", "labels", "yaml"),
    [
        ("images/{}", "labels/{}", "path: .\ntrain: images/train\nval: images/val\n"),
        ("images/{}", "labels/{}", "path: ../datasets/mine  # somebody else's\ntrain: images/train\nval: images/val\n"),
        ("images/{}", "labels/{}", "path: /home/me/sets/mine\ntrain: images/train\nval: images/val\ntest:\n"),
        ("images/{}", "labels/{}", "train: /home/me/mine/images/train\nval: C:\\me\\mine\\images\\val\n"),
        ("{}/images", "{}/labels", "train: ../train/images\nval: ../val/images\n"),  # Roboflow's, beside the folders
        ("{}/images", "{}/labels", "train: train\nval: val\n"),
        ("images/{}", "labels/{}", "train: [images/train]\nval:\n  - images/val\n"),
        ("images/{}", "labels/{}", "train: images/train/*.png\nval: images/val/*.png\n"),
        ("{}", "{}", "train: train\nval: val\n"),  # labels beside the images
    ],
)
def test_images_are_found_however_they_are_named(tmp_path: Path, images: str, labels: str, yaml: str) -> None:
    write_splits(tmp_path, images, labels)
    (tmp_path / "data.yaml").write_text(yaml + NAMES_LIST)
    source = parse_source(str(tmp_path))
    is_whole(source)
    assert parse_source(f"yolo:{tmp_path}") == source == source_from_dict(source.to_dict())
    assert source.describe().endswith("(data.yaml): 4 images of train and 4 of val, 2 classes")


@pytest.mark.parametrize(
    "names",
    [
        "names:\n  0: red\n  1: green\n",
        "names:\n  1: green\n  0: red\n",
        "nc: 2\nnames: ['red', 'green']\n",
        "\ufeffnames: [red, green]\n",
        "names: classes.names\n",
    ],
)
def test_names_may_be_a_list_or_by_number(tmp_path: Path, names: str) -> None:
    write_splits(tmp_path)
    (tmp_path / "classes.names").write_text("red\ngreen\n")
    (tmp_path / "mine.yaml").write_text(names + "train: images/train\nval: images/val\n", encoding="utf-8")
    is_whole(parse_source(str(tmp_path)))
    is_whole(parse_source(str(tmp_path / "mine.yaml")))


def test_a_number_of_classes_alone_names_them(tmp_path: Path) -> None:
    write_splits(tmp_path)
    (tmp_path / "data.yaml").write_text("nc: 2\ntrain: images/train\nval: images/val\n")
    assert parse_source(str(tmp_path)).class_names == ("class 0", "class 1")


@pytest.mark.parametrize(
    "line", ["./images/{}/{}", "images/{}/{}", "/home/me/set/images/{}/{}", "data\\images\\{}\\{}"]
)
def test_lists_of_paths_are_read(tmp_path: Path, line: str) -> None:
    write_splits(tmp_path)
    for split, seed in (("train", 0), ("val", 100)):
        lines = [line.format(split, f"im{seed + place:03d}.png") for place in range(4)]
        (tmp_path / f"{split}.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "data.yaml").write_text("train: train.txt\nval: val.txt\n" + NAMES_LIST)
    is_whole(parse_source(str(tmp_path)))


def test_the_set_may_lie_beside_its_configuration(tmp_path: Path) -> None:
    write_splits(tmp_path / "datasets" / "mine")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "mine.yaml").write_text(
        "path: ../datasets/mine\ntrain: images/train\nval: images/val\n" + NAMES_LIST
    )
    is_whole(parse_source(str(tmp_path / "code" / "mine.yaml")))


def test_roboflows_valid_is_held_out(tmp_path: Path) -> None:
    write_splits(tmp_path, "{}/images", "{}/labels", val="valid")
    (tmp_path / "data.yaml").write_text("train: ../train/images\nvalid: ../valid/images\n" + NAMES_LIST)
    source = parse_source(str(tmp_path))
    is_whole(source)
    assert source.to_dict()["val"] == "valid"


def test_cvats_obj_data_is_read_and_divided(tmp_path: Path) -> None:
    paths = write_yolo(tmp_path / "obj_train_data", tmp_path / "obj_train_data")
    (tmp_path / "obj.data").write_text(
        "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n"
    )
    (tmp_path / "obj.names").write_text("red\ngreen\n")
    (tmp_path / "train.txt").write_text("".join(f"data/obj_train_data/{path.name}\n" for path in paths))
    with pytest.raises(UserError, match=r"no held-out ones; --data .*val_fraction"):
        parse_source(str(tmp_path))
    is_whole(parse_source(f"{tmp_path},val_fraction=0.25"), train=3, val=1)


@pytest.mark.parametrize("images", ["images", "."])
def test_label_studios_and_labelimgs_classes_are_read(tmp_path: Path, images: str) -> None:
    write_yolo(tmp_path / images, tmp_path / images.replace("images", "labels"))
    (tmp_path / "classes.txt").write_text("red\ngreen\n")
    (tmp_path / "notes.json").write_text('{"categories": [], "info": {}}')
    is_whole(parse_source(f"{tmp_path},val_fraction=0.25"), train=3, val=1)


def test_polygons_become_boxes_and_background_has_no_label(tmp_path: Path) -> None:
    write_splits(tmp_path)
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\n" + NAMES_LIST)
    (tmp_path / "labels" / "train" / "im000.txt").write_text(
        "1 0.25 0.25 0.75 0.25 0.5 0.5\n1 0.1 0.1 0.2 0.1 0.2 0.3 0.1 0.3\n"
    )
    (tmp_path / "labels" / "train" / "im001.txt").unlink()
    (tmp_path / "labels" / "train" / "im002.txt").write_text("")
    source = parse_source(str(tmp_path))
    truth = source.ground_truth("train")
    assert truth["annotations"][0]["bbox"] == pytest.approx([24, 16, 48, 16])
    assert truth["annotations"][1]["bbox"] == pytest.approx([9.6, 6.4, 9.6, 12.8])
    assert isinstance(source, Yolo)
    assert [len(entry.labels) for entry in source.entries("train")] == [2, 0, 0, 2]
    assert source.remarks() == [
        "train: 1 images have no label file and count as empty",
        "train: 2 boxes are bounding boxes of polygons",
    ]


def test_keypoints_stand_after_the_box(tmp_path: Path) -> None:
    write_splits(tmp_path)
    (tmp_path / "data.yaml").write_text("kpt_shape: [2, 3]\ntrain: images/train\nval: images/val\n" + NAMES_LIST)
    (tmp_path / "labels" / "val" / "im100.txt").write_text("0 0.5 0.5 0.5 0.5 0.3 0.3 2 0.4 0.4 2\n")
    assert parse_source(str(tmp_path)).ground_truth("val")["annotations"][0]["bbox"] == [24, 16, 48, 32]


def test_sizes_are_those_of_upright_images(tmp_path: Path) -> None:
    write_splits(tmp_path)
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\n" + NAMES_LIST)
    path = tmp_path / "images" / "train" / "im000.png"
    with Image.open(path) as image:
        exif = image.getexif()
        exif[274] = 6
        image.convert("RGB").save(path.with_suffix(".jpg"), exif=exif)
    path.unlink()
    image = parse_source(str(tmp_path)).ground_truth("train")["images"][0]
    assert (image["width"], image["height"]) == (HEIGHT, WIDTH)
    # Sizes and pixels are read in one way: as stored, where that is asked for.
    source = parse_source(f"yolo:{tmp_path},orientation=raw")
    image, entry = source.ground_truth("train")["images"][0], source.entries("train")[0]
    assert (image["width"], image["height"]) == source.image("train", entry).size == (WIDTH, HEIGHT)


def test_an_image_that_cannot_be_opened_is_named_where_it_is_read(tmp_path: Path) -> None:
    write_splits(tmp_path)
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\n" + NAMES_LIST)
    (tmp_path / "images" / "val" / "im101.png").write_bytes(b"no image")
    source = parse_source(str(tmp_path))
    assert source.length("val") == 4
    with pytest.raises(UserError, match=r"im101\.png cannot be read as an image"):
        source.check_images("val")


def test_the_digest_is_of_labels_and_names(tmp_path: Path) -> None:
    write_splits(tmp_path)
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\n" + NAMES_LIST)
    source = parse_source(str(tmp_path))
    before = source.digest()
    assert source.digest() == before
    (tmp_path / "labels" / "val" / "im101.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    assert source.digest() != before


# What a label file holds, and what the message says.
LINES = [
    ("0 0.5 0.5 0.1\n", "line 1, has 4 numbers; allowed are class, x, y, width, height"),
    ("0 0.5 0.5 0.1 0.1 0.9\n", "line 1, has 6 numbers"),
    ("0 48 32 20 10\n", "line 1, has 48; allowed are fractions of the image's sides from 0 to 1, not pixels"),
    ("\n2 0.5 0.5 0.1 0.1\n", "line 2, has the class 2; allowed are 0 to 1"),
    ("-1 0.5 0.5 0.1 0.1\n", "has the class -1"),
    ("0.5 0.5 0.5 0.1 0.1\n", "has the class 0.5"),
    ("red 0.5 0.5 0.1 0.1\n", "is 'red 0.5 0.5 0.1 0.1'; allowed are class"),
    ("0 nan 0.5 0.1 0.1\n", "has a non-finite number"),
    ("0 0.5 0.5 -0.1 0.1\n", "has the size -0.1, 0.1; allowed are sizes from 0"),
    ("0 0.9 0.5 0.9 0.1\n", "class red spans (43.2, 28.8) to (129.6, 35.2), outside its image of 96 x 64"),
    ("\x00\x01\x02", r"is '\x00\x01\x02'; allowed"),
]


@pytest.mark.parametrize(("text", "message"), LINES, ids=[message[:30] for _, message in LINES])
def test_bad_lines_are_named(tmp_path: Path, text: str, message: str) -> None:
    write_splits(tmp_path)
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\n" + NAMES_LIST)
    (tmp_path / "labels" / "val" / "im102.txt").write_text(text)
    with pytest.raises(UserError) as told:
        parse_source(str(tmp_path)).ground_truth("val")
    assert message in str(told.value)
    assert "im102.txt" in str(told.value)
    assert str(told.value).isprintable()


def test_a_class_written_as_a_float_is_taken(tmp_path: Path) -> None:
    write_splits(tmp_path)
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\n" + NAMES_LIST)
    path = tmp_path / "labels" / "val" / "im100.txt"
    path.write_text(yolo_lines().replace("1 ", "1.0 ", 1))
    is_whole(parse_source(str(tmp_path)))


BAD = [
    (
        "names: [red, green]\ntrain: images/train\nval: images/nothing\n",
        "val is images/nothing, but no end of that path exists in",
    ),
    ("train: images/train\nval: images/val\nnames: {0: red, 2: green}\n", "has names for 0, 2, …; allowed are 0, 1, 2"),
    ("train: images/train\nval: images/val\nnc: 3\n" + NAMES_LIST, "has nc 3 but 2 names; allowed are equal numbers"),
    ("train: images/train\nval: images/val\nnames: [red, red]\n", "has the name 'red' twice"),
    ("train: images/train\nval: images/val\n", "lacks names"),
    ("train: 3\nval: images/val\n" + NAMES_LIST, "train is not text; allowed is a folder"),
    ("train: [", "is not YAML"),
    ("\x00\x01", "is not YAML"),
    ("- 1\n", "holds a list"),
    ("", "holds a NoneType"),
    ("[" * 5000, "nested too deeply"),
    ("train: !!python/object/apply:os.getcwd []\n" + NAMES_LIST, "is not YAML: could not determine a constructor"),
]


@pytest.mark.parametrize(("text", "message"), BAD, ids=[message[:30] for _, message in BAD])
def test_a_bad_configuration_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    write_splits(tmp_path)
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(UserError) as told:
        parse_source(f"yolo:{tmp_path}").describe()
    assert message in str(told.value)
    assert str(told.value).isprintable()


def test_images_without_any_label_are_refused(tmp_path: Path) -> None:
    write_picture(tmp_path / "images" / "train" / "a.png", 0)
    write_picture(tmp_path / "images" / "val" / "b.png", 1)
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\n" + NAMES_LIST)
    with pytest.raises(UserError, match=r"no image of train has a label file; expected is .*labels"):
        parse_source(str(tmp_path)).describe()


def test_labels_without_names_of_classes_are_refused(tmp_path: Path) -> None:
    write_splits(tmp_path)
    with pytest.raises(UserError, match=r"but no data\.yaml or classes\.txt with the class names; add one"):
        parse_source(str(tmp_path))
