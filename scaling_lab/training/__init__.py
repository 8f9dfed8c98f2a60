"""Trains and evaluates one detector. Importing this package does not import torch."""

from scaling_lab.training.failures import Diverged, Failure, OutOfMemory
from scaling_lab.training.recipe import Recipe

__all__ = ["Diverged", "Failure", "OutOfMemory", "Recipe"]
