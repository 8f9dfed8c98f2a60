"""What all tests share: one thread each. Several processes with a thread for every core stall each other."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
