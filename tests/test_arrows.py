"""The arrows of the house: which part may import which, read from the imports in the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import scaling_lab

PACKAGE = Path(scaling_lab.__file__).parent
ROOT = PACKAGE.parent

# What each part may import of the package, besides itself, errors, checks and files.
ALLOWED = {
    "architecture": set(),
    "model": {"architecture"},
    "detection": {"architecture"},
    "data": {"architecture", "machine"},
    "cost": {"architecture", "model"},
    "latency": {"architecture", "model", "detection", "cost", "machine", "stats"},
    "training": {"architecture", "model", "detection", "data"},
    "runs": {"architecture"},
    "study": {
        "architecture",
        "data",
        "training",
        "cost",
        "latency",
        "machine",
        "runs",
        "stats",
        "user_files",
        "lock",
        "signals",
    },
    "report": {"architecture", "latencies", "runs", "starter", "stats", "user_files"},
    "paper": {"architecture", "cost", "lock", "report", "runs", "starter", "stats", "status", "study"},
    "latencies": set(),
    "files": set(),
    "lock": set(),
    "machine": set(),
    "signals": set(),
    "starter": set(),
    "stats": set(),
    "console": {"runs"},
    "status": {"lock", "runs"},
    "user_files": {"starter"},
    "errors": set(),
    "checks": set(),
}
# Where a library may be imported at all.
LIBRARIES = {
    "torch": {"model", "detection", "data", "cost", "latency", "training", "study"},
    "timm": {"model"},
    "ray": {"study"},
    "optuna": {"study"},
    "jinja2": {"report"},
    "matplotlib": {"report", "paper"},
    "scipy": {"stats"},
    "pandas": {"report", "paper", "runs", "latencies"},
}
FILES = sorted(path for path in PACKAGE.rglob("*.py"))


def _part(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0].removesuffix(".py")


def _imports(path: Path) -> set[str]:
    """Give the full names of all modules that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute"
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_only_what_its_part_may(path: Path) -> None:
    part = _part(path)
    imports = _imports(path)
    assert not {name for name in imports if name.split(".")[0] in ("search_spaces", "studies", "reports", "tests")}
    if part in ("__init__", "cli"):  # the public names and the command line see all
        return
    own = {name.split(".")[1] for name in imports if name.startswith("scaling_lab.")} - {
        part,
        "errors",
        "checks",
        "files",
    }
    assert own & set(ALLOWED) <= ALLOWED[part], f"{part} may import {sorted(ALLOWED[part])}"
    for library, parts in LIBRARIES.items():
        if any(name.split(".")[0] == library for name in imports):
            assert part in parts, f"{library} may be imported in {sorted(parts)}"


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


def test_every_part_is_known() -> None:
    assert {_part(path) for path in FILES} - {"__init__", "cli"} == set(ALLOWED)


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
