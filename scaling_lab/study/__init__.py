"""Running many trials of one question. Importing this package imports neither torch, nor ray, nor optuna."""

from scaling_lab.study.finalists import Finalists
from scaling_lab.study.halving import Halving
from scaling_lab.study.study import Study

__all__ = ["Finalists", "Halving", "Study"]
