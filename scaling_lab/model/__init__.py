"""A spec made into a torch module. It decides nothing: every choice stands in the spec."""

from scaling_lab.model.checkpoints import load_checkpoint
from scaling_lab.model.detector import Detector, build
from scaling_lab.model.inference import for_inference

__all__ = ["Detector", "build", "for_inference", "load_checkpoint"]
