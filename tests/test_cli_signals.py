"""Signals, and addresses that are none, as a user of the command line meets them: one line, and nothing left behind."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from scaling_lab.cli import main

_WAITING = """
import sys, time
from scaling_lab import cli

def wait(options):
    print("ready", flush=True)
    time.sleep(600)

cli.doctor._doctor = wait
sys.exit(cli.main(["doctor"]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_any_verb_and_is_answered(number: signal.Signals) -> None:
    command = [sys.executable, "-c", _WAITING]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(number)
        _, said = process.communicate(timeout=300)
    assert (process.returncode, said) == (130, "stopping …\n")


def test_what_nohup_ignores_stays_ignored() -> None:
    code = _WAITING.replace("time.sleep(600)", "print(signal.getsignal(signal.SIGHUP).name)").replace(
        "sys, time", "signal, sys"
    )
    run = subprocess.run(["nohup", sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert run.stdout.split() == ["ready", "SIG_IGN"], run.stderr


@pytest.mark.parametrize(
    "address", ["nonsense", "ray://127.0.0.1:1", "http://x", ":", "127.0.0.1:99999", "host:-1", ""]
)
@pytest.mark.parametrize("verb", [["run", "none.py"], ["plan", "none.py"], ["doctor"]])
def test_what_is_no_address_is_told_before_anything_else(
    verb: list[str], address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*verb, "--address", address]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"scaling-lab: --address is {address!r}; allowed are auto, ")
