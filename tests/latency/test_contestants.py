"""Every backend runs the same detector: it gives what the eager one gives."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import timm
import torch

from scaling_lab import DetectorSpec, build, count
from scaling_lab.errors import UserError
from scaling_lab.latency import Conditions, contestants
from scaling_lab.latency.contestants import detector_for, images_for, prepare, prepare_or_tell
from tests.latency.tiny import tiny


def numbers(outputs: Any) -> list[np.ndarray[Any, Any]]:
    found: list[np.ndarray[Any, Any]] = []
    for each in outputs:
        found += (
            numbers(each)
            if isinstance(each, list)
            else [each.float().numpy() if torch.is_tensor(each) else each.numpy()]
        )
    return found


def assert_alike(outputs: Any, expected: Any, tolerance: float) -> None:
    pairs = list(zip(numbers(outputs), numbers(expected), strict=True))
    assert pairs
    for mine, other in pairs:
        assert mine.shape == other.shape
        assert np.abs(mine - other).max() <= tolerance * (np.abs(other).max() + 1e-6)


def test_a_contestant_is_the_built_detector_with_the_same_weights_each_time() -> None:
    spec, conditions = tiny(), Conditions()
    torch.manual_seed(0)
    expected = build(spec).eval()
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    outputs = prepare(spec, conditions)()
    assert torch.equal(torch.random.get_rng_state(), state)
    with torch.no_grad():
        assert_alike(outputs, expected(images_for(spec, conditions)), 1e-4)


@pytest.mark.parametrize(
    ("head", "scope", "batch"),
    [
        pytest.param("anchors", "network", 1, marks=pytest.mark.slow),
        ("anchors", "end_to_end", 2),
        pytest.param("points", "end_to_end", 2, marks=pytest.mark.slow),
    ],
)
def test_onnx_runtime_gives_what_torch_gives(head: str, scope: str, batch: int) -> None:
    spec = tiny(head=head)
    theirs = prepare(spec, Conditions(backend="onnxruntime", scope=scope, batch=batch))()
    assert_alike(theirs, prepare(spec, Conditions(scope=scope, batch=batch))(), 1e-4)


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
def test_other_precisions_are_near(dtype: str) -> None:
    spec = tiny()
    outputs = prepare(spec, Conditions(dtype=dtype))()
    assert {each.dtype for each in outputs[0]} == {{"bf16": torch.bfloat16, "fp16": torch.float16}[dtype]}
    assert_alike(outputs, prepare(spec, Conditions())(), 0.1)


def test_post_processing_gives_boxes_of_fixed_sizes() -> None:
    boxes, scores, classes, counts = prepare(tiny(), Conditions(scope="end_to_end", batch=2, dtype="bf16"))()
    assert boxes.shape == (2, 100, 4)
    assert scores.shape == classes.shape == (2, 100)
    assert counts.shape == (2,)


@pytest.mark.long
def test_compiled_gives_what_eager_gives_and_stays_compiled_beyond_eight() -> None:
    """Each for its own size: of ten of several sizes none is compiled for any size."""
    specs = [tiny(width=8 + 4 * step, image_size=(64 + 32 * (step % 3),) * 2) for step in range(10)]
    torch._dynamo.reset()
    for spec in specs:
        assert_alike(prepare(spec, Conditions(backend="compile"))(), prepare(spec, Conditions())(), 1e-3)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= len(specs)


class _Stubborn(torch.nn.Module):
    """A backbone that reads numbers off its features, which neither run on shapes only nor an exporter can."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner, self.feature_info = inner, inner.feature_info

    def forward(self, x: torch.Tensor) -> Any:
        features = self.inner(x)
        return [each * (1.0 if float(each.sum().item()) > 0 else 2.0) for each in features]


@pytest.fixture
def _stubborn(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda *args, **options: _Stubborn(create(*args, **options)))


@pytest.mark.usefixtures("_stubborn")
def test_a_backbone_that_cannot_be_traced_is_told() -> None:
    spec = tiny()
    prepare(spec, Conditions())()  # it runs
    with pytest.raises(UserError, match=r"resnet10t.*cannot run \(batch 1, float32, onnxruntime"):
        prepare_or_tell(spec, Conditions(backend="onnxruntime"))


@pytest.mark.usefixtures("_stubborn")
def test_a_backbone_that_does_not_run_on_shapes_cannot_be_counted() -> None:
    from scaling_lab.cost import backbone_counts

    caches = (backbone_counts._count, backbone_counts._backbone, backbone_counts._module)
    for cache in caches:
        cache.cache_clear()
    try:
        with pytest.raises(UserError, match=r"the backbone resnet10t cannot be counted at 72x72: .*run on shapes only"):
            count(tiny(image_size=(72, 72)))
    finally:
        for cache in caches:
            cache.cache_clear()


def test_a_detector_keeps_its_dtype_and_layout() -> None:
    detector, layer = detector_for(tiny(), Conditions(dtype="bf16"))
    assert layer is None
    assert {weight.dtype for weight in detector.parameters()} == {torch.bfloat16}
    assert not any(weight.requires_grad for weight in detector.parameters())
    assert dataclasses.asdict(detector.spec) == dataclasses.asdict(tiny())


def test_a_shortage_of_memory_goes_through_or_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials have to know it for what it is; `measure` says which detector it was."""

    def too_little(spec: DetectorSpec) -> Any:
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(contestants, "build", too_little)
    with pytest.raises(torch.OutOfMemoryError):
        prepare(tiny(), Conditions())
    with pytest.raises(UserError, match=r"width 8, 64 px does not fit in the memory of cpu: batch 1"):
        prepare_or_tell(tiny(), Conditions())


def test_held_is_what_the_prepared_detector_has() -> None:
    """Heads are copied for each level: more than the spec's parameters."""
    spec = tiny(head_repeats=4, separable=False, width=32)
    contestant = prepare(spec, Conditions(batch=2))
    assert contestant.held > 4 * count(spec).params + 4 * 2 * 3 * 64 * 64
