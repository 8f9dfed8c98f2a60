"""The file of latencies: what is written is what is read, and other files are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scaling_lab.errors import UserError
from scaling_lab.runs.latencies import COLUMNS, Latencies, is_of, read_rows, write_rows

ROW: dict[str, Any] = {
    "detector": "d0, \"my\" one\n<b>", "architecture": "abc", "description": "d", "gmacs": 2.492, "params_m": 3.88,
    "activations_m": 21.5, "memory_mb": 80.0, "device": "CPU", "dtype": "float32", "batch": 1, "threads": 2,
    "backend": "eager", "scope": "network", "median_ms": 5.25, "p90_ms": 6.0, "spread_ms": 0.125, "runs": 200,
    "processes": 3, "process_spread": 0.01, "halves_ms": [5.25, 5.5], "method": "anchored", "anchor": "xyz",
    "anchor_ms": 17.5, "anchor_drift": 0.025,
    "peak_memory_mb": None, "versions": {"torch": "2", "cuda": None}, "pieces_ms": None,
}  # fmt: skip


def test_rows_come_back(tmp_path: Path) -> None:
    path = tmp_path / "latencies.csv"
    rows = [ROW, {**ROW, "architecture": "def", "pieces_ms": [1.5, 0.25], "peak_memory_mb": 12.5}]
    write_rows(path, rows)
    assert read_rows(path) == rows
    table = Latencies(path).table()
    assert table["architecture"].tolist() == ["abc", "def"]
    assert tuple(table.columns) == COLUMNS
    assert [each.name for each in tmp_path.iterdir()] == ["latencies.csv"]


def test_conditions_are_compared_by_value() -> None:
    conditions = {name: ROW[name] for name in ("device", "dtype", "batch", "threads", "backend", "scope")}
    assert is_of(ROW, conditions)
    for name, other in {"device": "GPU", "batch": 2, "threads": 1, "scope": "end_to_end"}.items():
        assert not is_of(ROW, {**conditions, name: other})


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    with pytest.raises(UserError, match=r"x\.csv cannot be read: No such file"):
        read_rows(path)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(
        UserError, match=r"x\.csv is not a file of latencies: its columns are a, b; allowed are detector"
    ):
        read_rows(path)
    write_rows(path, [ROW])
    path.write_text(path.read_text().replace("5.25", "fast"))
    with pytest.raises(UserError, match=r"x\.csv: row 1 has median_ms 'fast', which is not a value of that column"):
        read_rows(path)
    write_rows(path, [ROW])
    path.write_text(path.read_text()[:-60])
    with pytest.raises(UserError, match=r"x\.csv: row 1 has no "):
        read_rows(path)
    with pytest.raises(UserError, match="cannot be written: No such file"):
        write_rows(tmp_path / "nowhere" / "x.csv", [ROW])


@pytest.mark.parametrize("number", ["nan", "inf", "-Infinity", "1e999", "9" * 5000, "x"])
def test_what_is_no_finite_number_is_named_with_its_row(tmp_path: Path, number: str) -> None:
    columns = [number if name == "median_ms" else "" for name in COLUMNS]
    (tmp_path / "l.csv").write_text(",".join(COLUMNS) + "\n" + ",".join(columns) + "\n")
    with pytest.raises(UserError, match=r"l.csv: row 1 has median_ms '.*', which is not a value of that column"):
        read_rows(tmp_path / "l.csv")
