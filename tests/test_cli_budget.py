"""solve, enumerate and count --by on the command line: what is printed, written and refused."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest

from scaling_lab import DetectorSpec, Shapes, count, efficientdet
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
    said = f"{len(some)} architectures, {len(all_rows) - len(some)} more exceed a limit, with the space's own number of classes"
    assert captured.err.startswith(said)


def test_enumerate_draws_what_is_too_large_to_list(tmp_path: Path, capsys: Any) -> None:
    space, out = str(ROOT / "search_spaces" / "edges.py"), tmp_path / "edges.csv"
    assert main(["enumerate", space]) == 2
    said = capsys.readouterr().err
    assert "the space has about 1e+15 points; at most 100000 can be listed or run as a grid; use --sample" in said
    assert main(["enumerate", space, "--sample", "20", "--out", str(out)]) == 0
    first = out.read_text()
    assert len(table(first)) == 20
    assert main(["enumerate", space, "--sample", "20", "--seed", "1", "--out", str(out)]) == 0
    assert out.read_text() != first
    assert main(["enumerate", space, "--sample", "20", "--out", str(out)]) == 0
    assert out.read_text() == first


STUDY = """
import dataclasses
from scaling_lab import Recipe, Shapes, Study
from search_spaces.compound import SMALL

def space(trial):
    backbone = trial.suggest_categorical("backbone", ["resnet10t", "resnet10tt"][:{backbones}])
    width = trial.suggest_categorical("width", [16, 32, 48])
    options = dict(SMALL.base.backbone_options)
    return dataclasses.replace(SMALL.base, backbone=backbone, width=width, backbone_options=options)

STUDY = Study(
    question="Which?", space=space, data=Shapes(), recipe=Recipe.short(epochs=1), sampler="random", trials=1,
    limits={{"gmacs": {gmacs}, "latency_ms": 50}},
)
"""


def test_enumerate_takes_a_study_as_it_would_be_trained_within_its_limits(tmp_path: Path, capsys: Any) -> None:
    spec = dataclasses.replace(SMALL.base, num_classes=len(Shapes().class_names))
    file = tmp_path / "mine.py"
    file.write_text(STUDY.format(backbones=1, gmacs=count(spec).gmacs))
    assert main(["enumerate", str(file)]) == 0
    captured = capsys.readouterr()
    rows = table(captured.out)
    assert [row["width"] for row in rows] == ["16", "32"]
    assert (rows[1]["architecture"], float(rows[1]["gmacs"])) == (spec.digest, count(spec).gmacs)
    assert "latency_ms is not applied" in captured.err
    assert f"2 architectures, 1 more exceed a limit, {spec.num_classes} classes" in captured.err
    assert main(["enumerate", str(file), "--classes", "1"]) == 0
    assert float(table(capsys.readouterr().out)[0]["gmacs"]) < float(rows[0]["gmacs"])


def test_enumerate_writes_what_it_has_counted_before_a_point_that_fails(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "mine.py"
    file.write_text(STUDY.format(backbones=2, gmacs=10))
    assert main(["enumerate", str(file)]) == 2
    captured = capsys.readouterr()
    assert [row["width"] for row in table(captured.out)] == ["16", "32", "48"]
    assert "backbone 'resnet10tt' is unknown" in captured.err
    assert "at backbone='resnet10tt', width=16" in captured.err


def test_what_a_point_has_not_is_last_either_way(capsys: Any) -> None:
    for direction in ([], ["--descending"]):
        assert main(["enumerate", str(ROOT / "search_spaces" / "topology.py"), "--sort", "fusion", *direction]) == 0
        fusions = [row["fusion"] for row in table(capsys.readouterr().out)]
        assert fusions[-1] == ""
        assert fusions[0] in ("fast", "sum")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.py"], "there is no file nowhere.py"),
        (["README.md"], "README.md is not a Python file"),
        (["reports/frontier.py"], "has neither a function `space` nor a STUDY"),
        (
            ["search_spaces/width_factor.py", "--limit", "gmacs"],
            "--limit is 'gmacs'; allowed are gmacs, params_m",
        ),
        (["search_spaces/width_factor.py", "--sort", "speed"], "--sort is 'speed'; allowed are architecture, gmacs"),
        (["search_spaces/width_factor.py", "--sample", "0"], "--sample is 0; allowed are 1 and above"),
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
        ("level", "heads, all levels"),
        ("part", "feature_network"),
    ):
        assert main(["count", "d0", "--by", by]) == 0
        assert wanted in capsys.readouterr().out
