"""The quick measurement, as trials make it: rows that say what was measured, and a process that is as it was before."""

from __future__ import annotations

import dataclasses

import torch

from scaling_lab.latency.quick import measure_latency
from search_spaces.compound import SMALL


def test_rows_say_what_was_measured() -> None:
    specs = [SMALL.base, dataclasses.replace(SMALL.base, image_size=(64, 64))]
    threads, tf32 = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
    rows = list(measure_latency(specs, rounds=3))
    assert torch.get_num_threads() == threads
    assert torch.backends.cudnn.allow_tf32 == tf32
    assert [row["architecture"] for row in rows] == [spec.digest for spec in specs]
    for row in rows:
        assert 0 < row["median_ms"] <= row["p90_ms"]
        assert (row["runs"], row["processes"], row["method"]) == (9, 1, "quick")
        assert (row["batch"], row["dtype"], row["backend"], row["scope"]) == (1, "float32", "eager", "network")
        assert row["device"]
