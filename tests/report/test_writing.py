"""Report files are found, loaded and blamed by name and line; no report imports torch or ray."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scaling_lab.errors import UserError
from scaling_lab.report import write_report
from scaling_lab.report.writing import default_report
from scaling_lab.runs import Runs
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
        ("def report(runs):\n    return 7\n", r"gave int; allowed is a scaling_lab.report.Page"),
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
        "from scaling_lab.report import statistics\ndef report(runs):\n    statistics.smallest_detectable('a', 3, 3)\n"
    )
    with pytest.raises(TypeError):
        write_report(empty, file)


def test_missing_files_are_named(empty: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"report file .*nothing\.py does not exist"):
        write_report(empty, tmp_path / "nothing.py")
    with pytest.raises(UserError, match="is not a run"):
        write_report(tmp_path)


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
    with pytest.raises(UserError, match=r"reports/lost\.py is not there"):
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
