"""Report files are found, loaded and blamed by name and line; no report imports torch or ray."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scaling_lab.errors import UserError
from scaling_lab.report import write_report
from scaling_lab.report.writing import default_report
from scaling_lab.runs.latencies import write_rows
from scaling_lab.runs.reader import Runs
from tests.report.conftest import ROOT
from tests.report.fixture_run import Fixture, write_run

MINIMAL = """
from scaling_lab.report import Page

def report(runs):
    return Page(title="mine", question=str(len(runs.table())), sections=())
"""


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run", Fixture(trials=[], samples=0))


def test_a_report_file_of_ones_own(empty: Path, tmp_path: Path) -> None:
    file = tmp_path / "reports" / "mine.py"
    file.parent.mkdir()
    file.write_text(MINIMAL)
    assert write_report(empty, file, tmp_path / "out") == tmp_path / "out" / "mine.html"
    assert "<h1>mine</h1>" in (tmp_path / "out" / "mine.html").read_text()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def report(runs:\n    pass\n", r"mine\.py:1: SyntaxError"),
        ("import no_such_module\n", r"mine\.py:1: ModuleNotFoundError"),
        ("x = 1\n", r"has no function report"),
        ("def report(runs):\n    return 7\n", r"returned int; allowed is a scaling_lab.report.Page"),
        ("def report(runs):\n    t = runs.table()\n    return t['nothing']\n", r"mine\.py:3: KeyError: 'nothing'"),
    ],
)
def test_a_broken_report_file_is_named_with_its_line(empty: Path, tmp_path: Path, source: str, message: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(source)
    with pytest.raises(UserError, match=message):
        write_report(empty, file)


def test_our_own_mistakes_keep_their_traceback(empty: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from scaling_lab.stats import power\ndef report(runs):\n    power.smallest_detectable('a', 3, 3)\n"
    )
    with pytest.raises(TypeError):
        write_report(empty, file)


def test_missing_files_are_named(empty: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"report file .*nothing\.py does not exist"):
        write_report(empty, tmp_path / "nothing.py")
    with pytest.raises(UserError, match="is not a run"):
        write_report(tmp_path)


def test_reports_of_runs_and_of_latencies_are_not_taken_for_each_other(empty: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is for a file that `scaling-lab measure --out FILE\.csv` wrote"):
        write_report(empty, ROOT / "reports" / "latency.py")
    write_rows(tmp_path / "x.csv", [])
    for name in ("frontier", "topology_ablation"):
        with pytest.raises(UserError, match=r"is for runs; .*x\.csv is a file of latencies"):
            write_report(tmp_path / "x.csv", ROOT / "reports" / f"{name}.py")
    with pytest.raises(UserError, match=r"README\.md is neither a run's folder nor a \.csv file of latencies"):
        write_report(ROOT / "README.md")


def test_the_study_names_its_report(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert default_report(Runs(empty)).resolve() == ROOT / "reports" / "topology_ablation.py"
    home = tmp_path / "lab"
    (home / "reports").mkdir(parents=True)
    (home / "reports" / "own.py").write_text(MINIMAL)
    meta = {"report": "reports/own.py", "study_file": str(home / "studies" / "s.py")}
    run = write_run(tmp_path / "run", Fixture(trials=[], samples=0, meta=meta))
    assert default_report(Runs(run)) == home / "reports" / "own.py"
    lost = write_run(tmp_path / "lost", Fixture(trials=[], samples=0, meta={"report": "reports/lost.py"}))
    with pytest.raises(UserError, match=r"reports/lost\.py does not exist"):
        default_report(Runs(lost))


def test_reports_import_neither_torch_nor_ray(empty: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(['torch', 'ray', 'optuna', 'timm']))\n"  # importing any of them now fails
        "from scaling_lab.report import write_report\n"
        f"write_report({str(empty)!r}, {str(ROOT / 'reports' / 'topology_ablation.py')!r}, {str(tmp_path)!r})\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("other") / "second", Fixture(trials=[], samples=0))


PAIR = """
from scaling_lab.report import Page

def report(SIGNATURE):
    return Page(title="pair", question=str(len(locals())), sections=())
"""


@pytest.mark.parametrize("signature", ["*runs", "proxy, full", "runs, *more", "proxy, full, third=None, *, name='x'"])
def test_a_report_on_several_runs(signature: str, empty: Path, other: Path, tmp_path: Path) -> None:
    file = tmp_path / "pair.py"
    file.write_text(PAIR.replace("SIGNATURE", signature))
    assert "<h1>pair</h1>" in write_report([empty, other], file, tmp_path / "out").read_text()


@pytest.mark.parametrize(
    ("signature", "count", "message"),
    [
        ("runs", 2, r"takes 1 run, not 2: its function is report\(runs\); allowed for several is report\(\*runs\)"),
        (
            "proxy, full",
            1,
            r"takes 2 runs, not 1: its function is report\(proxy, full\); allowed for one is report\(runs\)",
        ),
        ("a, b=None", 3, r"takes 1 to 2 runs, not 3"),
        ("a, b, *rest", 1, r"takes 2 or more runs, not 1: its function is report\(a, b, \*rest\)"),
        ("", 1, r"takes 0 runs, not 1: its function is report\(\)"),
        ("*runs, name", 2, r"report\(…\) needs name=…; allowed are only runs and parameters with a default"),
    ],
)
def test_a_report_that_takes_another_number_of_runs_is_refused_before_it_runs(
    signature: str, count: int, message: str, empty: Path, other: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(f"def report({signature}):\n    raise SystemExit('it ran')\n")
    third = write_run(tmp_path / "third", Fixture(trials=[], samples=0))
    with pytest.raises(UserError, match=message):
        write_report([empty, other, third][:count], file)


def test_several_runs_are_compared_in_a_folder_beside_the_first(empty: Path, other: Path, tmp_path: Path) -> None:
    first, second = (tmp_path / "runs" / name for name in ("x", "x-random"))
    for path in (first, second):
        write_run(path, Fixture(trials=[], samples=0, meta={"protocol": "p", "report": "reports/frontier.py"}))
    page = write_report([first, second])
    assert page == tmp_path / "runs" / "comparison_x_x-random" / "comparison.html"
    assert default_report(Runs(first), Runs(second)).name == "comparison.py"
    namesake = write_run(tmp_path / "x", Fixture(trials=[], samples=0, meta={"protocol": "p"}))
    assert write_report([first, namesake]).parent.name == f"comparison_runs-x_{tmp_path.name}-x"
    long = [
        write_run(tmp_path / f"{name * 80}", Fixture(trials=[], samples=0, meta={"protocol": "p"})) for name in "ab"
    ]
    folder = write_report(long).parent.name
    assert len(folder) == 100
    assert folder != write_report([long[0], first]).parent.name


def test_what_cannot_stand_beside_others_is_refused(empty: Path, other: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"x\.csv is a file of latencies; allowed is this file alone, or run folders"):
        write_report([empty, tmp_path / "x.csv"])
    with pytest.raises(UserError, match=r"is named twice \(as .*run and .*run/\.\./run\); allowed are different runs"):
        write_report([empty, other, empty / ".." / empty.name])
    with pytest.raises(UserError, match="is named twice; allowed"):
        write_report([empty, empty])
    with pytest.raises(UserError, match="no run to report on"):
        write_report([])
