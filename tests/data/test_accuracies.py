"""Which APs a split can measure: as the evaluator finds it, and said before anything is trained."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaling_lab import Coco, Halving, Recipe
from scaling_lab.cli import main
from scaling_lab.data.accuracies import AREAS, check_measurable, objects_for
from scaling_lab.errors import UserError
from scaling_lab.metrics import ACCURACIES
from scaling_lab.study.plan.planner import make_plan
from scaling_lab.study.run.runner import run_study
from scaling_lab.training.evaluation import average_precision
from tests.coco_files import write_coco
from tests.study.engine import count, make_study


def change(data: Coco, alter: Callable[[dict[str, Any]], None], split: str = "val") -> Coco:
    path = Path(data.folder) / "annotations" / f"instances_{split}2017.json"
    content = json.loads(path.read_text())
    alter(content)
    path.write_text(json.dumps(content))
    return data


def nothing(content: dict[str, Any]) -> None:
    content["annotations"] = []


def crowds(content: dict[str, Any]) -> None:
    for annotation in content["annotations"]:
        annotation["iscrowd"] = 1


def small(content: dict[str, Any]) -> None:
    for annotation in content["annotations"]:
        annotation["area"] = 100.0


@pytest.fixture
def data(tmp_path: Path) -> Coco:
    return write_coco(tmp_path / "data", train=4, val=4)


def test_the_evaluator_has_a_number_exactly_where_there_is_an_object(data: Coco) -> None:
    """Areas on the limits between the sizes count for both."""
    chance, found = random.Random(3), set()
    for number in range(25):
        areas = chance.choices([0.0, 1.0, 1023.0, 1024.0, 1025.0, 9215.0, 9216.0, 9217.0, 1e6], k=number % 3)
        annotations = [
            {"id": place, "image_id": 1007, "category_id": 3, "bbox": [1, 1, 9, 9], "area": area, "iscrowd": int(crowd)}
            for place, (area, crowd) in enumerate(zip(areas, chance.choices([0, 0, 1], k=len(areas)), strict=True))
        ]
        change(data, lambda content, new=annotations: content.update(annotations=new))
        counts = objects_for(Coco(folder=data.folder))
        numbers = average_precision(Coco(folder=data.folder).ground_truth("val"), np.zeros((0, 7)))
        assert {name: bool(counts[name]) for name in AREAS} == {name: numbers[name] is not None for name in AREAS}
        found.add(tuple(bool(counts[name]) for name in AREAS))
    assert len(found) > 4
    assert tuple(AREAS) == ACCURACIES


@pytest.mark.parametrize("name", ACCURACIES)
@pytest.mark.parametrize("sampler", ["grid", "tpe", "ehvi", "nsga2"])
def test_no_study_starts_on_data_that_cannot_measure_its_objective(
    data: Coco, tmp_path: Path, name: str, sampler: str
) -> None:
    change(data, small if name == "ap_large" else crowds)
    study = make_study(
        data=data, sampler=sampler, trials=2, objectives={name: "maximize", "gmacs": "minimize"},
        recipe=Recipe.short(epochs=3, batch_size=2), stopping=Halving(min_epochs=1, factor=3),
    )  # fmt: skip
    with pytest.raises(
        UserError, match=f"^objective {name} cannot be measured: the held-out split val2017 of "
    ) as error:
        run_study(study, out=tmp_path / "run", executor="local", count=count, stream=None)
    assert not (tmp_path / "run").exists()
    plan = make_plan(study, out=tmp_path / "run", measure=False, count=count)
    assert str(error.value) in plan.problems


@pytest.mark.parametrize(
    ("alter", "name", "words"),
    [
        (nothing, "ap", "has no object in its 4 images; every AP needs a non-crowd object"),
        (crowds, "ap50", "has no object in its 4 images, but {n} crowds; every AP needs a non-crowd object"),
        (small, "ap_medium", "has no object of 32 x 32 to 96 x 96 px in its 4 images, but {m} other objects and 1 crowd; "
                             "allowed are ap, ap50, ap75, ap_small"),
    ],
)  # fmt: skip
def test_what_is_there_and_what_is_allowed_is_said(
    data: Coco, alter: Callable[[dict[str, Any]], None], name: str, words: str
) -> None:
    total = len(data.ground_truth("val")["annotations"])
    changed = change(data, alter)
    with pytest.raises(UserError) as error:
        check_measurable(changed, [name], "objective")
    assert str(error.value).endswith(words.format(n=total, m=total - 1))


def test_a_study_without_a_measured_objective_needs_no_held_out_object(data: Coco, tmp_path: Path) -> None:
    study = make_study(data=change(data, nothing), objectives={"gmacs": "minimize"}, trials=1)
    assert make_plan(study, out=tmp_path / "run", measure=False, count=count).problems == (
        "recipe.batch_size is 16; allowed is up to 4, the number of training images",
    )


def test_nothing_is_trained_on_no_object(data: Coco, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(data, crowds, "train")
    study = make_study(data=data, recipe=Recipe.short(epochs=1, batch_size=2))
    with pytest.raises(UserError, match=r"^nothing to train on: the training split train2017 of .* has no object in"):
        run_study(study, out=tmp_path / "run", executor="local", count=count, stream=None)
    options = ["--width", "16", "--image-size", "64", "--set", "batch_size=2", "--set", "epochs=1", "--workers", "0"]
    assert main(["train", "bifpn", "--data", f"coco:{data.folder}", "--out", str(tmp_path / "t"), *options]) == 2
    assert "nothing to train on" in capsys.readouterr().err


def test_training_without_a_held_out_object_is_told_and_evaluating_so_is_refused(
    data: Coco, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(data, nothing)
    options = ["--width", "16", "--image-size", "64", "--set", "batch_size=2", "--set", "epochs=1", "--workers", "0"]
    out, source = tmp_path / "t", f"coco:{data.folder}"
    assert main(["train", "bifpn", "--data", source, "--out", str(out), *options]) == 0
    assert "AP will not be measured: the held-out split val2017 of " in capsys.readouterr().out
    assert main(["evaluate", "--weights", str(out / "weights.pt"), "--data", source]) == 2
    assert "there is nothing to measure: the held-out split" in capsys.readouterr().err
