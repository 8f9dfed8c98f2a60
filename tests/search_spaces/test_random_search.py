"""A random search over each space that makes topologies: the engine finds a new detector every time."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from scaling_lab.runs.reader import Runs
from scaling_lab.study.run.runner import run_study
from scaling_lab.study.study import Space
from search_spaces import edges, nas_cell
from tests.study.engine import Replayed, count, make_study


@pytest.mark.parametrize("space", [nas_cell.space, edges.space], ids=["nas_cell", "edges"])
@pytest.mark.parametrize("sampler", ["random", pytest.param("tpe", marks=pytest.mark.slow)])
def test_fifty_trials_are_fifty_architectures(tmp_path: Path, space: Space, sampler: str) -> None:
    study = make_study(space=space, sampler=sampler, trials=50)
    run_study(study, out=tmp_path / "run", executor="local", count=count, objective=Replayed(), stream=io.StringIO())
    table = Runs(tmp_path / "run").table()
    assert list(table["state"]) == ["complete"] * 50
    assert table["architecture"].nunique() == 50
