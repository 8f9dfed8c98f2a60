"""The arrows of the house: which part may import which, read from the imports in the source."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import scaling_lab

PACKAGE = Path(scaling_lab.__file__).parent
ROOT = PACKAGE.parent

# What a room may import of the others; its own files, and EVERYWHERE's, are always allowed. A subfolder of report/ or study/
# is a room; the files beside it are the room above.
EVERYWHERE = {"errors", "checks", "files", "text", "metrics"}
ALLOWED = {
    "errors": set(),
    "text": set(),
    "checks": set(),
    "files": set(),
    "metrics": {"architecture", "cost"},  # for their types alone
    "machine": set(),
    "processor": set(),
    "signals": set(),
    "storage": set(),
    "starter": set(),
    "user_files": {"starter"},
    "stats": set(),
    "architecture": set(),
    "pretrained": set(),
    "model": {"architecture", "pretrained"},
    "detection": {"architecture"},
    "data": {"architecture", "machine"},
    "cost": {"architecture", "model"},
    "features": {"architecture", "data"},
    "training": {"architecture", "model", "detection", "data", "features", "pretrained", "cost", "signals"},
    "latency": {"architecture", "model", "detection", "cost", "machine", "processor", "stats"},
    "runs": {"architecture"},
    "study": {"architecture", "data", "training"},
    "study.space": {"architecture", "data", "study", "training", "user_files"},
    "study.ledger": {"architecture", "data", "machine", "processor", "runs"},
    "study.search": {"architecture", "cost", "latency", "stats", "study", "study.ledger", "study.space", "user_files"},
    "study.run": {
        "architecture",
        "data",
        "features",
        "training",
        "latency",
        "machine",
        "processor",
        "signals",
        "storage",
        "runs",
        "study",
        "study.ledger",
        "study.search",
        "study.space",
    },
    "study.plan": {
        "architecture",
        "data",
        "training",
        "machine",
        "stats",
        "user_files",
        "runs",
        "study",
        "study.ledger",
        "study.run",
        "study.search",
        "study.space",
    },
    "report.figures": {"architecture", "report"},
    "report.page": {"report", "report.figures"},
    "report.analysis": {"architecture", "report", "runs", "stats"},
    "report.sections": {
        "architecture",
        "report",
        "report.analysis",
        "report.figures",
        "report.page",
        "runs",
        "stats",
    },
    "report": {
        "report.analysis",
        "report.figures",
        "report.page",
        "report.sections",
        "runs",
        "starter",
        "stats",
        "user_files",
    },
    "paper": {
        "architecture",
        "cost",
        "report",
        "report.analysis",
        "report.page",
        "report.sections",
        "runs",
        "starter",
        "stats",
        "study",
        "study.search",
        "study.space",
        "training",
    },
}
# Where a library may be imported at all.
LIBRARIES = {
    "torch": {"model", "detection", "data", "features", "cost", "latency", "training", "study", "stats"},
    "timm": {"model"},
    "ray": {"study"},
    "optuna": {"study"},
    "jinja2": {"report"},
    "matplotlib": {"report", "paper"},
    "scipy": {"stats"},
    "pandas": {"report", "paper", "runs", "latencies"},
}
FILES = sorted(path for path in PACKAGE.rglob("*.py"))


def _name(path: Path) -> str:
    """Give a file's module name."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for path in FILES}


def _room(path: Path) -> str:
    """Give a file's room: its folder, within report and study the subfolder, at the top the file itself."""
    parts = path.relative_to(PACKAGE).parts
    return ".".join(parts[:2] if len(parts) > 2 and parts[0] in ("report", "study") else parts[:1]).removesuffix(".py")


def _imports(path: Path) -> set[str]:
    """Give the full names of all modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute"
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in full}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_what_its_room_may(path: Path) -> None:
    room, imports = _room(path), _imports(path)
    assert not {name for name in imports if name.split(".")[0] in ("search_spaces", "studies", "reports", "tests")}
    if room in ("__init__", "cli"):  # the public names and the command line see all
        return
    others = {_room(MODULES[name]) for name in imports & MODULES.keys()} - EVERYWHERE - {room}
    assert others <= ALLOWED[room], f"{room} may import {sorted(ALLOWED[room])}"
    for library, rooms in LIBRARIES.items():
        if any(name.split(".")[0] == library for name in imports):
            assert room.split(".")[0] in rooms, f"{library} may be imported in {sorted(rooms)}"


def test_no_files_import_each_other_in_a_circle() -> None:
    order = graphlib.TopologicalSorter(
        {name: (_imports(path) & MODULES.keys()) - {name} for name, path in MODULES.items()}
    )
    assert len(list(order.static_order())) == len(MODULES)  # raises CycleError, with the circle


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_unpickled(path: Path) -> None:
    """A pickle runs what its writer wrote. torch.load with weights_only reads tensors and plain values alone."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        called, chosen = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
        assert called.split(".")[0] not in ("pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"), called
        assert node.func.attr not in ("read_pickle", "get_pickled_error", "load_state_dict_from_url"), called
        assert called not in ("tune.Tuner.restore", "Tuner.restore"), called
        assert chosen.get("allow_pickle", "False") == "False", called
        if called == "torch.load":
            assert chosen["weights_only"] == "True"


def test_help_loads_no_library_that_takes_time() -> None:
    code = (
        "import sys, contextlib, scaling_lab.cli as cli\n"
        "with contextlib.suppress(SystemExit): cli.main(['--help'])\n"
        "print([name for name in ('numpy', 'pandas', 'torch', 'optuna', 'ray', 'PIL', 'jinja2') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()[-1] == "[]"


def test_every_room_is_known() -> None:
    assert {_room(path) for path in FILES} - {"__init__", "cli"} == set(ALLOWED)


def test_a_base_name_has_one_meaning() -> None:
    """A verb's file, a section's and a package's may be called as what they are about."""
    named = [path for path in FILES if path.stem != "__init__" and _room(path) not in ("cli", "report.sections")]
    twice = [name for name, count in Counter(path.stem for path in named).items() if count > 1]
    assert not twice
    assert not {path.stem for path in named} & sys.stdlib_module_names


def test_every_module_opens_with_a_sentence() -> None:
    for path in FILES:
        text = ast.get_docstring(ast.parse(path.read_text()))
        assert text, f"{path} has no docstring"
        assert text.split("\n")[0].rstrip().endswith((".", ":")) or "\n" in text, path


def test_the_public_names_are_all_there() -> None:
    for name in scaling_lab.__all__:
        assert getattr(scaling_lab, name) is not None
    promised = (
        "Topology Node DetectorSpec CompoundScaling topologies efficientdet build count Study Shapes Coco Voc Recipe"
    )
    assert set(promised.split()) <= set(scaling_lab.__all__) == set(scaling_lab._HOME)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        scaling_lab.nothing  # noqa: B018
