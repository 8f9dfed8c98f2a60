"""Do effdet's models give the same outputs here? With random weights and batch-norm statistics.

    python benchmarks/effdet_equality.py                            # all 47, at their own and at an odd size: 20 minutes
    python benchmarks/effdet_equality.py tf_efficientdet_d0 resdet50
    python benchmarks/effdet_equality.py --out reports/results/effdet_equality.csv

For each model and size: the largest difference of any output at any level, over that output's standard deviation; and how
many of the 100 detections after post-processing are equal (class equal, score and box to 1e-3).

The weights are effdet's random ones. Batch norms have the statistics of noise, times random factors, so that every layer's
values have realistic magnitudes and any error reaches the outputs.
Needs the extra `test` (effdet 0.4.1).
"""

from __future__ import annotations

import argparse
import copy
import csv
import sys
import tempfile
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scaling_lab.architecture.effdet import effdet_models, effdet_spec
from scaling_lab.detection import detect
from scaling_lab.model import load_checkpoint

with warnings.catch_warnings():  # torch.jit.script, which effdet uses, is deprecated
    warnings.simplefilter("ignore")
    from effdet import EfficientDet, get_efficientdet_config
    from effdet.anchors import Anchors
    from effdet.bench import _batch_detection, _post_process

ODD_SIZE = (261, 387)
DETECTIONS = 100
CALIBRATION_SIZE = (192, 192)


@dataclass(frozen=True)
class Comparison:
    """The agreement of our outputs with effdet's, for one model at one (height, width)."""

    model: str
    height: int
    width: int
    params: int
    largest_difference: float
    detections: int
    detections_equal: int


def compare(name: str, size: tuple[int, int] | None = None, *, num_classes: int | None = None) -> Comparison:
    """Compare one model with effdet's at `size`, or at its own size."""
    config = get_efficientdet_config(name)
    config.num_classes = num_classes or config.num_classes
    size = size or tuple(config.image_size)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    small = _effdet(config, CALIBRATION_SIZE)
    randomise(small, generator)
    theirs = _effdet(config, size).eval()
    theirs.load_state_dict(small.state_dict())
    with tempfile.TemporaryDirectory() as folder:
        torch.save(theirs.state_dict(), Path(folder) / "weights.pth")
        ours = load_checkpoint(name, Path(folder) / "weights.pth").eval()
    images_BCHW = torch.randn(1, 3, *size, generator=generator)
    with torch.inference_mode():
        expected, given = theirs(images_BCHW), ours(images_BCHW)
    differences = [relative(g, e) for e, g in zip(expected[0] + expected[1], given[0] + given[1], strict=True)]
    total, equal = compare_detections(expected, theirs.config, ours.spec)
    params = sum(parameter.numel() for parameter in ours.parameters())
    return Comparison(name, *size, params, max(differences), total, equal)


def _effdet(config: Any, size: tuple[int, int]) -> nn.Module:
    config = copy.deepcopy(config)
    config.image_size = size
    return EfficientDet(config, pretrained_backbone=False)


def randomise(module: nn.Module, generator: torch.Generator) -> None:
    """Set batch norms, fusion weights and the last biases to realistic random values."""
    norms = [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("edge_weights"):
                parameter.uniform_(-0.5, 2, generator=generator)  # some negative, which relu must clip
            elif ".predict." in name and name.endswith("bias"):
                parameter.normal_(-2, 1, generator=generator)
        for norm in norms:
            norm.momentum = None  # cumulative statistics
            norm.weight.uniform_(0.5, 1.5, generator=generator)
            norm.bias.normal_(0, 0.1, generator=generator)
        module.train()(torch.randn(4, 3, *CALIBRATION_SIZE, generator=generator))
        for norm in norms:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.mul_(torch.empty_like(norm.running_mean).uniform_(0.5, 1.5, generator=generator))
            norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(0.7, 1.4, generator=generator))


def relative(given: Tensor, expected: Tensor) -> float:
    """Return the largest difference over the standard deviation."""
    assert given.shape == expected.shape, f"{tuple(given.shape)} is not {tuple(expected.shape)}"
    return float((given - expected).abs().max() / expected.std())


def compare_detections(outputs: tuple[list[Tensor], list[Tensor]], config: Any, spec: Any) -> tuple[int, int]:
    """Post-process the same outputs here and by effdet, for an image that covers half of the input's width."""
    size = tuple(config.image_size)
    scale = 2.0  # original pixels for one of the network's
    covered = torch.tensor([[float(size[0]), float(size[1] // 2)]])
    logits, deltas, indices, classes = _post_process(
        list(outputs[0]), list(outputs[1]), config.num_levels, config.num_classes, config.max_detection_points
    )
    expected_D6 = _batch_detection(
        1,
        logits,
        deltas,
        Anchors.from_config(config).boxes,
        indices,
        classes,
        torch.tensor([scale]),
        covered.flip(1) * scale,
    )[0]
    (found,) = detect(*outputs, spec, size, limits_B2=covered)
    assert len(found.scores_D) == len(expected_D6) == DETECTIONS
    same = (
        (expected_D6[:, :4] / scale - found.boxes_D4).abs().amax(dim=1).lt(1e-3)
        & (expected_D6[:, 4] - found.scores_D).abs().lt(1e-3)
        & expected_D6[:, 5].eq(found.labels_D + 1)
    )
    return len(found.scores_D), int(same.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "models", nargs="*", choices=list(effdet_models()), default=list(effdet_models()), metavar="model"
    )
    parser.add_argument("--out", type=argparse.FileType("w"), help="also write a CSV")
    options = parser.parse_args()
    rows = []
    for name in options.models:
        for size in (effdet_spec(name).image_size, ODD_SIZE):
            row = compare(name, size)
            rows.append(row)
            found = f"{row.detections_equal} of {row.detections} detections equal"
            print(f"{name:26} {size[0]:>4} x {size[1]:<4}  {row.largest_difference:.1e}  {found}", flush=True)
    if options.out:
        writer = csv.DictWriter(options.out, [*asdict(rows[0])], lineterminator="\n")
        writer.writeheader()
        writer.writerows({**asdict(row), "largest_difference": f"{row.largest_difference:.2e}"} for row in rows)
    worst = max(rows, key=lambda row: row.largest_difference)
    print(f"largest of {len(rows)}: {worst.largest_difference:.1e} ({worst.model}, {worst.height} x {worst.width})")
    within = all(row.largest_difference < 1e-4 for row in rows)  # false for nan
    failed = not within or any(row.detections_equal < DETECTIONS for row in rows)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
