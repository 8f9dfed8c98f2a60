"""Boxes: anchors and points, their matching to objects, losses, and detections from a detector's outputs."""

from scaling_lab.detection.anchors import make_anchors
from scaling_lab.detection.head_kinds import make_references
from scaling_lab.detection.losses import LossTerms, detection_loss
from scaling_lab.detection.matching import Matches, match
from scaling_lab.detection.points import points_loss
from scaling_lab.detection.postprocessing import Detections, detect

__all__ = [
    "Detections",
    "LossTerms",
    "Matches",
    "detect",
    "detection_loss",
    "make_anchors",
    "make_references",
    "match",
    "points_loss",
]
