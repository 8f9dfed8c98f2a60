"""What is kept of runs: kept whole, found stale by study, report and code, and those of the repository as they should be."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from scaling_lab.architecture import topologies
from scaling_lab.cli import main
from scaling_lab.errors import UserError
from scaling_lab.reproduction.questions import QUESTIONS, Asked
from scaling_lab.results import confirmation, kept, likeness, staleness, table
from scaling_lab.results.kept import keep
from scaling_lab.results.staleness import code_problems, difference, problems
from scaling_lab.runs.reader import Runs
from scaling_lab.study.run.runner import run_study

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "reports" / "results"
SMOKE = Asked(study="topology_ablation", form="smoke")
KEPT = [
    asked for question in QUESTIONS for asked in question.asked if (RESULTS / asked.run / "ledger.sqlite").is_file()
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / SMOKE.run
    run_study(ROOT / "studies" / "topology_ablation.py", form="smoke", out=folder, executor="local", stream=None)
    return folder


@pytest.fixture
def results(run: Path, tmp_path: Path) -> Path:
    keep(run, SMOKE, tmp_path / "results")
    return tmp_path / "results"


# --- of the repository ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", KEPT, ids=lambda asked: asked.run)
def test_a_kept_result_matches_its_study_its_report_and_the_code(asked: Asked) -> None:
    assert problems(asked, RESULTS) == []


def test_the_answers_are_those_of_the_kept_runs() -> None:
    assert staleness.answer_problems(RESULTS) == []


def test_the_readme_has_the_table_of_answers() -> None:
    rows = [row for _, row in sorted(table.read_answers(RESULTS).items())]
    assert [int(row["number"]) for row in rows] == [question.number for question in QUESTIONS]
    assert table.as_markdown(rows) in (ROOT / "README.md").read_text()


# --- keeping -------------------------------------------------------------------------------------------------------------


def test_a_kept_run_has_its_ledger_its_table_and_its_report(run: Path, results: Path) -> None:
    folder = results / SMOKE.run
    (trials,) = folder.glob("trials_*.csv")
    assert re.fullmatch(r"trials_shapes_128px_1_epochs_1_seeds_[a-z0-9_]+\.csv", trials.name)
    assert pd.read_csv(trials)["ap"].tolist() == Runs(run).table()["ap"].tolist()
    pd.testing.assert_frame_equal(Runs(folder).table(), Runs(run).table())
    page = (folder / "report" / "topology_ablation.html").read_text()
    assert "plotly" not in page
    assert len(page) < 1_000_000
    assert {path.suffix for path in (folder / "report" / "figures").iterdir()} == {".png", ".csv"}
    assert {path.name for path in results.iterdir()} == {SMOKE.run}
    assert problems(SMOKE, results) == []


def test_a_run_that_has_not_ended_is_not_kept(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    with contextlib.closing(sqlite3.connect(tmp_path / "run" / "ledger.sqlite")) as connection:
        connection.execute("UPDATE trials SET state = 'planned' WHERE id = 2")
        connection.commit()
    with pytest.raises(UserError, match=r"cannot be kept: 1 of its 2 trials have not ended; `scaling-lab run studies/"):
        keep(tmp_path / "run", SMOKE, tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_another_studys_run_is_not_kept(run: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="is of the study topology_ablation, form smoke, so it cannot be kept as fusion-seeds"
    ):
        keep(run, Asked(study="fusion", form="seeds"), tmp_path)


def test_what_is_kept_stays_where_keeping_fails(run: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(results.rglob("*"))

    def fails(*_: object, **__: object) -> None:
        raise UserError("no report")

    monkeypatch.setattr(kept, "write_kept_report", fails)
    with pytest.raises(UserError, match="no report"):
        keep(run, SMOKE, results)
    assert sorted(results.rglob("*")) == before


def test_a_kept_runs_report_can_be_made_anew_from_itself(results: Path) -> None:
    folder = results / SMOKE.run
    (folder / kept.CONFIRMED).write_text("[]")
    (folder / "report" / "topology_ablation.html").write_text("old")
    assert problems(SMOKE, results) == ["report: the words of topology_ablation.html differ"]
    keep(folder, SMOKE, results)
    assert problems(SMOKE, results) == []
    assert (folder / kept.CONFIRMED).read_text() == "[]"


def test_all_that_a_compact_page_links_is_there(results: Path) -> None:
    report = results / SMOKE.run / "report"
    links = re.findall(r'href="([^"#]+)"', (report / "topology_ablation.html").read_text())
    links = [link for link in links if not link.startswith(("http", "data:"))]
    assert len(links) > 10
    assert [link for link in links if not (report / link).is_file()] == []


def test_a_run_is_not_kept_before_the_one_that_its_report_needs(run: Path, tmp_path: Path) -> None:
    asked = dataclasses.replace(SMOKE, report="reports/proxy.py", beside="topology_ablation-seeds")
    with pytest.raises(UserError, match="cannot be kept before topology_ablation-seeds, which its report needs"):
        keep(run, asked, tmp_path / "results")


def test_names_that_are_no_runs_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = ["--runs", str(tmp_path), "--results", str(tmp_path / "results")]
    assert main(["reproduce", "keep", "nonsense", *folders]) == 2
    assert "'nonsense' is no run of the paper's questions; allowed are width_factor-seeds" in capsys.readouterr().err
    assert main(["reproduce", "check", "fusion-seeds", *folders]) == 2
    assert "holds no fusion-seeds; kept are none" in capsys.readouterr().err
    assert main(["reproduce", "keep", *folders]) == 2
    assert "has no run of the paper's questions" in capsys.readouterr().err
    assert main(["reproduce", "costs", "fusion-seeds"]) == 2
    assert "takes no names of runs, and 'fusion-seeds' is given" in capsys.readouterr().err


# --- staleness -----------------------------------------------------------------------------------------------------------


def _changed_study(results: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> list[str]:
    """Give the problems once the study's file says something else."""
    home = results.parent / "home"
    for name in ("studies", "search_spaces", "reports"):
        shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns("results"))
    file = home / "studies" / "topology_ablation.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    monkeypatch.setattr(staleness, "home_of", lambda results: home)
    return problems(SMOKE, results, report=False)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Which feature network finds", "What finds", 'study: question was "Which feature network finds objects'),
        (
            "Recipe.short(epochs=1, batch_size=8)",
            "Recipe.short(epochs=1, batch_size=4)",
            "study: 2 of 2 trials had other data or another recipe",
        ),
        ("train_images=32", "train_images=31", 'study: data was {"kind": "shapes", '),
        (
            'baseline": {"network": "none"}',
            'baseline": {"network": "bifpn"}',
            'study: baseline was {"network": "none"} and is {"network": "bifpn"}',
        ),
        (
            'return space(trial, names=("none", "bifpn"))',
            'return __import__("dataclasses").replace(space(trial, names=("none", "bifpn")), width=48)',
            "study: the space gives other architectures now at network none; network bifpn",
        ),
        (
            'names=("none", "bifpn")',
            'names=("none", "bifpn", "panet")',
            "study: its grid has 1 architectures that the run has not",
        ),
        ('"smoke": {', '"mist": {', "study: form 'smoke' is unknown"),
    ],
)
def test_a_changed_study_is_found(
    results: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, message: str
) -> None:
    assert message in "\n".join(_changed_study(results, monkeypatch, old, new))


def _from_a_commit(results: Path) -> Runs:
    """Say in a kept run that it was made from the last commit as it is, which the working tree of a test need not be."""
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, check=True, text=True)
    with contextlib.closing(sqlite3.connect(results / SMOKE.run / "ledger.sqlite")) as connection:
        connection.execute("UPDATE sessions SET git_commit = ?, git_dirty = 0", (commit.stdout.strip(),))
        connection.commit()
    return Runs(results / SMOKE.run)


def test_changed_code_is_found_and_confirmed_by_training_with_both(
    results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = _from_a_commit(results)
    assert code_problems(runs) == []
    for module in (staleness, confirmation):
        monkeypatch.setattr(module, "code_digest", lambda: "0123456789ab")
    assert "code: trials ran with the code" in "\n".join(code_problems(runs))
    said: list[str] = []
    assert confirmation.confirm(runs.path, report=said.append)["specs"] == 2
    assert "6 steps of 2 architectures by" in said[0]
    assert code_problems(runs) == []


def test_code_that_gives_other_numbers_is_not_confirmed(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = results / SMOKE.run
    _from_a_commit(results)
    numbers = confirmation._numbers

    def changed(process: Any, name: str) -> Any:
        found = numbers(process, name)
        if name == "now":
            found[1] = [None if value is None else 1.01 * value for value in found[1]]
        return found

    monkeypatch.setattr(confirmation, "_numbers", changed)
    with pytest.raises(
        UserError, match=r"the code of [0-9a-f]{7} and that of now give other numbers for .*; run the study"
    ):
        confirmation.confirm(folder, report=lambda text: None)
    monkeypatch.undo()
    monkeypatch.setattr(confirmation, "_TRAINING", "raise SystemExit('no such function')")
    with pytest.raises(UserError, match=r"the code of [0-9a-f]+ cannot train it: no such function"):
        confirmation.confirm(folder, report=lambda text: None)
    with contextlib.closing(sqlite3.connect(folder / "ledger.sqlite")) as connection:
        connection.execute("UPDATE sessions SET git_dirty = 1")
        connection.commit()
    with pytest.raises(UserError, match="did not run from a clean commit"):
        confirmation.confirm(folder, report=lambda text: None)
    assert not (folder / kept.CONFIRMED).exists()


def test_a_report_that_gives_other_numbers_is_found(results: Path) -> None:
    tables = results / SMOKE.run / "report" / "tables"
    frame = pd.read_csv(tables / "architectures.csv")
    frame.loc[0, "gmacs"] += 1
    frame.to_csv(tables / "architectures.csv", index=False)
    (tables / "more.csv").write_text("x\n1\n")
    shown = "\n".join(problems(SMOKE, results))
    assert "report: tables/architectures.csv differs: gmacs in row 1 was" in shown
    assert "report: tables/more.csv is no longer made" in shown
    (trials,) = (results / SMOKE.run).glob("trials_*.csv")
    trials.write_text(trials.read_text().replace(",8,", ",9,", 1) + "x\n")
    assert f"report: {trials.name} differs" in "\n".join(problems(SMOKE, results))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ({"a": [1.0]}, {"a": [1.0 + 1e-9]}, ""),
        ({"a": [float("nan")]}, {"a": [float("nan")]}, ""),
        ({"a": [1.0]}, {"a": [1.1]}, 'a in row 1 was "1.0" and is "1.1"'),
        ({"a": ["x", "y"]}, {"a": ["x", "z"]}, 'a in row 2 was "y" and is "z"'),
        ({"a": [1]}, {"a": [1, 2]}, "1 rows were kept, 2 are made"),
        ({"a": [1]}, {"b": [1]}, "columns (a, b)"),
        ({"a": [1], "b": [1]}, {"b": [1], "a": [1]}, "columns (their order)"),
    ],
)
def test_tables_differ_beyond_rounding(before: dict, after: dict, message: str) -> None:  # type: ignore[type-arg]
    assert difference(pd.DataFrame(before), pd.DataFrame(after)) == message


# --- answers -------------------------------------------------------------------------------------------------------------


def test_a_cell_is_as_like_bifpn_as_it_shares_edges() -> None:
    bifpn = topologies.bifpn(3, 7)
    assert likeness.likeness(bifpn, bifpn) == 1
    panet = topologies.panet(3, 7)
    assert likeness.likeness(panet, bifpn) == likeness.likeness(bifpn, panet)
    assert likeness.likeness(topologies.none(3, 7), bifpn) < likeness.likeness(topologies.fpn(3, 7), bifpn) < 1


def test_without_kept_runs_nothing_is_answered(tmp_path: Path) -> None:
    rows = table.write_answers(tmp_path)
    assert [row["answer"] for row in rows] == [""] * 7
    assert list(table.read_answers(tmp_path).values()) == rows
    assert table.as_markdown(rows).count(table.OPEN) == 7
    assert kept.kept_runs(tmp_path, QUESTIONS[6].asked) == {}
