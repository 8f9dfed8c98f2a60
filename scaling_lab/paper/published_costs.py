"""The costs published in EfficientDet's paper and printed by its released code."""

from __future__ import annotations

from dataclasses import dataclass

from scaling_lab.report.analysis.detector_facts import published_detectors


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One model's row of Table 1; `phi` is None if the paper gives none."""

    phi: int | None
    backbone: str
    image_size: int
    width: int
    repeats: int
    head_repeats: int


@dataclass(frozen=True, kw_only=True)
class Published:
    """Parameters and multiply-adds ("FLOPs" in the paper), with the paper's own number of decimals."""

    params: float
    gmacs: float


# arXiv:1911.09070v7, Table 1: "Scaling configs for EfficientDet".
TABLE_1 = {
    "d0": Settings(phi=0, backbone="b0", image_size=512, width=64, repeats=3, head_repeats=3),
    "d1": Settings(phi=1, backbone="b1", image_size=640, width=88, repeats=4, head_repeats=3),
    "d2": Settings(phi=2, backbone="b2", image_size=768, width=112, repeats=5, head_repeats=3),
    "d3": Settings(phi=3, backbone="b3", image_size=896, width=160, repeats=6, head_repeats=4),
    "d4": Settings(phi=4, backbone="b4", image_size=1024, width=224, repeats=7, head_repeats=4),
    "d5": Settings(phi=5, backbone="b5", image_size=1280, width=288, repeats=7, head_repeats=4),
    "d6": Settings(phi=6, backbone="b6", image_size=1280, width=384, repeats=8, head_repeats=5),
    "d7": Settings(phi=7, backbone="b6", image_size=1536, width=384, repeats=8, head_repeats=5),
    "d7x": Settings(phi=None, backbone="b7", image_size=1536, width=384, repeats=8, head_repeats=5),
}

# google/automl, efficientdet/efficientdet_arch_test.py: operations counted by TensorFlow's profiler / 2.
RELEASED_MACS = {
    "d0": 2_550_618_821,
    "d1": 6_133_752_112,
    "d2": 11_045_799_933,
    "d3": 24_982_737_931,
    "d4": 55_346_593_717,
    "d5": 135_729_505_573,
    "d6": 226_033_623_795,
    "d7": 325_473_789_367,
}

# arXiv:1911.09070v7, Table 4: millions of parameters, billions of multiply-adds.
TABLE_4 = {
    "ResNet50 + FPN": Published(params=34, gmacs=97),
    "EfficientNet-B3 + FPN": Published(params=21, gmacs=75),
    "EfficientNet-B3 + BiFPN": Published(params=12, gmacs=24),
}

# arXiv:1911.09070v7, Table 5: both as multiples of the first row's.
TABLE_5 = {
    "Repeated FPN": Published(params=1.0, gmacs=1.0),
    "Repeated FPN + PANet": Published(params=1.0, gmacs=1.0),
    "NAS-FPN": Published(params=0.71, gmacs=0.72),
    "Fully-connected FPN": Published(params=1.24, gmacs=1.21),
    "BiFPN without weights": Published(params=0.88, gmacs=0.67),
    "BiFPN with weights": Published(params=0.88, gmacs=0.68),
}


def table_2() -> dict[str, Published]:
    """Return EfficientDet's rows of Table 2: millions of parameters, billions of multiply-adds, by short name ("d0")."""
    return {
        row.counted_as: Published(params=row.params_m, gmacs=row.gflops_printed)
        for row in published_detectors()
        if row.source.source == "efficientdet-paper"
        and row.family == "EfficientDet"
        and row.params_m
        and row.gflops_printed
    }
