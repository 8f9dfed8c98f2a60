from __future__ import annotations

from typing import Any

import pytest

from scaling_lab.errors import UserError
from scaling_lab.latency import Conditions


def test_threads_are_a_processors_alone() -> None:
    assert Conditions(threads=4).threads == 4
    assert Conditions(device="cuda:1", threads=4).threads == 0
    assert Conditions(device="cuda:1").kind == "cuda"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"device": "tpu"}, "device is 'tpu'; allowed are cpu, cuda, mps"),
        ({"dtype": "int8"}, "dtype is 'int8'; allowed are float32, bf16, fp16"),
        ({"batch": 0}, "batch is 0; allowed are whole numbers from 1"),
        ({"threads": 0}, "threads is 0; allowed are whole numbers from 1"),
        ({"backend": "tensorrt"}, "backend is 'tensorrt'; allowed are eager, compile, cuda_graphs, onnxruntime"),
        ({"scope": "all"}, "scope is 'all'; allowed are network, end_to_end"),
        ({"backend": "cuda_graphs"}, "cuda_graphs needs device cuda, not cpu"),
        ({"backend": "onnxruntime", "dtype": "fp16"}, "onnxruntime with fp16 on cpu is not supported"),
        ({"backend": "onnxruntime", "device": "mps"}, "onnxruntime with float32 on mps is not supported"),
        ({"bacth": 2}, "has no field 'bacth' .did you mean 'batch'"),
    ],
)
def test_what_does_not_go_together_is_refused(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Conditions(**fields)


def test_they_are_said_in_a_line() -> None:
    assert Conditions(threads=2).words() == "batch 1, float32, eager, network alone, 2 threads"
    gpu = Conditions(device="cuda", batch=32, dtype="bf16", backend="compile", scope="end_to_end")
    assert gpu.words() == "batch 32, bf16, compile, with post-processing"
    assert Conditions(**gpu.to_dict()) == gpu
