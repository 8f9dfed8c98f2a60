"""The script for the first GPU: its parts fit in its time, end at their limits, and run in a rehearsal on a CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.on_a_gpu import MINUTES, PARTS, main

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "on_a_gpu.sh"


def test_all_parts_together_fit_in_the_time() -> None:
    assert sum(part.limit for part in PARTS) <= 60 * MINUTES


def test_a_part_ends_at_its_limit_and_the_summary_says_so(tmp_path: Path) -> None:
    # Less than Python takes to start.
    assert (
        main(["--device", "cpu", "--minutes", "0.0001", "--parts", "environment", "latency", "--out", str(tmp_path)])
        == 1
    )
    first, second = (tmp_path / "summary.txt").read_text().splitlines()
    assert first.startswith("environment")
    assert "stopped at its limit" in first
    assert second.startswith("latency")
    assert second.endswith("not started: no time is left")


# What the machine need not have.
ABSENT = ("ray", "optuna", "fvcore", "tensorboardX", "plotly", "matplotlib", "jinja2", "pandas", "scipy")
_WITHOUT = f"""
import sys
sys.modules.update(dict.fromkeys({ABSENT!r}))
import importlib, pathlib
for name in ("inference_speed", "training_speed", "loading"):
    importlib.import_module("benchmarks." + name)
for path in pathlib.Path("tests/gpu").glob("test_*.py"):
    importlib.import_module("tests.gpu." + path.stem)
import scaling_lab.latency.fitting, scaling_lab.latency.protocol
from benchmarks.on_a_gpu import main
main(["--inside", "trial", "--smoke", "--device", "cpu"])
"""


@pytest.mark.slow
def test_it_needs_neither_ray_nor_what_searches_and_draws() -> None:
    command = [sys.executable, "-W", "ignore", "-c", _WITHOUT]
    done = subprocess.run(command, cwd=SCRIPT.parents[1], capture_output=True, text=True, check=True)
    assert float(done.stdout) > 0


@pytest.mark.slow
def test_the_rehearsal_runs_every_part(tmp_path: Path) -> None:
    subprocess.run(
        [SCRIPT, "--device", "cpu", "--smoke", "--out", tmp_path],
        check=True,
        env={**os.environ, "PYTHON": sys.executable},
    )
    lines = (tmp_path / "summary.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == [part.name for part in PARTS]
    assert all(line.endswith("complete") for line in lines)
    for part, words in {
        "training_step": "times as fast",
        "inference": "times ours",
        "tests": "2 passed",
        "loaders": "images/s at 512 px",
        "packing": "2 at once:",
        "latency": "ms   p90",
    }.items():
        assert words in (tmp_path / f"{part}.txt").read_text(), part
