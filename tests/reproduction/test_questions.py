"""The paper's questions: each has a study that is there, in the form that is named, and a state that is read from runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from scaling_lab.cli import main
from scaling_lab.reproduction.questions import QUESTIONS, SOURCE
from scaling_lab.study.loading import load_study
from tests.report.fixture_run import Fixture, Trial, topology_trials, write_run

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.study)
def test_every_question_has_a_study_that_says_what_to_compare_with(question) -> None:  # type: ignore[no-untyped-def]
    file = load_study(ROOT / "studies" / f"{question.study}.py")
    assert {question.form, "smoke", "paper"} <= set(file.study.forms)
    docstring = file.source.partition('"""')[2].partition('"""')[0]
    assert question.paper_command in " ".join(docstring.split())
    assert f"--form {question.form}" in docstring
    assert re.search(r"Published result to compare with: ", docstring)
    assert file.study.form("paper").data.kind == "coco"


def test_the_seven_are_listed_with_their_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trials = [*topology_trials(names=("fpn", "panet")), Trial(topology="none", state="failed")]
    write_run(tmp_path / "topology_ablation-seeds", Fixture(trials=trials, samples=0))
    assert main(["reproduce", "--runs", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert [int(number) for number in re.findall(r"^(\d)\. ", shown, re.MULTILINE)] == [1, 2, 3, 4, 5, 6, 7]
    assert shown.count("not run") == 6
    assert "7 of 7 trials ended, 1 failed" in shown
    assert SOURCE in shown
    assert main(["reproduce", "--runs", str(tmp_path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["state"] for row in rows].count("not run") == 6
    assert rows[1]["command"] == "scaling-lab run studies/topology_ablation.py --form seeds"
