"""What the README shows runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from scaling_lab import Runs
from scaling_lab.cli import main

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def _block(holding: str) -> str:
    (found,) = [block for block in BLOCKS if holding in block]
    return str(found)


def test_the_first_example() -> None:
    names: dict[str, Any] = {}
    exec(_block("count(d0).params"), names)
    assert [logits.shape[2] for logits in names["class_logits"]] == [64, 32, 16, 8, 4]
    assert [deltas.shape[1] for deltas in names["box_deltas"]] == [36] * 5


def test_the_counts_beside_the_first_example() -> None:
    from scaling_lab import count, efficientdet

    cost = count(efficientdet("d0"))
    assert f"# {cost.params}, {cost.gmacs:.3f}" in _block("count(d0).params")


def test_a_topology_a_space_a_study_and_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["init", str(tmp_path / "project")]) == 0
    monkeypatch.chdir(tmp_path / "project")
    exec(_block("mine = Topology"), {})
    Path("search_spaces/mine.py").write_text(_block("def space(trial)"))
    Path("studies/mine.py").write_text(_block("STUDY = Study("))
    Path("reports/mine.py").write_text(_block("def report(runs)"))
    Path("studies/search.py").write_text(_block("STUDY = Study(") + _block("dataclasses.replace(\n    STUDY"))
    assert main(["plan", "studies/search.py", "--no-measure"]) == 0
    assert main(["run", "studies/mine.py", "--form", "smoke", "--executor", "local"]) == 0
    assert Runs("runs/mine-smoke").table()["param_width"].tolist() == [16, 32, 48, 64]
    assert main(["report", "runs/mine-smoke", "--report", "reports/mine.py"]) == 0
    assert "How wide?" in Path("runs/mine-smoke/report/mine.html").read_text()
