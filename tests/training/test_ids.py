"""Ids of files, however large, are those of the results: no float holds them in between."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaling_lab import Coco, Recipe
from scaling_lab.runs.reader import RunFolder
from scaling_lab.study.ledger.samples import write_samples
from scaling_lab.training.evaluation import average_precision
from scaling_lab.training.train import train
from search_spaces.compound import SMALL
from tests.coco_files import write_coco

IDS: list[Callable[[int], int]] = [
    lambda id_: id_ - 2000,
    lambda id_: 2**53 + id_,
    lambda id_: 2**62 + id_,
    lambda id_: 10**37 + id_,
    lambda id_: 10**400 + id_,
]


def with_ids(folder: Path, change: Callable[[int], int]) -> tuple[Coco, dict[str, Any]]:
    """Write a set with other ids, and give it with the content of its held-out file."""
    source = write_coco(folder, train=4, val=4)
    content: dict[str, Any] = {}
    for split in ("train", "val"):
        path = source.annotation_file(split)
        content = json.loads(path.read_text())
        for part, keys in (("images", ["id"]), ("categories", ["id"]), ("annotations", ["image_id", "category_id"])):
            for record in content[part]:
                record.update({key: change(record[key]) for key in keys})
        path.write_text(json.dumps(content))
    return source, content


@pytest.mark.parametrize("change", IDS, ids=["negative", "2**53", "2**62", "10**37", "10**400"])
def test_perfect_detections_have_an_ap_of_100(tmp_path: Path, change: Callable[[int], int]) -> None:
    source, _ = with_ids(tmp_path, change)
    truth = source.ground_truth("val")
    rows = [
        [each["image_id"], *each["bbox"], 0.9, each["category_id"]]
        for each in truth["annotations"]
        if not each["iscrowd"]
    ]
    assert average_precision(truth, np.array(rows, dtype=np.float64))["ap"] == pytest.approx(100)


@pytest.mark.parametrize("change", IDS[1::3], ids=["2**53", "10**400"])
def test_a_run_holds_the_ids_of_the_file(tmp_path: Path, change: Callable[[int], int]) -> None:
    source, content = with_ids(tmp_path / "set", change)
    spec = dataclasses.replace(SMALL.base, num_classes=3, repeats=1, image_size=(64, 64))
    train(spec, source, Recipe.short(epochs=1, batch_size=2), seed=0, folder=tmp_path / "run", report=lambda _: None)
    found = json.loads((tmp_path / "run" / "detections.json").read_text())
    assert [each["image_id"] for each in found] == [content["images"][place]["id"] for place in (0, 2, 3)]
    assert {box["category_id"] for each in found for box in each["detections"]} <= {
        category["id"] for category in content["categories"]
    }
    assert sum(len(each["detections"]) for each in found) > 0

    folder = RunFolder(tmp_path / "study")
    folder.samples.mkdir(parents=True)
    write_samples(source, folder)
    truth = json.loads(folder.ground_truth.read_text())
    shown = {each["image_id"] for each in found}
    assert {image["id"] for image in truth["images"]} == shown
    assert all(folder.sample(image_id).is_file() for image_id in shown)
    own = [each for each in content["annotations"] if each["image_id"] in shown]
    assert [(each["image_id"], each["category_id"]) for each in truth["annotations"]] == [
        (each["image_id"], each["category_id"]) for each in own
    ]
    assert {each["id"]: each["name"] for each in truth["categories"]} == {
        each["id"]: each["name"] for each in content["categories"]
    }
