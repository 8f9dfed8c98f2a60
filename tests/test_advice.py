"""What messages advise works: each piece is taken from its message as it stands, and followed."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import scaling_lab
from scaling_lab import build
from scaling_lab.cli import main
from scaling_lab.cli.train import read_recipe
from scaling_lab.errors import UserError
from scaling_lab.study.ledger.provenance import provenance
from search_spaces.compound import SMALL
from tests.coco_files import write_coco
from tests.tiny_study import write_tiny

PACKAGE = Path(scaling_lab.__file__).parent
SPEC = dataclasses.replace(SMALL.base, repeats=1, image_size=(64, 64), num_classes=3)
_OTHERS = ("--logdir", "--num-gpus", "--pre")  # options of other programs that messages name
# Texts in these are commands of git and nvidia-smi, or CSS.
_OTHER_PROGRAMS = ("confirmation.py", "device.py", "html.py", "node_facts.py", "page.py", "provenance.py")
_INSTALLED = ("tensorboard",)  # what is to be installed and is no dependency, not even an optional one


def _fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    return line


def _texts() -> Iterator[tuple[Path, str]]:
    """Give all texts of the package that are no docstrings, those with values in them as one with {}."""
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
                yield path, node.value


def _verbs(capsys: pytest.CaptureFixture[str]) -> list[str]:
    with pytest.raises(SystemExit):
        main(["nothing"])
    return re.findall(r"[a-z]+", capsys.readouterr().err.partition("choose from")[2])


def _help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit):
        main([*arguments, "--help"])
    return capsys.readouterr().out


# --- all of it: what is named is there -------------------------------------------------------------------------------


def test_every_option_that_a_message_names_is_one_of_a_verb(capsys: pytest.CaptureFixture[str]) -> None:
    verbs = _verbs(capsys)
    assert {"run", "train", "measure", "export"} <= set(verbs)
    options = set(re.findall(r"--[a-z][a-z-]+", " ".join(_help([verb], capsys) for verb in verbs)))
    named = {
        (path.name, option)
        for path, text in _texts()
        if path.name not in _OTHER_PROGRAMS
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z](?![\w-]*=)", text)
    }
    programs = {
        "device.py",
        "provenance.py",
        "ray_executor.py",
        "confirmation.py",
        "node_facts.py",
        "time_onnx.py",  # runs alone, with options of its own: tests/measure/test_time_onnx.py
    }  # git's and others'
    missing = {each for each in named if each[1] not in (*options, *_OTHERS) and each[0] not in programs}
    assert missing <= {("checkup.py", "--num-gpus"), ("markup.py", "--box")}  # of ray start, and of CSS


def test_every_verb_that_a_message_names_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    verbs = _verbs(capsys)
    named = {verb for _, text in _texts() for verb in re.findall(r"scaling-lab ([a-z]+)(?= |`|$)", text)}
    assert {"run", "reproduce", "measure"} <= named <= set(verbs)


def test_every_package_that_a_message_names_is_a_dependency() -> None:
    known = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
    listed = [*known["dependencies"], *(each for extra in known["optional-dependencies"].values() for each in extra)]
    packages = {re.split(r"[<>=\[]", each)[0] for each in listed}
    named = {
        name
        for _, text in _texts()
        for names in re.findall(r"pip install ([\w' .\[\]-]*)", text)
        for name in names.split()
    }
    assert named >= {"tensorboard", "onnxruntime"}
    assert named <= {*packages, *_INSTALLED}


# --- piece by piece --------------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a blank in its name, a small detector and data in it."""
    folder = tmp_path / "my work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    write_coco(folder / "my data", train=8, val=4)
    (folder / "small.json").write_text(SPEC.to_json())
    return folder


def test_a_field_is_given_as_the_message_writes_it(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = project / "my data" / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["bbox"] = [-20, 0, 60, 30]
    path.write_text(json.dumps(content))
    torch.save({"spec": SPEC.to_dict(), "state": build(SPEC).state_dict()}, "weights.pt")
    evaluate = ["evaluate", "--weights", "weights.pt", "--workers", "0", "--device", "cpu", "--data"]
    (advised,) = re.findall(r"\w+=True", _fails([*evaluate, "coco:my data"], capsys))
    for text in (advised, advised.lower(), advised.partition("=")[0]):
        assert main([*evaluate, f"coco:my data,{text}"]) == 0
    assert main([*evaluate, f"coco:my data,{advised},skip_broken=False"]) == 0


def test_a_field_of_the_recipe_is_given_as_messages_write_it() -> None:
    (advised,) = {
        found for _, text in _texts() for found in re.findall(r"recipe\.\w+=True", text) if "would continue" in text
    }
    assert advised == "recipe.halve_batch=True"
    assert read_recipe("short", [advised]).halve_batch
    with pytest.raises(UserError) as caught:
        read_recipe("short", ["epoch=3"])
    (meant,) = re.findall(r"did you mean '(\w+)'", str(caught.value))
    assert read_recipe("short", [f"{meant}=3"]).epochs == 3
    with pytest.raises(UserError) as caught:
        read_recipe("short", ["epochs"])
    assert read_recipe("short", [str(caught.value).rpartition("such as ")[2]]).epochs == 20


def test_the_commands_that_train_prints_run_as_they_stand(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--set", "batch_size=4", "--set", "epochs=1", "--workers", "0", "--device", "cpu"]
    assert main(["train", "small.json", "--data", "coco:my data", *sizes, "--out", "my run"]) == 0
    shown = capsys.readouterr().out
    (command,) = re.findall(r"^by class: scaling-lab (.*)$", shown, re.MULTILINE)
    assert main([*shlex.split(command), "--workers", "0", "--device", "cpu"]) == 0
    (command,) = re.findall(r"^curves: tensorboard (.*)    \(", shown, re.MULTILINE)
    assert Path(shlex.split(command)[1]).is_dir()
    capsys.readouterr()
    other = ["train", "small.json", "--data", "coco:my data", *sizes, "--width", "16", "--out", "my run"]
    (option,) = re.findall(r"; choose another folder with (--\w+)", _fails(other, capsys))
    assert main([*other, option, "another"]) == 0


def test_the_name_that_was_meant_and_the_option_that_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    (meant,) = re.findall(r"did you mean '(\w+)'", _fails(["show", "bifpnn"], capsys))
    assert main(["show", meant]) == 0
    capsys.readouterr()
    (option, *_) = re.findall(r"--[\w-]+", _fails(["solve"], capsys))
    assert main(["solve", option, "2.5"]) == 0
    capsys.readouterr()
    line = _fails(["enumerate", "search_spaces/topology.py", "--limit", "gmacs"], capsys)
    assert (
        main(["enumerate", "search_spaces/topology.py", "--limit", line.rpartition("such as ")[2], "--sample", "2"])
        == 0
    )
    capsys.readouterr()
    line = _fails(["enumerate", "search_spaces/nas_cell.py"], capsys)
    (option,) = re.findall(r"use (--\w+)", line)
    assert main(["enumerate", "search_spaces/nas_cell.py", option, "2"]) == 0


def test_a_topology_without_a_name_is_changed_as_advised(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    topology = SPEC.topology.to_dict()
    topology["nodes"] = topology["nodes"][:-1]
    Path("custom.json").write_text(json.dumps({**SPEC.to_dict(), "topology": topology}))
    line = _fails(["show", "custom.json", "--fusion", "sum"], capsys)
    (option,) = re.findall(r"give (--\w+)$", line)
    assert main(["show", "custom.json", "--fusion", "sum", option, "fpn"]) == 0


@pytest.mark.slow
def test_weights_or_a_model_are_given_as_advised(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = _fails(["export", "x.pt2"], capsys)
    assert re.findall(r"--\w+", line) == ["--weights", "--model"]
    assert main(["export", "x.pt2", "--model", "small.json"]) == 0
    assert main(["export", "y.txt", "--model", "small.json"]) == 2
    ending = re.findall(r"allowed are .* and (\.\w+)", capsys.readouterr().err)[0]
    assert main(["export", f"y{ending}", "--model", "small.json"]) == 0


@pytest.mark.slow
def test_a_folder_that_is_taken_and_a_run_that_can_go_on(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tiny(project)
    run = ["run", "studies/tiny.py", "--executor", "local"]
    line = _fails([*run, "--out", "my data"], capsys)
    (option,) = re.findall(r"new or empty folder with (--\w+)", line)
    assert main([*run, option, "my run"]) == 0
    capsys.readouterr()
    assert main(["init", "my project"]) == 0
    (folder,) = re.findall(r"^next: cd (.*) && scaling-lab run studies/\w+\.py$", capsys.readouterr().out, re.MULTILINE)
    assert Path(*shlex.split(folder)).is_dir()
    line = _fails(["report", "studies/tiny.py"], capsys)
    assert "neither a run's folder nor" in line
    assert main(["report", "my run"]) == 0


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("/usr/bin/scaling-lab", "scaling-lab run 'my study.py'"),
        (str(PACKAGE / "cli" / "__main__.py"), "python -m scaling_lab.cli run 'my study.py'"),
        ("scripts/all.py", "python scripts/all.py run 'my study.py'"),
        ("/usr/bin/scaling-lab\udcff", "'scaling-lab\\udcff' run 'my study.py'"),
    ],
)
def test_the_command_that_goes_on_with_a_run_is_one(program: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`status` shows it."""
    monkeypatch.setattr(sys, "argv", [program, "run", "my study.py"])
    assert provenance()["command"] == said
