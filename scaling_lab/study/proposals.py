"""Which trial is next: points of the space within the limits, none of them twice. It starts no trial and needs no ray.

    grid      every point with every seed is planned in the ledger at once, seeds outermost
    others    Optuna is asked, one trial at a time, until the ledger holds as many as the study wants

A point is one of: beyond a limit (recorded as a rejection, told to Optuna as infeasible), known with all seeds (told
what it gave), known with some seeds (its next seed is a trial), or new (the first seed is a trial).
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.errors import UserError
from scaling_lab.study.costs import Costs, Count
from scaling_lab.study.enumeration import enumerate_space
from scaling_lab.study.ledger import Architecture, Ledger, TrialRow
from scaling_lab.study.loading import point_error
from scaling_lab.study.proposal import Proposal
from scaling_lab.study.sampling import Asked, Sampling, replay
from scaling_lab.study.study import Study
from scaling_lab.user_files import is_ours

# So many points in a row without a new trial mean that the space has no more, or that finding one takes for ever.
MOST_FUTILE = 200

_TOLD = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}


class Proposals:
    """Propose the trials of a study, and pass on to Optuna how they ended. Raises UserError where the space fails."""

    def __init__(
        self,
        study: Study,
        ledger: Ledger,
        *,
        name: str,
        protocol: str,
        count: Count | None = None,
        journal: Path | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        self.study, self._ledger, self.protocol, self._say = study, ledger, protocol, say
        self._name = name
        self._costs = Costs(
            limits=study.limits,
            num_classes=len(study.data.class_names),
            count=count,
            known=ledger.architectures(),
        )
        self._rows = {row.id: row for row in ledger.trials()}
        self._by_architecture: dict[str, dict[int, int]] = {}
        for row in self._rows.values():
            self._by_architecture.setdefault(row.architecture, {})[row.seed] = row.id
        self._asked: dict[int, Asked] = {}
        self._sampling = Sampling(study, journal=journal, name=name, past=len(self._rows))
        self._tell_the_past()
        if study.sampler == "grid":
            self._plan_grid()
        self._waiting = deque(self._proposal(row) for row in self._rows.values() if row.state == "planned")
        self._exhausted = False

    @property
    def planned(self) -> int:
        """How many trials there are to be in the end, as far as is known now."""
        if self.study.trials is None or self._exhausted:
            return len(self._rows)
        return len(self._rows) if self.study.sampler == "grid" else max(self.study.trials, len(self._rows))

    @property
    def sampling(self) -> Sampling:
        """Optuna's side."""
        return self._sampling

    def architecture(self, trial: int) -> Architecture:
        """Give a trial's architecture."""
        return self._costs[self._rows[trial].architecture]

    def next(self) -> Proposal | None:
        """Give the next trial, or None where the study has enough or nothing new can be found."""
        proposal = self._waiting.popleft() if self._waiting else self._search()
        if proposal is not None and proposal.trial not in self._asked:
            self._tell_started(self._rows[proposal.trial])
        return proposal

    def put_back(self, proposal: Proposal) -> None:
        """Have a proposal given out again as the next."""
        self._waiting.appendleft(proposal)

    def values(self, trial: int, metrics: Mapping[str, Any]) -> list[Any]:
        """Give the objectives' values of a trial; None where there is none."""
        known = {**metrics, **self.architecture(trial).costs}
        return [known.get(name) for name in self.study.objectives]

    def result(self, trial: int, state: str, metrics: Mapping[str, Any]) -> None:
        """Note how a trial has ended, and tell Optuna."""
        self._rows[trial] = dataclasses.replace(self._rows[trial], state=state, metrics=dict(metrics))
        asked = self._asked.pop(trial, None)
        if asked is None:
            return
        if state == "complete":
            self._sampling.complete(asked, self.values(trial, metrics))
        elif state == "stopped":
            self._sampling.prune(asked)
        else:
            self._sampling.fail(asked)

    # --- asking ------------------------------------------------------------------------------------------------------

    def _search(self) -> Proposal | None:
        if self.study.sampler == "grid" or self.study.trials is None:
            return None
        for futile in range(MOST_FUTILE):
            if len(self._rows) >= self.study.trials:
                return None
            try:
                asked = self._sampling.ask(is_retry=futile > 0)
            except optuna.TrialPruned:
                continue
            proposal = self._judge(asked)
            if proposal is not None:
                return proposal
        if not self._exhausted:
            self._exhausted = True
            self._say(
                f"{MOST_FUTILE} points in a row were known already or beyond the limits: "
                f"the search ends with {len(self._rows)} trials of {self.study.trials}"
            )
        return None

    def _judge(self, asked: Asked) -> Proposal | None:
        architecture = self._measure(asked.spec, asked.params)
        if self._is_refused(architecture, asked.params):
            self._sampling.describe(
                asked,
                rejected=self._costs.refusal(architecture.costs),
                architecture=architecture.digest,
                description=architecture.spec.describe(),
            )
            self._sampling.constrain(asked, self._costs.excess(architecture.costs))
            self._sampling.prune(asked)
            return None
        seeds = self._by_architecture.get(architecture.digest, {})
        unused = [seed for seed in self.study.seeds if seed not in seeds]
        if not unused:
            self._tell_known(asked, architecture, [self._rows[trial] for trial in seeds.values()])
            return None
        row = self._plan(architecture, unused[0], asked.params)
        self._attach(asked, row)
        return self._proposal(row)

    def _measure(self, spec: DetectorSpec, params: Mapping[str, Any]) -> Architecture:
        """Count what a point costs. Raises UserError with study, file and point where its detector cannot be built."""
        try:
            return self._costs.measure(spec)
        except Exception as error:
            if is_ours(error) and not isinstance(error, UserError):
                raise
            raise UserError(f"study {self._name}: {point_error(error, self.study.space, params)}") from None

    def _is_refused(self, architecture: Architecture, params: Mapping[str, Any]) -> bool:
        reason = self._costs.refusal(architecture.costs)
        if reason is not None:
            self._ledger.reject(
                architecture=architecture.digest, params=params, reason=reason, costs=architecture.costs
            )
        return reason is not None

    def _tell_known(self, asked: Asked, architecture: Architecture, rows: list[TrialRow]) -> None:
        """A point whose every seed is taken: a free look-up, where one has ended. One that was stopped has no value."""
        self._sampling.describe(asked, known_trials=[row.id for row in rows])
        self._sampling.constrain(asked, self._costs.excess(architecture.costs))
        for row in rows:
            if row.state == "complete":
                self._sampling.complete(asked, self.values(row.id, row.metrics))
                return
        if any(row.state == "stopped" for row in rows):
            self._sampling.prune(asked)
        else:
            self._sampling.fail(asked)

    def _tell_started(self, row: TrialRow) -> None:
        """A trial of the grid or of an earlier session runs: Optuna hears of it, if its space still has the point."""
        if self._replay(row) is not None:
            self._attach(self._sampling.ask(row.params), row)

    def _attach(self, asked: Asked, row: TrialRow) -> None:
        architecture = self._costs[row.architecture]
        self._sampling.describe(
            asked,
            trial=row.id,
            architecture=row.architecture,
            seed=row.seed,
            description=architecture.spec.describe(),
        )
        self._sampling.constrain(asked, self._costs.excess(architecture.costs))
        self._asked[row.id] = asked

    # --- the ledger --------------------------------------------------------------------------------------------------

    def _plan(self, architecture: Architecture, seed: int, params: dict[str, Any]) -> TrialRow:
        epochs = self.study.recipe.epochs
        with self._ledger.transaction():
            self._ledger.add_architecture(architecture)
            trial = self._ledger.plan(
                architecture=architecture.digest, protocol=self.protocol, seed=seed, params=params, epochs=epochs
            )
        self._costs.keep(architecture)
        self._by_architecture.setdefault(architecture.digest, {})[seed] = trial
        self._rows[trial] = TrialRow(
            id=trial,
            architecture=architecture.digest,
            seed=seed,
            params=params,
            epochs=epochs,
            epochs_done=0,
            state="planned",
            seconds=0.0,
            metrics={},
        )
        return self._rows[trial]

    def _plan_grid(self) -> None:
        """Plan what the grid has and the ledger has not; forget what was planned and the grid has no more."""
        points: dict[str, tuple[Architecture, dict[str, Any]]] = {}
        for params, spec in enumerate_space(self.study.space):
            architecture = self._measure(spec, params)
            if not self._is_refused(architecture, params):
                points.setdefault(architecture.digest, (architecture, params))
        wanted = [(digest, seed) for seed in self.study.seeds for digest in points][: self.study.trials]
        self._forget_all_but(set(wanted))
        with self._ledger.transaction():
            for digest, seed in wanted:
                if seed not in self._by_architecture.get(digest, {}):
                    self._plan(points[digest][0], seed, points[digest][1])

    def _forget_all_but(self, wanted: set[tuple[str, int]]) -> None:
        gone = [
            row
            for row in self._rows.values()
            if row.state == "planned" and row.epochs_done == 0 and (row.architecture, row.seed) not in wanted
        ]
        self._ledger.forget(row.id for row in gone)
        for row in gone:
            del self._rows[row.id], self._by_architecture[row.architecture][row.seed]

    def _proposal(self, row: TrialRow) -> Proposal:
        architecture = self._costs[row.architecture]
        return Proposal(
            trial=row.id,
            spec=architecture.spec,
            seed=row.seed,
            params=row.params,
            epochs=row.epochs,
            epochs_done=row.epochs_done,
            seconds=row.seconds,
            gmacs=architecture.gmacs,
        )

    # --- earlier sessions --------------------------------------------------------------------------------------------

    def _tell_the_past(self) -> None:
        """Tell a new Optuna study all that earlier sessions found out."""
        for params, costs in self._ledger.rejections():
            known = replay(self.study.space, params)
            reason = self._costs.refusal(costs)
            if known is not None and reason is not None:
                self._sampling.remember(
                    params, known[1], state=TrialState.PRUNED, excess=self._costs.excess(costs),
                    rejected=reason, description=known[0].describe(),
                )  # fmt: skip
        ended = [row for row in self._rows.values() if row.state in _TOLD]
        forgotten = len(ended) - sum(self._tell_ended(row) for row in ended)
        if forgotten:
            self._say(f"{forgotten} earlier trials are not in the search space any more; they stay in the ledger")

    def _tell_ended(self, row: TrialRow) -> bool:
        distributions = self._replay(row)
        if distributions is None:
            return False
        self._sampling.remember(
            row.params,
            distributions,
            state=_TOLD[row.state],
            values=self.values(row.id, row.metrics) if row.state == "complete" else None,
            excess=self._costs.excess(self._costs[row.architecture].costs),
            trial=row.id,
            architecture=row.architecture,
            seed=row.seed,
            description=self._costs[row.architecture].spec.describe(),
        )
        return True

    def _replay(self, row: TrialRow) -> Mapping[str, Any] | None:
        known = replay(self.study.space, row.params)
        if known is None:
            return None
        return known[1] if self._costs.as_trained(known[0]).digest == row.architecture else None
