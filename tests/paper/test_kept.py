"""Stored runs: what is stored, what the check finds, and the repository's own results."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from scaling_lab.architecture import topologies
from scaling_lab.cli import main
from scaling_lab.errors import UserError
from scaling_lab.paper import answer_table, kept_check, kept_runs, likeness
from scaling_lab.paper.kept_check import difference, problems, text_difference
from scaling_lab.paper.kept_runs import keep
from scaling_lab.paper.questions import OPEN, QUESTIONS, Asked
from scaling_lab.runs.lock import only_writer
from scaling_lab.runs.reader import Runs
from scaling_lab.study.run.runner import run_study

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "reports" / "results"
SMOKE = Asked(study="topology_ablation", form="smoke")
STORED = kept_runs.stored(RESULTS)
USUAL = ("fusion-seeds", "proxy")  # an ablation, and a run whose report needs another


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / SMOKE.run
    run_study(ROOT / "studies" / "topology_ablation.py", form="smoke", out=folder, executor="local", stream=None)
    return folder


@pytest.fixture(scope="module")
def stored(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("stored") / "reports" / "results"
    keep(run, SMOKE, results)
    return results


@pytest.fixture
def results(stored: Path, tmp_path: Path) -> Path:
    """Give a copy that a test may change."""
    return Path(shutil.copytree(stored, tmp_path / "reports" / "results"))


def _sql(folder: Path, command: str) -> None:
    with contextlib.closing(sqlite3.connect(folder / "ledger.sqlite")) as connection:
        connection.execute(command)
        connection.commit()


# --- of the repository ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked",
    [pytest.param(asked, id=asked.run, marks=() if asked.run in USUAL else pytest.mark.slow) for asked in STORED],
)
def test_a_result_of_the_repository_follows_from_its_ledger(asked: Asked) -> None:
    assert problems(asked, RESULTS) == []


def test_the_answers_of_the_repository_follow_from_the_ledgers() -> None:
    assert kept_check.answer_problems(RESULTS) == []


def test_the_docs_have_the_generated_answers() -> None:
    rows = [row for _, row in sorted(answer_table.read_answers(RESULTS).items())]
    assert [int(row["number"]) for row in rows] == [question.number for question in QUESTIONS]
    assert {table.file for table in answer_table.TABLES} == {"docs/results.md"}
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    for table in answer_table.TABLES:
        assert table.text(rows) in text


def test_answers_are_short_and_so_are_their_sentences() -> None:
    for row in answer_table.read_answers(RESULTS).values():
        assert len(row["short"].split()) <= 15, row["short"]
        for sentence in re.split(r"(?<=[.;:]) ", f"{row['answer']} {row['details']} {row['conditions']}"):
            assert len(sentence.split()) <= 25, sentence


# --- storing -------------------------------------------------------------------------------------------------------------


def test_a_stored_run_has_its_ledger_its_trials_and_one_page(run: Path, results: Path) -> None:
    folder = results / SMOKE.run
    (trials,) = folder.glob("*.csv")
    assert re.fullmatch(r"trials_shapes_128px_1_epochs_1_seeds_[a-z0-9_]+\.csv", trials.name)
    assert {path.name for path in folder.iterdir()} == {"ledger.sqlite", "topology_ablation.html", trials.name}
    assert {path.name for path in results.iterdir()} == {SMOKE.run}
    assert pd.read_csv(trials)["ap"].tolist() == Runs(run).table()["ap"].tolist()
    pd.testing.assert_frame_equal(Runs(folder).table(), Runs(run).table())
    assert problems(SMOKE, results) == []


def test_a_stored_page_is_whole_by_itself(results: Path) -> None:
    page = (results / SMOKE.run / "topology_ablation.html").read_text(encoding="utf-8")
    assert page.count("<figure ") == page.count("<figcaption>") > 3
    assert page.count("<svg") > page.count("<figure ")  # a wide and a narrow drawing
    assert "plotly" not in page
    links = re.findall(r'(?:href|src)="([^"#]+)"', page)
    assert [link for link in links if not link.startswith(("http", "data:"))] == []


@pytest.mark.slow
def test_a_stored_runs_figures_and_tables_can_be_made_as_files(results: Path, tmp_path: Path) -> None:
    assert main(["report", str(results / SMOKE.run), "--out", str(tmp_path / "report")]) == 0
    figures = {path.suffix for path in (tmp_path / "report" / "figures").iterdir()}
    assert figures == {".svg", ".pdf", ".png", ".csv"}
    assert (tmp_path / "report" / "tables" / "trials.csv").is_file()


def test_a_run_that_has_not_ended_is_not_stored(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    _sql(tmp_path / "run", "UPDATE trials SET state = 'planned' WHERE id = 2")
    with pytest.raises(
        UserError, match=r"cannot be stored: 1 of its 2 trials have not ended; `scaling-lab run studies/"
    ):
        keep(tmp_path / "run", SMOKE, tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_another_studys_run_is_not_stored(run: Path, tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="is of the study topology_ablation, form smoke, so it cannot be stored as fusion"
    ):
        keep(run, Asked(study="fusion", form="seeds"), tmp_path)


def test_what_is_stored_stays_where_storing_fails(run: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(results.rglob("*"))

    def fails(*_: object, **__: object) -> None:
        raise UserError("no report")

    monkeypatch.setattr(kept_runs, "write_report", fails)
    with pytest.raises(UserError, match="no report"):
        keep(run, SMOKE, results)
    assert sorted(results.rglob("*")) == before


def test_a_kill_in_the_middle_of_a_replacement_loses_nothing(run: Path, results: Path) -> None:
    """The old one stands aside, the new one is not there yet."""
    aside = results / ".new" / "old" / SMOKE.run
    aside.parent.mkdir(parents=True)
    shutil.move(results / SMOKE.run, aside)
    keep(run, SMOKE, results)
    assert Runs(results / SMOKE.run).table().equals(Runs(run).table())
    assert not (results / ".new").exists()


def test_two_do_not_store_at_once(run: Path, results: Path) -> None:
    with only_writer(results / ".keep.lock"), pytest.raises(UserError, match="is being written by process"):
        keep(run, SMOKE, results)


def test_a_stored_runs_page_can_be_updated_from_itself(results: Path) -> None:
    folder = results / SMOKE.run
    (folder / "topology_ablation.html").write_text("old")
    (problem,) = problems(SMOKE, results)
    assert problem.startswith('page: topology_ablation.html differs: "old" was stored, "<!doctype html>')
    assert problem.endswith("`scaling-lab reproduce keep topology_ablation-smoke` updates it")
    ledger = (folder / "ledger.sqlite").read_bytes()
    keep(folder, SMOKE, results)
    assert problems(SMOKE, results) == []
    assert (folder / "ledger.sqlite").read_bytes() == ledger


def test_a_run_is_not_stored_before_the_one_that_its_report_needs(run: Path, tmp_path: Path) -> None:
    asked = dataclasses.replace(SMOKE, report="reports/proxy.py", beside="topology_ablation-seeds")
    with pytest.raises(UserError, match="cannot be stored before topology_ablation-seeds, which its report needs"):
        keep(run, asked, tmp_path / "results")


def test_any_studys_run_is_stored_and_checked_by_command(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "reports" / "results"
    folders = ["--runs", str(run.parent), "--results", str(results)]
    assert main(["reproduce", "keep", SMOKE.run, *folders]) == 0
    assert {path.name for path in results.iterdir()} == {SMOKE.run, "answers.csv"}
    assert main(["reproduce", "check", *folders]) == 0
    shown = capsys.readouterr().out
    assert re.search(rf"^{SMOKE.run}: matches its study and page \(commit .*, torch 2\.", shown, re.MULTILINE)
    assert "answers: match the stored runs" in shown
    assert main(["reproduce", "keep", *folders]) == 0  # without names too, for it is stored
    assert f"{SMOKE.run}: stored" in capsys.readouterr().out
    _sql(results / SMOKE.run, "UPDATE trials SET ap = ap + 1 WHERE id = 1")
    assert main(["reproduce", "check", SMOKE.run, *folders]) == 1


def test_names_that_are_no_runs_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = ["--runs", str(tmp_path), "--results", str(tmp_path / "results")]
    assert main(["reproduce", "keep", "nonsense", *folders]) == 2
    assert "'nonsense' is neither a run of the paper's questions nor a folder in " in capsys.readouterr().err
    assert main(["reproduce", "check", "fusion-seeds", *folders]) == 2
    assert "holds no fusion-seeds; stored are none" in capsys.readouterr().err
    assert main(["reproduce", "keep", *folders]) == 2
    assert "has no run of the paper's questions" in capsys.readouterr().err
    assert main(["reproduce", "costs", "fusion-seeds"]) == 2
    assert "takes no run names; got 'fusion-seeds'" in capsys.readouterr().err
    assert main(["reproduce", "check", "--short"]) == 2
    assert "--short is for reproduce table" in capsys.readouterr().err


# --- the check -----------------------------------------------------------------------------------------------------------


def _changed_study(results: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> list[str]:
    """Give the problems once the study's file says something else."""
    home = results.parent / "home"
    for name in ("studies", "search_spaces", "reports"):
        shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns("results"))
    file = home / "studies" / "topology_ablation.py"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    monkeypatch.setattr(kept_check, "home_of", lambda results: home)
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


def _edit(path: Path, change: Callable[[str], str]) -> None:
    before = path.read_text(encoding="utf-8")
    assert change(before) != before
    path.write_text(change(before), encoding="utf-8")


def test_a_changed_csv_is_found(results: Path) -> None:
    (trials,) = (results / SMOKE.run).glob("*.csv")
    frame = pd.read_csv(trials)
    frame.loc[1, "ap"] += 0.001
    frame.to_csv(trials, index=False)
    (problem,) = problems(SMOKE, results)
    assert "differs from the ledger: ap in row 2 was" in problem
    trials.unlink()
    assert problems(SMOKE, results) == [f"CSV: {trials.name} is missing"]


def test_a_changed_ledger_shows_in_csv_and_page(results: Path) -> None:
    _sql(results / SMOKE.run, "UPDATE trials SET ap = ap + 1 WHERE id = 1")
    kinds = [problem.partition(":")[0] for problem in problems(SMOKE, results)]
    assert kinds == ["CSV", "page"]


def test_a_changed_page_is_found_and_a_changed_drawing_is_not(results: Path) -> None:
    page = results / SMOKE.run / "topology_ablation.html"
    _edit(page, lambda text: re.sub(r'<path d="[^"]+"', '<path d="M 0 0"', text, count=1))
    assert problems(SMOKE, results) == []
    _edit(page, lambda text: text.replace("<figcaption>", "<figcaption>Not so. ", 1))
    assert "Not so. " in problems(SMOKE, results)[0]
    page.unlink()
    assert problems(SMOKE, results) == ["page: topology_ablation.html is missing"]


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("AP 83.8 of 5 seeds", "AP 83.8 of 5 seeds", True),
        ("AP 83.8", "AP 83.9", True),  # a value between the two, rounded on two machines
        ("AP 83.8", "AP 84.0", False),
        ('data-v="83.8123456"', 'data-v="83.8123459"', True),
        ('data-v="83.8123456"', 'data-v="83.812346"', True),
        ('data-v="83.8123456"', 'data-v="83.8143456"', False),
        ("5 seeds", "6 seeds", False),
        ("+0.1", "−0.1", False),
        ("one", "one more", False),
        ("3 of 4", "3 of 4 and 5", False),
    ],
)
def test_texts_differ_beyond_rounding(before: str, after: str, same: bool) -> None:
    assert (text_difference(before, after) == "") is same


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ({"a": [1.0]}, {"a": [1.0 + 1e-9]}, ""),
        ({"a": [float("nan")]}, {"a": [float("nan")]}, ""),
        ({"a": [1.0]}, {"a": [1.1]}, 'a in row 1 was "1.0" and is "1.1"'),
        ({"a": ["x", "y"]}, {"a": ["x", "z"]}, 'a in row 2 was "y" and is "z"'),
        ({"a": [1]}, {"a": [1, 2]}, "1 rows were stored, 2 are made"),
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


def test_without_stored_runs_nothing_is_answered(tmp_path: Path) -> None:
    rows = answer_table.write_answers(tmp_path)
    assert [row["answer"] for row in rows] == [""] * 7
    assert list(answer_table.read_answers(tmp_path).values()) == rows
    assert answer_table.short_markdown(rows).count(OPEN) == answer_table.long_markdown(rows).count(OPEN) == 7
    assert kept_runs.kept_runs(tmp_path, QUESTIONS[6].asked) == {}


def test_changed_answers_and_tables_are_found(results: Path) -> None:
    rows = answer_table.write_answers(results)
    docs = results.parents[1] / "docs" / "results.md"
    docs.parent.mkdir()
    docs.write_text("# Title\n\n" + "\n".join(table.text(rows) for table in answer_table.TABLES), encoding="utf-8")
    assert kept_check.answer_problems(results) == []
    _edit(docs, lambda text: text.replace(f"*{OPEN}*", "1.35", 1))
    assert kept_check.answer_problems(results) == [
        "docs/results.md: its table is not what `scaling-lab reproduce table` prints; replace it"
    ]
    _edit(results / "answers.csv", lambda text: text.replace("1.35, from 1.2", "1.45, from 1.2"))
    found = kept_check.answer_problems(results)
    assert found[0].startswith('question 1, published: "1.45, from 1.2 to 1.45; no AP given')
    assert len(found) == 2
