"""scaling-lab plan as a user meets it: lines, JSON, exit codes, and a real cluster."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from scaling_lab import Runs
from scaling_lab.cli import main
from tests.study.engine import wait_for
from tests.tiny_study import write_tiny

ROOT = Path(__file__).parents[1]

SEEDS = "'seeds': (0, 1, 2)"


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Plan the tiny study, with changes of its fields, in a project's folder of its own."""
    monkeypatch.chdir(tmp_path)

    def plan(*arguments: str, changes: str = "", verb: str = "plan") -> int:
        write_tiny(tmp_path, f"{SEEDS}, {changes}")
        return main([verb, "studies/tiny.py", *arguments])

    return plan


def _lines(text: str) -> dict[str, str]:
    """Give the text of each line by its heading."""
    return {line[:12].strip(): line[12:] for line in text.splitlines() if line[:1] != " "}


def test_a_plan_in_lines_and_in_json(planned: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert planned("--cpus", "2") == 0
    captured = capsys.readouterr()
    lines = _lines(captured.out)
    assert lines["study"] == "tiny"
    assert lines["space"] == "2 points, 2 distinct architectures (all of them; sampler grid)"
    assert lines["trials"] == "6 trials: 2 architectures with 3 seeds, 1 epoch each, 48 training images in all"
    assert lines["machine"] == ("the given machine has 2 CPUs and 0 GPUs; 1 CPU and 0 GPUs a trial: 2 at once")
    assert lines["seeds"].startswith(
        "3 a group: true differences below 3.07 SD of a single result may go undetected (80 %"
    )
    assert re.search(r"^ {12}about \S+ \w+ for 6 trials, 2 at once \(", captured.out, re.MULTILINE)
    assert re.search(r"^ {12}cheapest +0\.\d+ .* fpn P3-P7 .*width 8, 64 px$", captured.out, re.MULTILINE)
    assert "cannot work" not in captured.out
    assert captured.err.splitlines()[0] == "surveying the search space"
    assert not Path("runs").exists()

    assert planned("--cpus", "2", "--no-measure", "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["space"]["architectures"] == values["space"]["within"] == 2
    assert (values["trials"]["trials"], values["trials"]["images_seen"]) == (6, 48)
    assert values["detectable"]["sds"] == pytest.approx(3.05, rel=0.03)
    assert (values["time"], values["problems"]) == (None, [])
    assert values["notes"] == ["time is not measured: --no-measure"]


@pytest.mark.slow
def test_a_plan_with_finalists_and_early_stopping(
    planned: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = "'recipe': Recipe.short(epochs=3, batch_size=4)"
    rules = "'stopping': Halving(min_epochs=1), 'finalists': Finalists(count=1, seeds=(7, 8, 9))"
    assert planned("--cpus", "2", changes=f"{recipe}, {rules}") == 0
    captured = capsys.readouterr().out
    lines = _lines(captured)
    assert lines["trials"].startswith(
        "6 trials: 2 architectures with 3 seeds, 3 epochs each, and up to 3 for finalists with 3 fresh seeds each, 216 training"
    )
    assert lines["finalists"].startswith(
        "3 a group: true differences below 3.07 SD of a single result may go undetected"
    )
    assert re.search(r"^ {12}about \S+ \w+ for 9 trials, 2 at once \(", captured, re.MULTILINE)
    assert re.search(r"^ {12}with early stopping at epoch 1 about \S+ \w+, if .*; \S+ \w+ if every trial ends after 1 epoch$",
                     captured, re.MULTILINE)  # fmt: skip


@pytest.mark.slow
def test_a_plan_with_stopping_by_curves_promises_no_time(
    planned: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    changes = "'recipe': Recipe.short(epochs=3, batch_size=4), 'stopping': Extrapolation(min_epochs=1)"
    assert planned(changes=changes) == 0
    said = r"^ {12}with early stopping at epochs 1, 2 less, as the curves will tell; \S+ \w+ if every trial ends after 1 epoch$"
    assert re.search(said, capsys.readouterr().out, re.MULTILINE)


def test_a_plan_after_a_part_was_run(planned: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert planned("--executor", "local", changes="'trials': 4", verb="run") == 0
    capsys.readouterr()
    assert planned("--no-measure") == 0
    lines = _lines(capsys.readouterr().out)
    assert lines["earlier"].startswith("runs/tiny holds 4 complete; 2 trials left to run; a complete one took ")
    assert re.search(r", \d+\.\d AP at the earlier trials' SD of \d+\.\d AP \(80 %", lines["seeds"])
    assert len(Runs("runs/tiny").table()) == 4


def test_what_cannot_work_has_exit_code_one(planned: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert planned("--cpus", "4", "--no-measure", changes="'cpus_per_trial': 8") == 1
    assert _lines(capsys.readouterr().out)["cannot work"].startswith("a trial needs 8 CPUs and 0 GPUs, but ")
    assert planned("--no-measure", changes="'limits': {'gmacs': 1e-6}") == 1
    lines = _lines(capsys.readouterr().out)
    assert lines["limits"] == "reject 2 of 2: 2 by gmacs"
    assert lines["cannot work"].startswith("no point is within the limits: the least gmacs is ")
    assert planned("--data", "coco:nowhere") == 1
    lines = _lines(capsys.readouterr().out)
    assert lines["data"] == "not here"
    assert lines["trials"] == "6 trials: 2 architectures with 3 seeds, 1 epoch each"
    assert lines["cannot work"].startswith("the data cannot be used here: the folder nowhere does not exist; ")


def test_a_search_says_what_one_seed_cannot_show(
    planned: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert planned("--no-measure", "--points", "1", changes="'sampler': 'tpe', 'trials': 4") == 0
    lines = _lines(capsys.readouterr().out)
    assert lines["space"] == "1 random point gave 1 distinct architecture (sampler tpe)"
    assert lines["trials"].startswith(
        "4 trials, one more seed each time one is proposed again (up to 3 seeds), 1 epoch each"
    )
    assert lines["seeds"].endswith("; architectures proposed once have 1 seed and allow no comparison")
    assert planned("--no-measure", changes="'seeds': (4,)") == 0
    assert _lines(capsys.readouterr().out)["seeds"].startswith("1 for each architecture: no difference can be tested")


def test_gpu_hours_and_memory_are_printed(planned: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    told = ["--cpus", "8", "--gpus", "2", "--no-measure"]
    assert planned(*told, "--gpu", "t4-16gb", changes="'gpus_per_trial': 0.5") == 0
    out = capsys.readouterr().out
    lines = _lines(out)
    assert re.match(
        r"parts of \d+ images need \S+ MB: \S+ MB an image, \S+ [kM]B for weights \(counted", lines["GPU memory"]
    )
    assert re.search(r"^ {12}7.2 GB a trial on t4-16gb: up to \d+ images at once$", out, re.MULTILINE)
    assert re.match(
        r"about \S+ hours of A100 \(\S+ days\), \S+ to \S+ a trial at \S+ to \S+ images/s$", lines["GPU time"]
    )
    assert "not measured: D0's published 255 images/s, scaled by activations (NVIDIA/DeepLearningExamples, " in out
    assert lines["machine"].endswith("2 CPUs and 0.5 GPUs a trial: 4 at once")
    assert planned(*told, "--gpu", "t4", changes="'gpus_per_trial': 1") == 2
    assert "--gpu is 't4'; allowed are t4-16gb, " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("study", "count"),
    [
        ("topology_ablation", 45),
        pytest.param("width_factor", 60, marks=pytest.mark.slow),
        pytest.param("compound_scaling", 65, marks=pytest.mark.slow),
    ],
)
def test_every_form_of_the_shipped_studies_can_be_planned(
    study: str, count: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    path = str(ROOT / "studies" / f"{study}.py")
    for form, trials in (("seeds", count), ("smoke", 2)):
        assert main(["plan", path, "--form", form, "--no-measure", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["trials"]["trials"] == trials
    assert main(["plan", path, "--form", "paper", "--cpus", "64", "--gpus", "8", "--json"]) == 1  # no data are here
    values = json.loads(capsys.readouterr().out)
    assert values["places"]["at_once"] == 8
    assert len(values["problems"]) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["studies/missing.py"], "there is no study file studies/missing.py"),
        (["studies/width_factor.py", "--form", "huge"], "form 'huge' is unknown; allowed are smoke, seeds, paper"),
        (["studies/width_factor.py", "--data", "kitti:x"], "kitti:x"),
        (["studies/width_factor.py", "--cpus", "0"], "--cpus is 0; allowed are whole numbers from 1"),
        (["studies/width_factor.py", "--points", "-1"], "--points is -1; allowed are whole numbers from 1"),
        (["studies/width_factor.py", "--gpus", "1", "--address", "auto"], "--gpus 1 describes a single machine"),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_two(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["plan", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert len(captured.err.splitlines()) == 1


@pytest.fixture
def cluster() -> Iterator[tuple[str, dict[str, str]]]:
    """A Ray cluster of one node with 3 cores on loopback; its address, and the environment that it is reached with."""
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    # On loopback alone, and with a token.
    environment |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "ab" * 32}
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True) as folder:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--num-cpus=3"]
        command += [
            f"--port={port}",
            "--include-dashboard=false",
            "--node-ip-address=127.0.0.1",
            f"--temp-dir={folder}",
        ]
        said = Path(folder) / "said.txt"
        with said.open("w") as file:
            head = subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)
        try:
            wait_for(lambda: "Ray runtime started" in said.read_text() or head.poll() is not None)
            assert head.poll() is None, said.read_text()
            yield f"127.0.0.1:{port}", environment
        finally:
            head.terminate()
            try:
                head.wait(timeout=300)
            finally:
                if head.poll() is None:
                    os.killpg(head.pid, signal.SIGKILL)
                    head.wait()


@pytest.mark.skipif(torch.cuda.is_available(), reason="Ray finds the GPUs of this machine")
@pytest.mark.slow
def test_a_plan_for_a_cluster_asks_the_cluster(
    cluster: tuple[str, dict[str, str]], planned: Callable[..., int], tmp_path: Path
) -> None:
    address, environment = cluster
    for cpus, code, at_once in ((1.5, 0, 2), (4, 1, 0)):
        write_tiny(tmp_path, f"{SEEDS}, 'cpus_per_trial': {cpus}")
        command = [sys.executable, "-m", "scaling_lab.cli", "plan", "studies/tiny.py", "--no-measure", "--json"]
        done = subprocess.run(
            [*command, "--address", address],
            env={**environment, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stderr
        values = json.loads(done.stdout)
        assert (values["places"]["where"], values["places"]["at_once"]) == (f"the cluster at {address}", at_once)
        assert [each["CPU"] for each in values["places"]["machines"]] == [3.0]
        assert len(values["problems"]) == code
    assert not (tmp_path / "runs").exists()
