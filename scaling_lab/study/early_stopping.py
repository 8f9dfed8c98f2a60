"""What all rules of early stopping share."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from scaling_lab.checks import Fields, check_whole
from scaling_lab.errors import UserError
from scaling_lab.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class EarlyStopping(Fields):
    """A rule by which trials are stopped early, `min_epochs` being the first epoch at which it judges."""

    min_epochs: int

    def __post_init__(self) -> None:
        check_whole("stopping.min_epochs", self.min_epochs, least=1)

    def check_recipe(self, recipe: Recipe) -> None:
        """Raise UserError where a recipe has no epoch to judge at, or measures no AP at it."""
        if self.min_epochs >= recipe.epochs:
            raise UserError(
                f"stopping.min_epochs is {self.min_epochs}; allowed are whole numbers below recipe.epochs, which is "
                f"{recipe.epochs} (stopping=None trains every trial to the end)"
            )
        if self.min_epochs % recipe.eval_every:
            raise UserError(
                f"stopping.min_epochs is {self.min_epochs}; allowed are multiples of recipe.eval_every, which is "
                f"{recipe.eval_every}: AP is measured at no other epoch"
            )

    def epochs(self, recipe: Recipe) -> tuple[int, ...]:
        """Return the epochs, before a recipe's last, at which trials are judged."""
        raise NotImplementedError

    def expected_epochs(self, trials: int, *, epochs: int) -> float | None:
        """Return the expected mean epochs of `trials` trials; None where only the trials can tell."""
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return dataclasses.asdict(self)
