"""Annotations as columns: decoded block by block as they are record by record, and kept for other processes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.coco_annotations import in_process, write
from scaling_lab import Coco
from scaling_lab.data import annotation_cache, annotations, typed_annotations
from scaling_lab.data.annotation_cache import digest_cached, read_cached
from scaling_lab.data.annotations import MOST_COORDINATE, MOST_PIXELS, read_annotations, read_carefully
from scaling_lab.data.entries import Annotations
from scaling_lab.data.typed_annotations import Decoded, decode
from scaling_lab.errors import UserError
from tests.coco_files import write_coco

Content = dict[str, Any]


def decoded(path: Path) -> Decoded | None:
    return decode(path, most_pixels=MOST_PIXELS, most_coordinate=MOST_COORDINATE)


def assert_same(one: Annotations, other: Annotations) -> None:
    assert one.ground_truth == other.ground_truth
    for field in dataclasses.fields(Annotations):
        if field.name not in ("images", "objects"):
            assert getattr(one, field.name) == getattr(other, field.name), field.name
    assert (one.images.names, one.images.ids) == (other.images.names, other.images.ids)
    assert one.degenerate == other.degenerate
    for entry, same in zip(one.entries, other.entries, strict=True):
        assert (entry.image_id, entry.file_id, entry.file_name, entry.size) == (
            *(same.image_id, same.file_id, same.file_name),
            same.size,
        )
        assert entry.boxes.tolist() == same.boxes.tolist()
        assert entry.labels.tolist() == same.labels.tolist()


def content(images: int = 7, boxes: int = 40, seed: int = 0) -> Content:
    """Make a file's content with ids and images in no order, crowds, boxes partly outside, and areas of masks."""
    chance = np.random.default_rng(seed)
    ids = chance.permutation(images) * 13 + 2
    owners = chance.integers(0, images, boxes)
    return {
        "info": {"contributor": 'a "quoted" {name}], [{', "year": 2017},
        "images": [
            {"license": 3, "file_name": f"bild {place}, é.jpg", "height": 300, "width": 400 + place, "id": int(id_)}
            for place, id_ in enumerate(ids)
        ],
        "licenses": [{"id": 1, "url": "http://"}],
        "annotations": [
            {
                "segmentation": [[1.5, 2, 3.25, 4, 5, 6]] if place % 5 else {"counts": [1, 2], "size": [3, 4]},
                "bbox": [*chance.uniform(-3, 390, 2).round(2).tolist(), *chance.uniform(0, 60, 2).round(1).tolist()],
                "image_id": int(ids[owner]),
                "category_id": int(chance.choice([3, 7, 44])),
                "id": place if place % 3 else f"uuid-{place}",
                "iscrowd": int(place % 5 == 0),
                **({"area": float(chance.uniform(0, 900))} if place % 4 else {}),
            }
            for place, owner in enumerate(owners)
        ],
        "categories": [
            {"id": 44, "name": "disc"},
            {"supercategory": "all", "id": 3, "name": "ü"},
            {"id": 7, "name": "c"},
        ],
    }


@pytest.mark.parametrize("block", [300, 700, 5000, typed_annotations.BLOCK])
@pytest.mark.parametrize("layout", [{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}])
def test_columns_are_those_of_the_records_however_the_file_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int, layout: Any
) -> None:
    monkeypatch.setattr(typed_annotations, "BLOCK", block)
    path = tmp_path / "made.json"
    path.write_text(json.dumps(content(), **layout), encoding="utf-8")
    assert decoded(path) is not None
    found = read_annotations(path)
    assert_same(found, read_carefully(path))
    assert len(found.objects) == 40
    assert any("(id 'uuid-" in line for line in found.outside)


def test_keys_in_any_order_and_unknown_ones_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typed_annotations, "BLOCK", 400)
    whole = content()
    turned = {"videos": [], **dict(reversed(whole.items())), "more": {"annotation": [{"images": 1}]}}
    for record in turned["annotations"]:
        record |= {"attributes": {"occluded": False, "of": {"a": []}}, "note": "], [ }, { }]"}
        record["images"] = "annotations"
    path = tmp_path / "made.json"
    path.write_text(json.dumps(turned), encoding="utf-8")
    assert decoded(path) is not None
    assert_same(read_annotations(path), read_carefully(path))


def test_no_objects_are_columns_of_none(tmp_path: Path) -> None:
    path = tmp_path / "made.json"
    path.write_text(json.dumps(content(boxes=0)), encoding="utf-8")
    assert decoded(path) is not None
    assert_same(read_annotations(path), read_carefully(path))
    assert [len(entry.labels) for entry in read_annotations(path).entries] == [0] * 7


def first(part: str, **values: Any) -> Callable[[Content], object]:
    return lambda whole: whole[part][0].update(values)


# What typed columns do not hold or what is wrong, in the middle of a file: the other reader accepts it or says so.
IRREGULAR: dict[str, Callable[[Content], object]] = {
    "float id": first("images", id=2.0),
    "long id": first("images", id=10**30),
    "float side": first("images", width=400.0),
    "no side": first("images", height=0),
    "blank name": first("images", file_name=" "),
    "image twice": lambda whole: whole["images"].append(whole["images"][0]),
    "no images": lambda whole: whole.update(images=[]),
    "images of another kind": lambda whole: whole.update(images={"images": []}),
    "null crowd": first("annotations", iscrowd=None),
    "true crowd": first("annotations", iscrowd=True),
    "crowd of 2": first("annotations", iscrowd=2),
    "null area": first("annotations", area=None),
    "negative area": first("annotations", area=-1),
    "text area": first("annotations", area="9"),
    "null box": first("annotations", bbox=None),
    "short box": first("annotations", bbox=[1, 2, 3]),
    "text box": first("annotations", bbox=["1", "2", "3", "4"]),
    "negative box": first("annotations", bbox=[1, 2, -3, 4]),
    "far box": first("annotations", bbox=[1, 2, 1e8, 4]),
    "nan box": first("annotations", bbox=[1, 2, float("nan"), 4]),
    "unknown image": first("annotations", image_id=1),
    "null image": first("annotations", image_id=None),
    "no box": lambda whole: whole["annotations"][0].pop("bbox"),
    "no record": lambda whole: whole["annotations"].insert(0, 5),
    "nested": lambda whole: [whole.update(inner=dict(whole)), whole.pop("images"), whole.pop("annotations")],
}


@pytest.mark.parametrize("name", IRREGULAR)
def test_what_is_irregular_is_left_to_the_other_reader(tmp_path: Path, name: str) -> None:
    whole = content()
    IRREGULAR[name](whole)
    path = tmp_path / "made.json"
    path.write_text(json.dumps(whole), encoding="utf-8")
    assert decoded(path) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1],
        lambda text: text + b"}",
        lambda text: text.replace(b'"segmentation"', b'"segm\xff"', 1),
        lambda text: text.replace(b'}, {"segm', b'} {"segm', 1),
        lambda text: text.replace(b'"info"', b'"images": [], "info"', 1),
        lambda text: text.replace(b'"iscrowd": 0', b'"iscrowd": 0,', 1),
    ],
)
def test_what_is_no_json_is_left_to_the_other_reader(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "made.json"
    before = json.dumps(content()).encode()
    path.write_bytes(change(before))
    assert path.read_bytes() != before
    assert decoded(path) is None


def test_an_unknown_category_is_named(tmp_path: Path) -> None:
    whole = content()
    whole["annotations"][3]["category_id"] = 5
    path = tmp_path / "made.json"
    path.write_text(json.dumps(whole), encoding="utf-8")
    with pytest.raises(UserError, match=r"annotations\[3\] \(id 'uuid-3'\) has category_id 5; allowed are 3, 7, 44"):
        read_annotations(path)


def test_entries_are_a_sequence(tmp_path: Path) -> None:
    entries = write_coco(tmp_path, train=4, val=3).entries("val")
    assert [entry.image_id for entry in entries] == [1, 2, 3]
    assert [entry.image_id for entry in entries[1:]] == [2, 3]
    assert entries[-1].file_name == entries[2].file_name == "000000000002.jpg"
    assert entries.counts.tolist() == [len(entry.labels) for entry in entries]
    with pytest.raises(IndexError):
        _ = entries[3]
    assert len(pickle.loads(pickle.dumps(entries))) == 3


# --- the cache --------------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(annotation_cache, "LEAST_BYTES", 0)
    monkeypatch.setenv("SCALING_LAB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Note each file that is decoded."""
    found: list[Path] = []

    def noted(path: Path) -> Annotations:
        found.append(path)
        return read_annotations(path)

    monkeypatch.setattr(annotation_cache, "read_annotations", noted)
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "made.json"
    made.write_text(json.dumps(content()), encoding="utf-8")
    return made


def names(cache: Path) -> list[str]:
    return sorted(each.suffix for each in cache.iterdir())


def test_a_file_is_decoded_once_and_then_mapped(cache: Path, reads: list[Path], path: Path) -> None:
    first, second = read_cached(path), read_cached(path)
    assert reads == [path]
    assert names(cache) == [".json", ".npy"]
    assert isinstance(second.objects.bbox, np.memmap)
    assert_same(first, second)
    assert read_cached(path).without_categories(frozenset()).part([2, 0]).image_ids == (
        first.image_ids[2],
        first.image_ids[0],
    )


def test_ids_of_any_length_come_back(cache: Path, tmp_path: Path) -> None:
    whole = content()
    old = whole["images"][0]["id"]
    for record in (whole["images"][0], *(each for each in whole["annotations"] if each["image_id"] == old)):
        record["id" if "width" in record else "image_id"] = 10**30
    path = tmp_path / "made.json"
    path.write_text(json.dumps(whole), encoding="utf-8")
    first = read_cached(path)
    assert first.image_ids[0] == 10**30
    assert_same(read_cached(path), first)


def test_another_state_of_the_file_is_read_anew_and_replaces_the_old(
    cache: Path, reads: list[Path], path: Path
) -> None:
    read_cached(path)
    seen, kept = path.stat(), sorted(cache.iterdir())
    path.write_text(json.dumps(content(boxes=30)).ljust(seen.st_size), encoding="utf-8")
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))  # as a copy that keeps the time
    assert path.stat().st_size == seen.st_size
    assert len(read_cached(path).objects) == 30
    assert len(reads) == 2
    assert names(cache) == [".json", ".npy"]
    assert not set(kept) & set(cache.iterdir())


@pytest.mark.parametrize("ending", [".json", ".npy"])
@pytest.mark.parametrize("damage", [b"", b"{}", b"\x93NUMPY"])
def test_a_damaged_entry_is_made_anew(cache: Path, reads: list[Path], path: Path, ending: str, damage: bytes) -> None:
    read_cached(path)
    (entry,) = cache.glob(f"*{ending}")
    entry.write_bytes(damage)
    assert_same(read_cached(path), read_annotations(path))
    assert reads == [path, path]
    read_cached(path)
    assert len(reads) == 2


def test_without_a_place_to_write_every_process_decodes(cache: Path, reads: list[Path], path: Path) -> None:
    cache.write_text("a file where the folder would be")
    assert_same(read_cached(path), read_annotations(path))
    assert digest_cached(path) == hashlib.sha256(path.read_bytes()).digest()
    read_cached(path)
    assert reads == [path, path]


def test_a_small_file_leaves_no_trace(tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALING_LAB_CACHE", str(tmp_path / "cache"))
    read_cached(path)
    digest_cached(path)
    assert not (tmp_path / "cache").exists()


def test_a_digest_is_computed_once_for_each_state(cache: Path, path: Path) -> None:
    first = digest_cached(path)
    assert first == hashlib.sha256(path.read_bytes()).digest()
    (kept,) = cache.glob("*.sha256")
    kept.write_bytes(bytes(32))  # so that reading it shows
    assert digest_cached(path) == bytes(32)
    path.write_text("[]")
    assert digest_cached(path) == hashlib.sha256(b"[]").digest()
    assert names(cache) == [".sha256"]


def test_a_data_set_uses_the_cache(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_coco(tmp_path / "set", train=6, val=5)
    before, truth = source.digest(), source.ground_truth("train")
    assert len(list(cache.glob("*.npy"))) == 1  # of train
    again = Coco(folder=str(tmp_path / "set"), cut_boxes=True)  # not in this process's own cache
    monkeypatch.setattr(annotations, "decode", None)
    monkeypatch.setattr(annotations, "json", None)
    assert again.ground_truth("train") == truth
    assert again.digest() == before


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "made.json"
    write(path, images=2_000, boxes=40_000)
    found = in_process(path, "typed", tmp_path / "cache")
    assert path.stat().st_size > 20e6
    assert found["peak_mb"] - found["before_mb"] < 60  # record by record it is 150


@pytest.mark.slow
def test_annotations_of_cocos_size_take_less_than_500_mb(tmp_path: Path) -> None:
    path = tmp_path / "made.json"
    write(path, images=118_000, boxes=860_000)
    assert path.stat().st_size > 450e6
    for mode in ("typed", "cached", "cached"):
        assert in_process(path, mode, tmp_path / "cache")["peak_mb"] < 500, mode
