"""What all tests share: no network, and one thread each, for several processes with a thread for every core stall."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
