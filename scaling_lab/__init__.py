"""A workbench for detector architecture: topologies, compound scaling, studies and reports.

Importing the public names imports neither torch nor ray until one that needs them is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scaling_lab.architecture import (
        Anchors,
        CompoundScaling,
        DetectorSpec,
        Node,
        Pixels,
        Topology,
        efficientdet,
        topologies,
    )
    from scaling_lab.cost import count
    from scaling_lab.data import Coco, Shapes, Voc, Yolo
    from scaling_lab.data.anchor_fitting import fit_anchors
    from scaling_lab.model import build, for_inference, load_checkpoint
    from scaling_lab.runs.reader import Runs
    from scaling_lab.study import Extrapolation, Finalists, Halving, SharedWeights, Study
    from scaling_lab.study.run.runner import run_study
    from scaling_lab.training.recipe import Recipe

__version__ = "0.1.0"

_HOME = {
    "Anchors": "scaling_lab.architecture",
    "Coco": "scaling_lab.data",
    "CompoundScaling": "scaling_lab.architecture",
    "DetectorSpec": "scaling_lab.architecture",
    "Extrapolation": "scaling_lab.study",
    "Finalists": "scaling_lab.study",
    "Halving": "scaling_lab.study",
    "Node": "scaling_lab.architecture",
    "Pixels": "scaling_lab.architecture",
    "Recipe": "scaling_lab.training.recipe",
    "Runs": "scaling_lab.runs.reader",
    "Shapes": "scaling_lab.data",
    "SharedWeights": "scaling_lab.study",
    "Study": "scaling_lab.study",
    "Topology": "scaling_lab.architecture",
    "Voc": "scaling_lab.data",
    "Yolo": "scaling_lab.data",
    "build": "scaling_lab.model",
    "count": "scaling_lab.cost",
    "efficientdet": "scaling_lab.architecture",
    "fit_anchors": "scaling_lab.data.anchor_fitting",
    "for_inference": "scaling_lab.model",
    "load_checkpoint": "scaling_lab.model",
    "run_study": "scaling_lab.study.run.runner",
    "topologies": "scaling_lab.architecture",
}

__all__ = [
    "Anchors",
    "Coco",
    "CompoundScaling",
    "DetectorSpec",
    "Extrapolation",
    "Finalists",
    "Halving",
    "Node",
    "Pixels",
    "Recipe",
    "Runs",
    "Shapes",
    "SharedWeights",
    "Study",
    "Topology",
    "Voc",
    "Yolo",
    "build",
    "count",
    "efficientdet",
    "fit_anchors",
    "for_inference",
    "load_checkpoint",
    "run_study",
    "topologies",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
