"""What all tests share: no network, one thread each (several processes with a thread for every core stall), and no clock."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")

# However long an example takes: other programs use this machine too. Other examples are drawn each time.
settings.register_profile("patient", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
