"""Costs of Table 4, from RetinaNet's network to EfficientDet's in two steps: the detector counted for each row."""

from __future__ import annotations

import dataclasses

from scaling_lab.architecture import DetectorSpec, Node, Topology, efficientdet, topologies
from scaling_lab.cost import count
from scaling_lab.paper.network_costs import REPEATS
from scaling_lab.paper.published_costs import TABLE_4, Published
from scaling_lab.paper.side_by_side import Column, Table, Value, compared, comparison, difference

# RetinaNet's sizes (google/automl 72052f5, retinanet_arch.py), at the image size of Table 2's row with equal costs.
RETINANET = DetectorSpec(
    backbone="resnet50",
    topology=topologies.fpn(3, 7, "sum"),
    width=256,
    repeats=1,
    head_repeats=4,
    image_size=(640, 640),
    separable=False,
    activation="relu",
)
RETINANET_B3 = dataclasses.replace(RETINANET, backbone="tf_efficientnet_b3")
# Our detectors with descriptions, by the paper's rows.
DETECTORS = {
    "ResNet50 + FPN": (RETINANET, "640 px, width 256, dense 3x3, heads 4"),
    "EfficientNet-B3 + FPN": (RETINANET_B3, "the same, on B3"),
    "EfficientNet-B3 + BiFPN": (
        dataclasses.replace(efficientdet("d3"), repeats=REPEATS),
        f"D3 with {REPEATS} cells in place of 6",
    ),
}
# FPN with a second convolution of the outputs P4 and P3.
TWICE_CONVOLVED = Topology(
    3,
    7,
    (
        Node(4, (1, 2), "sum"),
        Node(3, (0, 5), "sum"),
        *(Node(level, (source,), "sum") for level, source in ((3, 6), (4, 5), (5, 2), (6, 3), (7, 4))),
    ),
)


def backbone_table() -> Table:
    """Compare Table 4's costs with the counted ones."""
    rows = tuple(
        {
            "detector": name,
            **_costs(DETECTORS[name][0], paper),
            "counted_as": DETECTORS[name][1],
        }
        for name, paper in TABLE_4.items()
    )
    return Table(
        title="Table 4: backbone and feature network, whole models",
        columns=(
            Column(key="detector", heading="detector"),
            *compared("params_m", "params, millions", ".2f"),
            *compared("gmacs", "multiply-adds, billions", ".2f"),
            Column(key="counted_as", heading="counted as"),
        ),
        rows=rows,
        notes=_notes(),
    )


def _costs(spec: DetectorSpec, paper: Published) -> dict[str, Value]:
    cost = count(spec)
    return {**comparison("params_m", cost.params_m, paper.params), **comparison("gmacs", cost.gmacs, paper.gmacs)}


def _notes() -> tuple[str, ...]:
    paper = TABLE_4["EfficientNet-B3 + FPN"]
    second, third = count(RETINANET_B3), count(DETECTORS["EfficientNet-B3 + BiFPN"][0])
    bifpn = count(dataclasses.replace(RETINANET_B3, topology=topologies.bifpn(3, 7)))
    twice = count(dataclasses.replace(RETINANET_B3, topology=TWICE_CONVOLVED))
    return (
        "ResNet50 + FPN: google/automl's own RetinaNet (72052f5, retinanet_arch.py) has 34.07 million parameters and 96.78 "
        "billion multiply-adds by TensorFlow 2.15.1's profiler, which are the paper's. Here P6 comes from ResNet's 2,048 "
        "channels by a 1x1 convolution of 0.53 million parameters, there from P5's 256 channels.",
        "EfficientNet-B3 + FPN: no plain configuration fits. With B3 in ResNet's place that code has 19.89 and 69.82 by the same "
        f"profiler. Two further dense convolutions, at P4 and P3, would give {twice.params_m:.2f} "
        f"({difference(twice.params_m, paper.params):+.1f} %) and {twice.gmacs:.2f} "
        f"({difference(twice.gmacs, paper.gmacs):+.1f} %); neither paper nor code has them: a guess.",
        f"EfficientNet-B3 + BiFPN: D3 as released, with 6 cells, has {count(efficientdet('d3')).gmacs:.2f} billion, which is "
        f"not the paper's 24; with {REPEATS} it is.",
        "That last step changes more than the feature network: also width, image size and every dense convolution. The heads "
        f"alone go from {second.heads.gmacs:.2f} to {third.heads.gmacs:.2f} billion multiply-adds; BiFPN in FPN's place and "
        f"nothing else would give {bifpn.params_m:.2f} million parameters and {bifpn.gmacs:.2f} billion.",
    )
