"""Training one detector and measuring it. Importing this package imports no torch; its modules do when they are needed."""

from scaling_lab.training.failures import Diverged, Failure, OutOfMemory
from scaling_lab.training.recipe import Recipe

__all__ = ["Diverged", "Failure", "OutOfMemory", "Recipe"]
