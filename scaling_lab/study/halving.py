"""Successive halving, the rule by which trials are stopped early. rungs.py applies it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from scaling_lab.checks import check_whole
from scaling_lab.study.early_stopping import EarlyStopping
from scaling_lab.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Halving(EarlyStopping):
    """Asynchronous successive halving, for one or several objectives: at each rung the best 1/factor continue.

    Rungs are the epochs `min_epochs`, `min_epochs * factor`, `min_epochs * factor**2` and so on, below the recipe's
    last. A trial that reaches a rung is judged once, at once, against all n results of this rung in the ledger, its own
    included. It continues if

    - n is less than `factor`: the first results pass, or
    - no other result is better in every objective (none dominates it), or
    - fewer than n / factor, rounded down, rank before it. Results rank by front (front 0 is non-dominated, front 1 is
      dominated by front 0 only, ...). Within a front the larger crowding distance ranks first (Deb et al. 2002,
      NSGA-II), so that survivors spread along the costs.

    Equal results do not rank before each other. With one objective this is ASHA's stopping variant (Li et al. 2020,
    arXiv:1810.05934). Several objectives are ranked as in Schmucker et al. 2021 (arXiv:2106.12639). A trial that passed
    early, among few results, is not recalled; so start with promising points, or in random order.
    """

    factor: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole("stopping.factor", self.factor, least=2)

    def epochs(self, recipe: Recipe) -> tuple[int, ...]:
        """Return the rungs."""
        return self.rungs(recipe.epochs)

    def rungs(self, epochs: int) -> tuple[int, ...]:
        """Return the epochs, before the last of `epochs`, at which trials are judged."""
        found = []
        epoch = self.min_epochs
        while epoch < epochs:
            found.append(epoch)
            epoch *= self.factor
        return tuple(found)

    def expected_epochs(self, trials: int, *, epochs: int) -> float:
        """Return the expected mean epochs of `trials` trials, for one objective and results in random order.

        With several objectives it is higher, since non-dominated trials are not stopped.
        """
        passed = list(itertools.accumulate((self._chance(place) for place in range(1, trials + 1)), initial=0.0))
        total, arrived, before = 0.0, float(trials), 0
        for rung in self.rungs(epochs):
            total += arrived * (rung - before)
            below = int(arrived)  # interpolated between whole numbers of trials
            arrived, before = passed[below] + (arrived - below) * self._chance(below + 1), rung
        return (total + arrived * (epochs - before)) / trials

    def _chance(self, count: int) -> float:
        """Return the probability that the last of `count` results continues, all ranks being equally likely."""
        return 1.0 if count < self.factor else count // self.factor / count
