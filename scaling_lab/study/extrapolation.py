"""Stopping by learning curves: trials end that would hardly join the front. search/curve_judge.py applies it."""

from __future__ import annotations

from dataclasses import dataclass

from scaling_lab.checks import check_number, check_whole
from scaling_lab.study.early_stopping import EarlyStopping
from scaling_lab.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Extrapolation(EarlyStopping):
    """Stops a trial whose learning curve makes it improbable that it joins the front.

    The rule judges at every evaluated epoch from `min_epochs` on, below the last. A trial's final value is predicted from
    its value at the epoch, by a line fitted to all complete trials of the study: their final values against their values at
    that epoch. The prediction has the t-distribution of linear regression with a prior of slope 1 (stats/regression.py). A
    trial is stopped if its probability to reach the best complete trial that costs no more is below `chance`. It continues if

    - fewer than `least` other trials with a value at this epoch are complete, or
    - no complete trial costs as little, so that it would be on the front anyway, or
    - its architecture has a complete trial: stopping bad seeds would bias the mean of the others.

    All trials of a study share one schedule of the learning rate. So complete trials tell what it does to a curve, and power
    laws, which do not hold under a cosine, are not assumed. Complete trials are selected by their earlier values, which
    regression on those values allows.
    """

    chance: float = 0.1
    least: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("stopping.chance", self.chance, above=0, below=1)
        check_whole("stopping.least", self.least, least=3)

    def epochs(self, recipe: Recipe) -> tuple[int, ...]:
        """Return every evaluated epoch from `min_epochs` on, before a recipe's last."""
        return tuple(range(self.min_epochs, recipe.epochs, recipe.eval_every))
