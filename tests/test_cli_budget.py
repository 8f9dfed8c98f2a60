"""solve, enumerate and count --by on the command line: what is printed, written and refused."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from scaling_lab import DetectorSpec, count, efficientdet
from scaling_lab.cli import main
from search_spaces.compound import SMALL

ROOT = Path(__file__).parents[1]


@pytest.fixture
def small(tmp_path: Path) -> str:
    path = tmp_path / "small.json"
    path.write_text(SMALL.base.to_json())
    return str(path)


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_solve_says_what_it_found_and_writes_it(small: str, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "larger.json"
    command = ["solve", small, "--gmacs", "0.08", "--scale", "width", "--out", str(out)]
    assert main(command) == 0
    said = capsys.readouterr().out
    spec = DetectorSpec.load(out)
    assert spec.describe() in said
    assert count(spec).gmacs <= 0.08
    assert spec.width > SMALL.base.width
    assert main([*command, "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert DetectorSpec.from_dict(values["spec"]) == spec
    assert values["costs"]["gmacs"] == count(spec).gmacs


def test_solve_measures_a_latency(small: str, capsys: Any) -> None:
    gmacs = 1.01 * count(SMALL.base).gmacs  # so that one detector alone is to be measured
    assert main(["solve", small, "--latency-ms", "10000", "--gmacs", str(gmacs), "--scale", "width"]) == 0
    said = capsys.readouterr()
    assert "of 10000" in said.out
    assert " ms  resnet10t*" in said.err


def test_enumerate_lists_a_space_within_limits_in_order(capsys: Any) -> None:
    space = str(ROOT / "search_spaces" / "topology.py")
    assert main(["enumerate", space]) == 0
    all_rows = table(capsys.readouterr().out)
    gmacs = [float(row["gmacs"]) for row in all_rows]
    assert gmacs == sorted(gmacs)
    assert len({row["architecture"] for row in all_rows}) == len(all_rows) > 50
    middle = gmacs[len(gmacs) // 2]
    assert main(["enumerate", space, "--limit", f"gmacs={middle}", "--sort", "params_m", "--descending"]) == 0
    captured = capsys.readouterr()
    some = table(captured.out)
    assert {row["architecture"] for row in some} == {
        row["architecture"] for row in all_rows if float(row["gmacs"]) <= middle
    }
    params = [float(row["params_m"]) for row in some]
    assert params == sorted(params, reverse=True)
    assert captured.err == f"{len(some)} architectures, {len(all_rows) - len(some)} more above a limit\n"


def test_enumerate_draws_what_is_too_large_to_list(tmp_path: Path, capsys: Any) -> None:
    space, out = str(ROOT / "search_spaces" / "edges.py"), tmp_path / "edges.csv"
    assert main(["enumerate", space]) == 2
    assert "the space has about 1e+15 points, and a grid 100000 at most" in capsys.readouterr().err
    assert main(["enumerate", space, "--sample", "20", "--out", str(out)]) == 0
    first = out.read_text()
    assert len(table(first)) == 20
    assert main(["enumerate", space, "--sample", "20", "--seed", "1", "--out", str(out)]) == 0
    assert out.read_text() != first
    assert main(["enumerate", space, "--sample", "20", "--out", str(out)]) == 0
    assert out.read_text() == first


def test_enumerate_takes_a_study_with_its_limits(capsys: Any) -> None:
    assert main(["enumerate", str(ROOT / "studies" / "width_factor.py"), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 6


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.py"], "there is no file nowhere.py"),
        (["README.md"], "README.md is no Python file"),
        (["reports/frontier.py"], "has neither a function `space` nor a STUDY"),
        (
            ["search_spaces/width_factor.py", "--limit", "gmacs"],
            "--limit is 'gmacs'; allowed is one of gmacs, params_m",
        ),
        (["search_spaces/width_factor.py", "--sort", "speed"], "--sort is 'speed'; allowed are architecture, gmacs"),
        (["search_spaces/width_factor.py", "--sample", "0"], "--sample is 0; allowed is 1 and more"),
    ],
)
def test_enumerate_refuses(words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["enumerate", *words]) == 2
    assert said in capsys.readouterr().err


def test_count_by_node_and_by_level_adds_up(capsys: Any) -> None:
    assert main(["count", "d0", "--json"]) == 0
    counted = json.loads(capsys.readouterr().out)["d0"]
    spec = efficientdet("d0")
    assert len(counted["nodes"]) == spec.repeats * len(spec.topology.nodes)
    parts = counted["parts"]
    levels = sum(level["activations"] for level in counted["levels"].values())
    assert levels == parts["feature_network"]["activations"] + parts["heads"]["activations"]
    for by, wanted in (
        ("node", "cell 3, node 12 (P7)"),
        ("level", "heads, of all levels"),
        ("part", "feature_network"),
    ):
        assert main(["count", "d0", "--by", by]) == 0
        assert wanted in capsys.readouterr().out
