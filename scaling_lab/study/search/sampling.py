"""Optuna's side of a study: asking for points and telling results.

Optuna's study is in memory, rebuilt at each start from the ledger; journal.py writes it to a file for display.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import NSGAIIISampler, NSGAIISampler, RandomSampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FixedTrial, TrialState, create_trial

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.errors import UserError
from scaling_lab.study.search.journal import Journal
from scaling_lab.study.search.optuna_samplers import population_size, unwarned
from scaling_lab.study.search.strategy import Strategy
from scaling_lab.study.space.call import call_space
from scaling_lab.study.study import Space


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A point that Optuna proposed, whose result is pending."""

    trial: optuna.Trial
    params: dict[str, Any]
    spec: DetectorSpec


class Sampling:
    """Asks and tells one Optuna study, which uses the strategy's sampler."""

    def __init__(self, strategy: Strategy, *, journal: Path | None, name: str) -> None:
        study = strategy.desk.study
        self._space, self._strategy = study.space, strategy
        self._sampler, self._chance = strategy.optuna_sampler(), RandomSampler(seed=strategy.desk.seed)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            study_name=name,
            storage=InMemoryStorage(),
            sampler=self._sampler,
            directions=[StudyDirection[direction.upper()] for direction in study.objectives.values()],
        )
        for attribute, words in (("question", study.question), ("limits", dict(study.limits))):
            self._study.set_user_attr(attribute, words)
        with unwarned():
            self._study.set_metric_names(list(study.objectives))
            self._journal = None if journal is None else Journal(journal, self._study)
        self._remembered, self._population = 0, population_size(study.trials)

    @property
    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """Optuna's trials."""
        return self._study.get_trials(deepcopy=False)

    def ask(self, params: Mapping[str, Any] | None = None, *, is_retry: bool = False) -> Asked:
        """Ask for a point, or record `params` as Optuna's proposal. optuna.TrialPruned of the space passes through.

        `is_retry`: the last point gave no trial, being known or rejected by a limit.
        """
        if params is not None:
            self._study.enqueue_trial(dict(params))
        with self._by_chance(params is not None or is_retry):
            trial = self._study.ask()
            try:
                spec = call_space(self._space, trial)
            except (UserError, optuna.TrialPruned):
                self._tell(trial, state=TrialState.PRUNED)
                raise
        return Asked(trial=trial, params=dict(trial.params), spec=spec)

    @contextmanager
    def _by_chance(self, is_needless: bool) -> Iterator[None]:
        """Sample at random where no model is needed, or where it would repeat a rejected point."""
        if is_needless and not self._strategy.learns_from_refusals:
            self._study.sampler = self._chance
        try:
            yield
        finally:
            self._study.sampler = self._sampler

    def describe(self, asked: Asked, **attributes: Any) -> None:
        """Attach attributes that optuna-dashboard shows with a trial."""
        for name, value in attributes.items():
            asked.trial.set_user_attr(name, value)

    def constrain(self, asked: Asked, excess: Mapping[str, float]) -> None:
        """Tell a point's excess over each limit, before its result."""
        for name, value in excess.items():
            asked.trial.set_constraint(name, value)

    def started(self, asked: Asked) -> None:
        """Show a trial as running in optuna-dashboard."""
        if self._journal is not None:
            running = create_trial(
                state=TrialState.RUNNING,
                params=asked.trial.params,
                distributions=asked.trial.distributions,
                user_attrs=asked.trial.user_attrs,
                constraints=asked.trial.constraints,
            )
            self._journal.write(asked.trial.number, running)

    def complete(self, asked: Asked, values: Sequence[float]) -> None:
        """Tell the objectives' values of a point."""
        self._tell(asked.trial, values=list(values))

    def prune(self, asked: Asked) -> None:
        """Tell that a limit rejected a point or that its trial was stopped, without a value at full fidelity."""
        self._tell(asked.trial, state=TrialState.PRUNED)

    def fail(self, asked: Asked) -> None:
        """Tell that a trial failed."""
        self._tell(asked.trial, state=TrialState.FAIL)

    def remember(
        self,
        params: Mapping[str, Any],
        distributions: Mapping[str, BaseDistribution],
        *,
        state: TrialState,
        values: Sequence[float] | None = None,
        excess: Mapping[str, float],
        **attributes: Any,
    ) -> None:
        """Tell a point of an earlier session."""
        system = {}
        if state is TrialState.COMPLETE and isinstance(self._sampler, (NSGAIISampler, NSGAIIISampler)):
            # Without its generation, a trial is never a parent.
            system = {self._sampler._get_generation_key(): self._remembered // self._population}
            self._remembered += 1
        trial = create_trial(
            state=state,
            values=None if values is None else list(values),
            params=dict(params),
            distributions=dict(distributions),
            user_attrs=attributes,
            system_attrs=system,
            constraints=dict(excess),
        )
        self._study.add_trial(trial)
        if self._journal is not None:
            self._journal.write(trial.number, trial)

    def _tell(
        self, trial: optuna.Trial, *, values: list[float] | None = None, state: TrialState = TrialState.COMPLETE
    ) -> None:
        told = self._study.tell(trial, values, state=state)
        if self._journal is not None:
            self._journal.write(trial.number, told)


def replay(space: Space, params: Mapping[str, Any]) -> tuple[DetectorSpec, dict[str, BaseDistribution]] | None:
    """Return the spec and the distributions of a known point, or None where the space no longer has it."""
    trial = FixedTrial(dict(params))
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            spec = call_space(space, trial)
    except (UserError, optuna.TrialPruned):
        return None
    # Optuna only warns for a number out of range, but raises for a removed choice.
    out_of_range = any("out of the range" in str(warning.message) for warning in warned)
    same = set(trial.distributions) == set(params) and not out_of_range
    return (spec, trial.distributions) if same else None
