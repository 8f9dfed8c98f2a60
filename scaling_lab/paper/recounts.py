"""Published detectors that scaling_lab builds: their specs, and its own counts beside the printed costs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType

from scaling_lab.architecture import DetectorSpec, topologies
from scaling_lab.architecture.naming import spec_by_name
from scaling_lab.cost import Cost, count
from scaling_lab.paper.backbone_costs import RETINANET
from scaling_lab.paper.side_by_side import difference
from scaling_lab.report.analysis.detector_facts import PublishedDetector

MOST_PERCENT = 2.0  # a larger difference needs an explanation in the row
_NAS_FPN = dataclasses.replace(RETINANET, topology=topologies.nas_fpn(3, 7), repeats=7)  # arXiv:1904.07392: 7 cells

# Detectors without a name in architecture.naming, at 640 px.
OTHERS: Mapping[str, DetectorSpec] = MappingProxyType(
    {
        **{
            f"retinanet_{backbone}": dataclasses.replace(RETINANET, backbone=backbone)
            for backbone in ("resnet50", "resnet101", "resnet152")
        },
        **{
            f"retinanet_resnet50_nas_fpn_{width}": dataclasses.replace(_NAS_FPN, width=width)
            for width in (RETINANET.width, 384)
        },
    }
)


def detector_spec(row: PublishedDetector) -> DetectorSpec | None:
    """Return scaling_lab's spec of a published detector at the size of its printed costs; None if it builds none."""
    if not row.counted_as:
        return None
    spec = OTHERS[row.counted_as] if row.counted_as in OTHERS else spec_by_name(row.counted_as)
    size = row.gflops_size or row.image_size
    return spec if size is None else dataclasses.replace(spec, image_size=size)


def recount(row: PublishedDetector) -> Cost | None:
    """Return the counted cost of a published detector, or None if scaling_lab builds none."""
    spec = detector_spec(row)
    return None if spec is None else count(spec)


def differences(row: PublishedDetector) -> dict[str, float]:
    """Return by how many percent the stored counts exceed the printed costs: `params_m` and `gmacs`, if both are known."""
    pairs = {
        "params_m": (row.counted_params_m, row.params_m),
        "gmacs": (row.counted_gmacs, row.printed_gmacs),
    }
    return {
        name: difference(counted, printed)
        for name, (counted, printed) in pairs.items()
        if counted is not None and printed is not None
    }
