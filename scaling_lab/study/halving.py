"""The rule by which trials are stopped early, as a plain value: successive halving. Who is stopped, rungs.py says."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass

from scaling_lab.checks import Fields, check_whole
from scaling_lab.errors import UserError
from scaling_lab.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Halving(Fields):
    """Asynchronous successive halving, for one or several objectives: at each rung the best 1/factor go on.

    Rungs are the epochs `min_epochs`, `min_epochs * factor`, `min_epochs * factor**2` and so on, below the recipe's
    last. A trial that reaches one is judged at once against all n results that the ledger holds of this rung, its own
    included, and never again; nothing waits for anything. It goes on if

    - n is less than `factor`: the first results pass unjudged, or
    - none of the n is better in every objective (none dominates it), or
    - fewer than n / factor, rounded down, come before it: results of a lower front come before those of a higher one
      (front 0 are those that none dominates, front 1 those that only front 0 dominates, ...), and within a front those
      with the larger crowding distance (Deb et al. 2002, NSGA-II), so that what is kept is spread along the costs.

    Equal results come before each other in no case. With one objective that is ASHA's stopping variant (Li et al. 2020,
    arXiv:1810.05934); several objectives are ranked as Schmucker et al. 2021 (arXiv:2106.12639) do. A trial that passed
    early, among few results, is not called back; so start with what may be good, or in random order.
    """

    min_epochs: int
    factor: int = 3

    def __post_init__(self) -> None:
        check_whole("stopping.min_epochs", self.min_epochs, least=1)
        check_whole("stopping.factor", self.factor, least=2)

    def rungs(self, epochs: int) -> tuple[int, ...]:
        """Give the epochs before the last of so many at which trials are judged."""
        found = []
        epoch = self.min_epochs
        while epoch < epochs:
            found.append(epoch)
            epoch *= self.factor
        return tuple(found)

    def expected_epochs(self, trials: int, *, epochs: int) -> float:
        """Give the mean epochs of so many trials, for one objective and results that come one by one in random order.

        With several objectives more go on, for what nothing dominates is not stopped.
        """
        passed = list(itertools.accumulate((self._chance(place) for place in range(1, trials + 1)), initial=0.0))
        total, arrived, before = 0.0, float(trials), 0
        for rung in self.rungs(epochs):
            total += arrived * (rung - before)
            below = int(arrived)  # between two whole numbers of trials, in proportion
            arrived, before = passed[below] + (arrived - below) * self._chance(below + 1), rung
        return (total + arrived * (epochs - before)) / trials

    def _chance(self, count: int) -> float:
        """Give how probably the last of `count` results goes on, where each rank is as probable."""
        return 1.0 if count < self.factor else count // self.factor / count

    def check_recipe(self, recipe: Recipe) -> None:
        """Raise UserError where a recipe has no epoch to judge at, or measures no AP there."""
        if self.min_epochs >= recipe.epochs:
            raise UserError(
                f"stopping.min_epochs is {self.min_epochs}; allowed are whole numbers below recipe.epochs, which is "
                f"{recipe.epochs} (stopping=None trains every trial to its end)"
            )
        if self.min_epochs % recipe.eval_every:
            raise UserError(
                f"stopping.min_epochs is {self.min_epochs}; allowed are multiples of recipe.eval_every, which is "
                f"{recipe.eval_every}: AP is measured at no other epoch"
            )

    def to_dict(self) -> dict[str, int]:
        """Give plain JSON values."""
        return dataclasses.asdict(self)
