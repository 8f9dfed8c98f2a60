"""Builds a spec as a torch module."""

from scaling_lab.model.checkpoints import load_checkpoint
from scaling_lab.model.detector import Detector, build
from scaling_lab.model.inference import for_inference

__all__ = ["Detector", "build", "for_inference", "load_checkpoint"]
