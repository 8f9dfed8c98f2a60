"""Which runs may be compared, and that a refusal names every field with both values."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from scaling_lab.errors import UserError
from scaling_lab.report.analysis.comparability import Terms, distinct_names, split, terms, why_not
from scaling_lab.runs.reader import Runs
from tests.report.fixture_run import Fixture, Trial, write_run

TERMS = Terms(
    protocol="aaaa",
    epochs=12,
    data_digest="5f2c9d0e1a7b55",
    data={"kind": "coco", "folder": "/a", "train": "train2017", "val": "val2017"},
    recipe={"epochs": 12, "lr": 0.04, "jitter": [1.0, 1.0]},
    classes=("disc", "square"),
)


def changed(**changes: Any) -> Terms:
    return dataclasses.replace(TERMS, **{"protocol": "bbbb", **changes})


def test_equal_terms_compare_wherever_their_data_lie() -> None:
    assert why_not(TERMS, TERMS) == ()
    assert why_not(TERMS, changed(protocol="aaaa", data={**TERMS.data, "folder": "/b"})) == ()


@pytest.mark.parametrize(
    ("other", "reasons"),
    [
        (
            changed(epochs=36, recipe={"epochs": 36, "lr": 0.01, "jitter": [0.1, 2.0]}),
            ["a different recipe: epochs 36 against 12, lr 0.01 against 0.04, jitter [0.1, 2.0] against [1.0, 1.0]"],
        ),
        (
            changed(recipe={**TERMS.recipe, "flip": True}),
            ["a different recipe: flip True against not recorded"],
        ),
        (
            changed(data_digest="77aa77aa77aa77", data={**TERMS.data, "val": "minival"}),
            ["different images, digest 77aa77aa77aa against 5f2c9d0e1a7b (evaluation split minival against val2017)"],
        ),
        (changed(classes=("disc",)), ["1 class against 2"]),
        (changed(classes=("disc", "ring")), ["different classes: ring against square"]),
        (changed(epochs=6), ["6 epochs against 12"]),
        (
            changed(),
            ["a different protocol, bbbb against aaaa, although all other records are equal"],
        ),
        (changed(protocol=None), ["one run does not record its training protocol"]),
        (
            changed(data_digest=None, recipe={**TERMS.recipe, "lr": 0.08}),
            ["different images, digest not recorded against 5f2c9d0e1a7b", "a different recipe: lr 0.08 against 0.04"],
        ),
    ],
)
def test_each_difference_is_a_reason_with_both_values(other: Terms, reasons: list[str]) -> None:
    assert list(why_not(TERMS, other)) == reasons


def test_many_fields_are_counted() -> None:
    other = changed(recipe={f"field_{number}": number for number in range(20)})
    (reason,) = why_not(dataclasses.replace(TERMS, recipe={}), other)
    assert reason.count("against") == 8
    assert reason.endswith("and 12 more fields")


def test_those_like_the_first_are_kept_and_the_others_named() -> None:
    places, refused = split(["a", "b", "c"], [TERMS, changed(epochs=6), TERMS])
    assert places == [0, 2]
    assert [str(each) for each in refused] == ["b: 6 epochs against 12"]


def test_nothing_to_compare_is_refused_with_each_reason_and_a_way_out() -> None:
    other = changed(epochs=6)
    with pytest.raises(UserError) as error:
        split(["a", "b", "c"], [TERMS, other, other])
    message = str(error.value)
    assert message.startswith(
        "nothing can be compared with a; b: 6 epochs against 12 | c: 6 epochs against 12. APs are"
    )
    assert message.endswith("; b and c can be compared without a")
    with pytest.raises(UserError, match=r"recipe and epochs$"):
        split(["a", "b"], [TERMS, other])
    with pytest.raises(UserError, match="takes 2 runs or more, not 1"):
        split(["a"], [TERMS])


def test_terms_are_those_of_the_trials_that_a_report_shows(tmp_path: Path) -> None:
    """A run whose study was started anew with another protocol: most of its complete trials decide."""
    trials = [Trial(topology=name, protocol="old", epochs=6) for name in ("fpn", "panet")]
    trials += [Trial(topology="bifpn", protocol="new"), Trial(topology="none", protocol="new", state="failed")]
    meta = {"protocol": "new", "class_names": ["a", "b"]}
    found = terms(Runs(write_run(tmp_path / "run", Fixture(trials=trials, samples=0, meta=meta))))
    assert (found.protocol, found.epochs, found.classes) == ("old", 6, ("a", "b"))
    empty = terms(Runs(write_run(tmp_path / "empty", Fixture(trials=[], samples=0, meta=meta))))
    assert (empty.protocol, empty.epochs) == ("new", 6)


def test_names_are_as_long_as_it_takes_to_tell_runs_apart() -> None:
    assert distinct_names([Path("/r/x"), Path("/r/y")]) == ["x", "y"]
    assert distinct_names([Path("/r/x"), Path("/s/x"), Path("/s/y")]) == ["r/x", "s/x", "s/y"]
    assert distinct_names([Path("/x"), Path("/a/x")]) == ["//x", "a/x"]


def test_trials_of_one_protocol_compare_though_a_study_was_started_again_with_another_recipe() -> None:
    assert why_not(TERMS, changed(protocol="aaaa", recipe={**TERMS.recipe, "lr": 0.5})) == ()
    assert why_not(TERMS, changed(recipe={**TERMS.recipe, "lr": 0.5})) != ()
