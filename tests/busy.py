"""Run pytest beside programs that fill all cores: python -m tests.busy -n 2. What passes there depends on no time."""

from __future__ import annotations

import os
import subprocess
import sys


def main() -> int:
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in os.sched_getaffinity(0)]
    try:
        return subprocess.call([sys.executable, "-m", "pytest", *sys.argv[1:]])
    finally:
        for each in busy:
            each.kill()
            each.wait()


if __name__ == "__main__":
    sys.exit(main())
