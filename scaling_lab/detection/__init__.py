"""Boxes: anchors, their matching to objects, the losses, and detections from a detector's outputs. No network is here."""

from scaling_lab.detection.anchors import make_anchors
from scaling_lab.detection.losses import LossTerms, detection_loss
from scaling_lab.detection.matching import Matches, match
from scaling_lab.detection.postprocessing import Detections, detect

__all__ = ["Detections", "LossTerms", "Matches", "detect", "detection_loss", "make_anchors", "match"]
