"""The executed notebook: it ran from its first cell to its last without an error, shows what it made, and runs again."""

from __future__ import annotations

import ast
import base64
import importlib
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

import scaling_lab.report.notebook as lab

ROOT = Path(__file__).parents[1]
PATH = ROOT / "reports" / "in_a_notebook.ipynb"
MOST_BYTES = 600_000


@pytest.fixture(scope="module")
def cells() -> list[Any]:
    """The cells that hold code."""
    notebook = nbformat.read(PATH, as_version=4)
    nbformat.validate(notebook)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def pictures(cells: list[Any]) -> list[bytes]:
    data = [output.data for cell in cells for output in cell.outputs if "data" in output]
    return [base64.b64decode(each["image/png"]) for each in data if "image/png" in each]


def called(cells: list[Any]) -> set[str]:
    """The names of scaling_lab.report.notebook that the code uses."""
    nodes = [node for cell in cells for node in ast.walk(ast.parse(cell.source))]
    return {node.attr for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "lab"}


def check_executed(cells: list[Any]) -> None:
    """Every cell was run, in order, once, without an error or a complaint, and as many figures are shown as are drawn last."""
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    kinds = [output.output_type for cell in cells for output in cell.outputs]
    assert "error" not in kinds
    assert not [output for cell in cells for output in cell.outputs if output.get("name") == "stderr"]
    for cell in cells:
        last = ast.parse(cell.source).body[-1]
        draws = isinstance(last, ast.Expr) and ("_figure(" in ast.unparse(last) or ast.unparse(last) == "figure")
        assert len(pictures([cell])) == draws, cell.source


def test_it_was_executed_in_order_and_shows_its_figures(cells: list[Any]) -> None:
    check_executed(cells)
    for picture in pictures(cells):
        width, height = struct.unpack(">II", picture[16:24])
        assert width >= 200, "a picture of a figure, not a spot"
        assert height >= 200


def test_its_outputs_name_no_folder_of_the_machine_and_it_is_small() -> None:
    text = PATH.read_text(encoding="utf-8")
    assert len(text) < MOST_BYTES
    for place in ("/tmp", "/work", "/home", "/root", "/usr", "site-packages"):
        assert place not in text


def test_every_name_that_it_imports_or_calls_exists(cells: list[Any]) -> None:
    for cell in cells:
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ImportFrom):
                assert node.module is not None
                module = importlib.import_module(node.module)
                for alias in node.names:
                    if not hasattr(module, alias.name):
                        importlib.import_module(f"{node.module}.{alias.name}")
    assert called(cells) <= set(lab.__all__)


def test_it_draws_every_kind_of_figure_of_a_single_run(cells: list[Any]) -> None:
    """But for those of what it has not: measured latencies, a search, a population large enough for importance."""
    drawn = {name for name in called(cells) if name.endswith("_figure")}
    all_of_them = {name for name in lab.__all__ if name.endswith("_figure")}
    assert all_of_them - drawn == {"latency_figure", "search_figure", "beliefs_figure", "importance_figure"}


def test_all_names_under_one_name_are_there() -> None:
    assert all(callable(getattr(lab, name)) for name in lab.__all__)
    assert lab.__all__ == sorted(lab.__all__)


@pytest.mark.slow
def test_it_runs_from_the_root_of_a_project(tmp_path: Path) -> None:
    """As a reader runs it: from nothing, beside the search spaces, without a network."""
    for folder in ("search_spaces", "scaling_lab"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    (tmp_path / "reports").mkdir()
    copy = tmp_path / "reports" / PATH.name
    copy.write_bytes(PATH.read_bytes())
    command = [sys.executable, "-m", "nbconvert", "--to", "notebook", "--execute", "--inplace", f"reports/{PATH.name}"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(tmp_path)}
    subprocess.run(command, cwd=tmp_path, check=True, env=environment, timeout=1800)
    executed = [cell for cell in nbformat.read(copy, as_version=4).cells if cell.cell_type == "code"]
    check_executed(executed)
    assert (tmp_path / "runs" / "in_a_notebook" / "figures" / "bifpn_less_fpn.pdf").read_bytes().startswith(b"%PDF")
