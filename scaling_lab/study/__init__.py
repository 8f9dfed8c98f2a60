"""Runs the many trials of a study. Importing this package loads neither torch, ray nor optuna."""

from scaling_lab.study.extrapolation import Extrapolation
from scaling_lab.study.finalists import Finalists
from scaling_lab.study.halving import Halving
from scaling_lab.study.shared_weights import SharedWeights
from scaling_lab.study.study import Study

__all__ = ["Extrapolation", "Finalists", "Halving", "SharedWeights", "Study"]
