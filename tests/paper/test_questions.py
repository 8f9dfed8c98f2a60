"""The paper's questions: each has studies that are there, in the forms that are named, and a state that is read from runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from scaling_lab.cli import main
from scaling_lab.paper.questions import QUESTIONS, SOURCE, Asked, Question
from scaling_lab.study.space.study_file import load_study
from tests.report.fixture_run import Fixture, Trial, topology_trials, write_run

ROOT = Path(__file__).parents[2]
ASKED = [(question, asked) for question in QUESTIONS for asked in question.asked]


@pytest.mark.parametrize(("question", "asked"), ASKED, ids=[asked.run for _, asked in ASKED])
def test_every_question_has_studies_that_say_what_to_compare_with(question: Question, asked: Asked) -> None:
    file = load_study(ROOT / "studies" / f"{asked.study}.py")
    assert {"smoke", "paper", *([asked.form] if asked.form else [])} <= set(file.study.forms)
    docstring = file.source.partition('"""')[2].partition('"""')[0]
    in_one_line = " ".join(docstring.split())
    assert question.paper_command in in_one_line
    assert re.search(rf"^    {re.escape(asked.command)} ", docstring, re.MULTILINE)
    assert re.search(r"The paper form has \d+ training runs .* A100 days in total", in_one_line)
    assert re.search(r"Published result to compare with: ", docstring)
    assert file.study.form("paper").data.kind == "coco"
    assert (ROOT / (asked.report or file.study.report)).is_file()


def test_what_stands_beside_is_asked_too() -> None:
    runs = {asked.run for _, asked in ASKED}
    assert {asked.beside for _, asked in ASKED if asked.beside} <= runs
    assert len(runs) == len(ASKED)


def test_the_seven_are_listed_with_their_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trials = [*topology_trials(names=("fpn", "panet")), Trial(topology="none", state="failed")]
    write_run(tmp_path / "runs" / "topology_ablation-seeds", Fixture(trials=trials, samples=0))
    folders = ["--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
    assert main(["reproduce", *folders]) == 0
    shown = capsys.readouterr().out
    assert [int(number) for number in re.findall(r"^(\d)\. ", shown, re.MULTILINE)] == [1, 2, 3, 4, 5, 6, 7]
    assert shown.count("not answered yet") == 7
    assert shown.count("no stored result") == len(ASKED)
    assert shown.count("not run") == len(ASKED) - 1
    assert "7 of 7 trials ended, 1 failed" in shown
    assert SOURCE in shown
    assert main(["reproduce", *folders, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    states = [run["state"] for row in rows for run in row["runs"]]
    assert states.count("not run") == len(ASKED) - 1
    assert rows[1]["runs"][0]["command"] == "scaling-lab run studies/topology_ablation.py --form seeds"
    assert rows[1]["answer"] is None
