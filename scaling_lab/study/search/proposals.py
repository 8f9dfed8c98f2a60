"""Chooses the next trial: distinct points of the space within the limits.

    a strategy (strategy.py) gives all points at once, or one whenever a trial is wanted, or lets Optuna sample it
    finalists are selected and planned when all trials of the search have ended

A point is one of: beyond a limit (recorded as a rejection, infeasible to Optuna), known with all seeds (Optuna gets the
known result), known with some seeds (its next seed is a trial), or new (its first seed is a trial).
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.errors import UserError
from scaling_lab.study.ledger.database import Architecture, Ledger, TrialRow
from scaling_lab.study.ledger.rows import Rows
from scaling_lab.study.search.costs import Costs, Count, Unpredictable, predictor
from scaling_lab.study.search.proposal import Proposal
from scaling_lab.study.search.sampling import Asked, Sampling, replay
from scaling_lab.study.search.selection import Finalist, choose_finalists
from scaling_lab.study.search.strategy import ASK, END, Desk, make_strategy
from scaling_lab.study.search.trends import made_sources
from scaling_lab.study.space.baseline_check import baseline_point
from scaling_lab.study.space.call import point_error
from scaling_lab.study.space.study_file import MOST_NAMED
from scaling_lab.study.study import Study
from scaling_lab.user_files import is_ours

# After this many points in a row without a new trial, the space counts as exhausted.
MOST_FUTILE = 200

_TOLD = {"complete": TrialState.COMPLETE, "stopped": TrialState.PRUNED, "failed": TrialState.FAIL}


class Proposals:
    """Proposes the trials of a study, and tells Optuna how they ended. Raises UserError where the space fails."""

    def __init__(
        self,
        study: Study,
        ledger: Ledger,
        *,
        name: str,
        protocol: str,
        count: Count | None = None,
        latencies: Mapping[str, float] | None = None,
        journal: Path | None = None,
        warm_start: Iterable[Mapping[str, Any]] = (),
        say: Callable[[str], None] = print,
    ) -> None:
        self.study, self._ledger, self.protocol, self._say = study, ledger, protocol, say
        self._name = name
        self._costs = Costs(
            limits=study.limits,
            num_classes=len(study.data.class_names),
            count=count,
            predict=predictor(study),
            known=ledger.architectures(),
        )
        for digest, latency in (latencies or {}).items():
            self._costs.time(digest, latency)
        self._too_slow = 0  # number of consecutive trials with a latency above its limit
        self._rows = Rows(ledger, protocol=protocol, epochs=study.recipe.epochs)
        self._finalists_are_chosen = study.finalists is None
        self._check_fresh()
        self._asked: dict[int, Asked] = {}
        self._refused = ledger.refused()
        # Another seed in each session, or a continued search would repeat its first proposals.
        seed = (study.seeds[0] + 1_000_003 * len(self._rows)) % 2**32
        self._strategy = make_strategy(
            Desk(
                study=study,
                within_limits=self._within_limits,
                architecture=self._costs.__getitem__,
                seed=seed,
                sources=made_sources(warm_start, space=study.space, measure=self._costs.measure, say=say),
            )
        )
        self._sampling = Sampling(self._strategy, journal=journal, name=name)
        self._tell_the_past()
        points = self._strategy.points()
        if points is not None:
            self._plan_all(points)
        self._waiting = self._planned_trials(is_search=True)
        self._exhausted = self._has_passed_over = False

    @property
    def planned(self) -> int:
        """The final number of trials, as far as known."""
        searched, finals = self._rows.searched, len(self._rows) - self._rows.searched
        if self.study.trials is not None and not self.study.is_exhaustive and not self._exhausted:
            searched = max(self.study.trials, searched)
        if self.study.finalists is not None and not self._finalists_are_chosen:
            finals = max(self.study.finalists.trials, finals)
        return searched + finals

    @property
    def waits(self) -> bool:
        """Whether finalists are still to be selected, once the running trials have ended and `next` returns None."""
        return not self._finalists_are_chosen

    @property
    def sampling(self) -> Sampling:
        """Optuna's side."""
        return self._sampling

    def architecture(self, trial: int) -> Architecture:
        """Return a trial's architecture."""
        return self._costs[self._rows[trial].architecture]

    def is_searched(self, trial: int) -> bool:
        """Return whether a trial belongs to the search, not to a finalist."""
        return self._rows[trial].role == "search"

    def next(self) -> Proposal | None:
        """Return the next trial, or None where the study is complete or exhausted (for now, if it `waits`)."""
        proposal = self._waiting.popleft() if self._waiting else self._search()
        if proposal is None and self.waits and not self._rows.is_searching():
            self._plan_finalists()
            proposal = self._waiting.popleft() if self._waiting else None
        if proposal is not None and proposal.trial not in self._asked:
            self._tell_started(self._rows[proposal.trial])
        if proposal is not None and self.study.is_timed:
            return dataclasses.replace(proposal, is_timed=self.architecture(proposal.trial).latency_ms is None)
        return proposal

    def put_back(self, proposal: Proposal) -> None:
        """Return a proposal to the head of the queue."""
        self._waiting.appendleft(proposal)

    def values(self, trial: int, metrics: Mapping[str, Any]) -> list[Any]:
        """Return the objectives' values of a trial; None where missing."""
        known = {**metrics, **self.architecture(trial).costs}
        return [known.get(name) for name in self.study.objectives]

    def result(self, trial: int, state: str, metrics: Mapping[str, Any]) -> None:
        """Record how a trial ended, and tell Optuna."""
        self._rows.end(trial, state, metrics)
        asked = self._asked.pop(trial, None)
        if asked is None:
            return
        if state == "complete":
            self._sampling.complete(asked, self.values(trial, metrics))
        elif state == "stopped":
            self._sampling.prune(asked)
        else:
            self._sampling.fail(asked)

    def timed(self, trial: int, latency: Mapping[str, Any]) -> str | None:
        """Record the latency of a trial's architecture, a row of `latencies`. Return why a limit rejects it, or None.

        A rejected trial and planned trials of the same architecture are removed.
        """
        row = self._rows[trial]
        if self._costs[row.architecture].latency_ms is None:
            self._ledger.add_latency(latency)
        architecture = self._costs.time(row.architecture, latency["median_ms"])
        if trial in self._asked:
            self._sampling.constrain(
                self._asked[trial], self._costs.excess({"latency_ms": architecture.costs["latency_ms"]})
            )
        # A limit that was added later discards no epochs, and the baseline is trained at any cost.
        reason = self._costs.refusal(architecture.costs) if row.role == "search" and row.epochs_done == 0 else None
        if reason is None:
            self._too_slow = 0
            return None
        self._too_slow += 1
        waiting = [
            each.trial for each in self._waiting if each.spec.digest == row.architecture and not each.epochs_done
        ]
        with self._ledger.transaction():
            self._is_refused(architecture, row.params)
            self._rows.forget([trial, *waiting])
        self._strategy.refuse(architecture.digest)
        self._waiting = deque(each for each in self._waiting if each.trial not in waiting)
        if trial in self._asked:
            self._sampling.prune(self._asked.pop(trial))
        return reason

    # --- search ------------------------------------------------------------------------------------------------------

    def _search(self) -> Proposal | None:
        if self.study.is_exhaustive or self.study.trials is None:
            return None
        is_drawn = True
        for futile in range(self._too_slow, MOST_FUTILE):
            if self._rows.searched >= self.study.trials:
                return None
            with self._ledger.transaction():
                chosen = self._strategy.choose(self._rows)
            is_drawn = chosen == ASK
            if chosen == END:
                break
            try:
                asked = self._sampling.ask(None if isinstance(chosen, str) else chosen, is_retry=futile > 0)
            except optuna.TrialPruned:
                continue
            try:
                proposal = self._judge(asked)
            except Unpredictable as error:
                self._pass_over(asked, error)
                continue
            if proposal is not None:
                return proposal
        if not self._exhausted:
            self._exhausted = True
            points = f"{MOST_FUTILE} points in a row were" if is_drawn else "all sampled points are"
            self._say(
                f"{points} known already or beyond the limits: "
                f"the search ends with {self._rows.searched} trials of {self.study.trials}"
            )
        return None

    def _within_limits(self, spec: DetectorSpec, params: Mapping[str, Any]) -> Architecture | None:
        """Count a point. Return its architecture, or record that a limit rejects it."""
        architecture = self._measure(spec, params)
        if self._costs.refusal(architecture.costs) is None:
            return architecture
        if architecture.digest not in self._refused:
            self._refused.add(architecture.digest)
            self._is_refused(architecture, params)
        return None

    def _pass_over(self, asked: Asked, error: Unpredictable) -> None:
        """Skip a point whose latency cannot be predicted; print the first one."""
        self._sampling.describe(asked, rejected=str(error))
        self._sampling.prune(asked)
        if not self._has_passed_over:
            self._has_passed_over = True
            self._say(f"points outside the latency model's domain are skipped, such as: {error}")

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
        known = self._rows.of(architecture.digest)
        unused = [seed for seed in self.study.seeds if seed not in known]
        if not unused:
            self._tell_known(asked, architecture, list(known.values()))
            return None
        row = self._plan(architecture, unused[0], asked.params)
        self._attach(asked, row)
        return self._proposal(row)

    def _measure(self, spec: DetectorSpec, params: Mapping[str, Any]) -> Architecture:
        """Count a point's costs. Raises UserError with study, file and point where the detector cannot be built."""
        try:
            return self._costs.measure(spec)
        except Exception as error:
            if is_ours(error) and not isinstance(error, UserError):
                raise
            kind = Unpredictable if isinstance(error, Unpredictable) else UserError
            raise kind(f"study {self._name}: {point_error(error, self.study.space, params)}") from None

    def _is_refused(self, architecture: Architecture, params: Mapping[str, Any]) -> bool:
        reason = self._costs.refusal(architecture.costs)
        if reason is not None:
            self._ledger.reject(
                architecture=architecture.digest, params=params, reason=reason, costs=architecture.costs
            )
        return reason is not None

    def _tell_known(self, asked: Asked, architecture: Architecture, rows: list[TrialRow]) -> None:
        """Tell Optuna the known result of a point whose seeds are all used. A stopped trial has no value."""
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
        """Tell Optuna of a running trial of a grid or earlier session, if the space still has the point."""
        if self._replay(row) is not None:
            self._attach(self._sampling.ask(row.params), row)

    def _attach(self, asked: Asked, row: TrialRow) -> None:
        architecture = self._costs[row.architecture]
        self._sampling.describe(
            asked,
            trial=row.id,
            architecture=row.architecture,
            seed=row.seed,
            role=row.role,
            description=architecture.spec.describe(),
        )
        self._sampling.constrain(asked, self._costs.excess(architecture.costs))
        self._sampling.started(asked)
        self._asked[row.id] = asked

    # --- the ledger --------------------------------------------------------------------------------------------------

    def _plan(self, architecture: Architecture, seed: int, params: dict[str, Any], *, role: str = "search") -> TrialRow:
        self._costs.keep(architecture)
        return self._rows.plan(architecture, seed, params, role=role)

    def _plan_all(self, chosen: Iterable[tuple[Mapping[str, Any], DetectorSpec]]) -> None:
        """Plan missing trials, seeds outermost; remove planned trials whose point is gone."""
        points: dict[str, tuple[Architecture, dict[str, Any]]] = {}
        for params, spec in chosen:
            architecture = self._measure(spec, params)
            if not self._is_refused(architecture, params):
                points.setdefault(architecture.digest, (architecture, dict(params)))
        wanted = [(digest, seed) for seed in self.study.seeds for digest in points][: self.study.trials]
        self._rows.forget_all_but(set(wanted), is_search=True)
        with self._ledger.transaction():
            for digest, seed in wanted:
                if seed not in self._rows.of(digest):
                    self._plan(points[digest][0], seed, points[digest][1])

    def _planned_trials(self, *, is_search: bool) -> deque[Proposal]:
        return deque(self._proposal(row) for row in self._rows.planned(is_search=is_search))

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
            gmacs=architecture.known["gmacs"],
        )

    # --- finalists ---------------------------------------------------------------------------------------------------

    def _check_fresh(self) -> None:
        """Raise UserError where finalists and search share a seed in this run."""
        if self.study.finalists is not None:
            trained = (row for row in self._rows if row.state != "planned" or row.epochs_done)
            self.study.finalists.check_fresh(row.seed for row in trained if row.role == "search")
        finals = {row.seed for row in self._rows if row.role != "search"}
        used = [seed for seed in self.study.seeds if seed in finals]
        if used:
            raise UserError(
                f"seeds has {', '.join(map(str, used))}, which this run's finalists used; "
                "choose other seeds or another --out"
            )

    def _plan_finalists(self) -> None:
        """Select the finalists and plan their missing trials; remove planned trials of former finalists."""
        finalists = self.study.finalists
        assert finalists is not None
        self._finalists_are_chosen = True
        chosen = choose_finalists(self.study, self._rows, self.values, self._strategy.believed(self._rows))
        if finalists.baseline:
            chosen += self._baseline({each.architecture for each in chosen})
        wanted = [(each, seed) for seed in finalists.seeds for each in chosen]
        self._rows.forget_all_but({(each.architecture, seed) for each, seed in wanted}, is_search=False)
        with self._ledger.transaction():
            for each, seed in wanted:
                if seed not in self._rows.of(each.architecture):
                    self._plan(self._costs[each.architecture], seed, each.params, role=each.role)
        self._waiting = self._planned_trials(is_search=False)
        if self._waiting:
            names = "; ".join(self._costs[each.architecture].spec.describe() for each in chosen[:MOST_NAMED])
            more = f" and {len(chosen) - MOST_NAMED} more" if len(chosen) > MOST_NAMED else ""
            self._say(f"finalists, retrained with fresh seeds {', '.join(map(str, finalists.seeds))}: {names}{more}")

    def _baseline(self, others: set[str]) -> list[Finalist]:
        """Return the study's baseline, if it is not among the others."""
        params, spec = baseline_point(self.study)
        architecture = self._measure(spec, params)
        self._costs.keep(architecture)
        is_new = architecture.digest not in others
        return [Finalist(architecture=architecture.digest, params=params, role="baseline")] if is_new else []

    # --- earlier sessions --------------------------------------------------------------------------------------------

    def _tell_the_past(self) -> None:
        """Tell a new Optuna study the results of earlier sessions."""
        for params, costs in self._ledger.rejections():
            known = replay(self.study.space, params)
            reason = self._costs.refusal(costs)
            if known is not None and reason is not None:
                self._sampling.remember(
                    params, known[1], state=TrialState.PRUNED, excess=self._costs.excess(costs),
                    rejected=reason, description=known[0].describe(),
                )  # fmt: skip
        ended = [row for row in self._rows if row.state in _TOLD]
        forgotten = len(ended) - sum(self._tell_ended(row) for row in ended)
        if forgotten:
            self._say(f"{forgotten} earlier trials are no longer in the search space; they stay in the ledger")

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
            role=row.role,
        )
        return True

    def _replay(self, row: TrialRow) -> Mapping[str, Any] | None:
        known = replay(self.study.space, row.params)
        if known is None:
            return None
        return known[1] if self._costs.as_trained(known[0]).digest == row.architecture else None
