"""Sampler "ehvi": its formula against a draw of many, and what it chooses."""

from __future__ import annotations

import dataclasses
import io
import random
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtri

from scaling_lab import DetectorSpec, Finalists, Halving, Recipe, Study, topologies
from scaling_lab.errors import UserError
from scaling_lab.runs.reader import Runs
from scaling_lab.stats.hypervolume import dominated_volume, expected_improvement
from scaling_lab.study.run.runner import run_study
from scaling_lab.study.search import ehvi
from scaling_lab.study.space.enumeration import Drawn
from tests.study.desk import Desk
from tests.study.engine import Replayed, count, make_study, rows, spec

pytestmark = pytest.mark.usefixtures("few_draws")

# --- expected growth -------------------------------------------------------------------------------------------------


def test_a_trial_changes_the_posterior_mean_by_what_is_promised() -> None:
    chance = np.random.default_rng(0)
    latent = chance.normal(3.0, 0.7, 200_000)
    seen = latent + chance.normal(0.0, 1.2, latent.size)
    slope = np.cov(latent, seen)[0, 1] / seen.var()  # of the best linear prediction of the latent value
    assert ehvi._change(np.array([0.7]), 1.2) == pytest.approx([slope * seen.std()], rel=0.02)


@pytest.mark.parametrize("place", range(4))
def test_the_growth_by_a_further_seed_is_the_mean_over_draws(place: int) -> None:
    means, changes = np.array([3.0, 2.8, 1.0, 2.0]), np.array([0.6, 0.9, 1.5, 0.4])
    costs = np.array([[2.0], [1.5], [1.0], [3.0]])
    gain = partial(expected_improvement, reference=0.5, reference_costs_C=np.array([4.0]))

    def volume(values: Any) -> float:
        return dominated_volume(np.column_stack([-np.asarray(values), costs]).tolist(), (-0.5, 4.0))

    grown = []
    for share in ndtri((np.arange(2000) + 0.5) / 2000):
        values = means.copy()
        values[place] += changes[place] * share
        grown.append(volume(values) - volume(means))
    assert ehvi._growth(place, means, changes, costs, gain) == pytest.approx(np.mean(grown), abs=2e-3)


def test_a_lucky_trial_is_not_believed(tmp_path: Path) -> None:
    """A mediocre architecture has 60 AP in its first trial, more than any other; all other trials have noise of 2 AP."""
    desk = Desk(
        tmp_path, space=_wide, sampler="ehvi", trials=30, seeds=(0, 1, 2), objectives={"ap": "maximize"},
        finalists=Finalists(count=1, seeds=(7,)),
    )  # fmt: skip
    chance, aps, lucky = np.random.default_rng(0), {}, None
    while (proposal := desk.proposals.next()) is not None and proposal.seed != 7:
        digest, worth = proposal.spec.digest, _worth(proposal.spec)
        luck = 2 * chance.normal()
        if lucky is None and worth < 47:
            luck, lucky = 60 - worth, digest
        aps.setdefault(digest, []).append(worth + luck)
        desk.run(proposal, ap=worth + luck)
    assert max(aps, key=lambda digest: max(aps[digest])) == lucky
    assert proposal is not None
    assert proposal.spec.digest != lucky
    assert _worth(proposal.spec) >= 52


# --- the search ------------------------------------------------------------------------------------------------------


def space(trial: Any) -> DetectorSpec:
    """20 points, and a parameter that only some have."""
    name = trial.suggest_categorical("topology", ["none", "fpn", "bifpn"])
    fusion = trial.suggest_categorical("fusion", ["sum", "fast"]) if name == "fpn" else "sum"
    return spec(getattr(topologies, name)(3, 7, fusion=fusion), width=trial.suggest_int("width", 16, 48, step=8))


def searched(folder: Path, **changes: Any) -> str:
    study = make_study(**{"space": space, "sampler": "ehvi", **changes})
    stream = io.StringIO()
    run_study(study, out=folder, executor="local", objective=Replayed(), count=count, stream=stream)
    return stream.getvalue()


def test_a_search_trains_no_architecture_twice_and_ends_when_it_has_had_all(tmp_path: Path) -> None:
    said = searched(tmp_path, trials=500)
    digests = [row["architecture"] for row in rows(tmp_path)]
    assert len(digests) == len(set(digests)) == 20
    assert f"all sampled points are known already or beyond the limits: the search ends with {len(digests)}" in said


def test_a_stopped_search_goes_on(tmp_path: Path) -> None:
    searched(tmp_path, trials=8)
    first = [row["architecture"] for row in rows(tmp_path)]
    searched(tmp_path, trials=12)
    digests = [row["architecture"] for row in rows(tmp_path)]
    assert digests[:8] == first
    assert len(set(digests)) == 12


def test_nothing_above_a_limit_is_proposed(tmp_path: Path) -> None:
    searched(tmp_path / "all", trials=500)
    gmacs = sorted(Runs(tmp_path / "all").table()["gmacs"])
    limit = gmacs[len(gmacs) // 2]
    searched(tmp_path / "some", trials=500, limits={"gmacs": limit})
    some = Runs(tmp_path / "some")
    assert sorted(some.table()["gmacs"]) == [each for each in gmacs if each <= limit]
    refused = some.rejections()["architecture"]  # those that have been drawn, each once
    assert len(set(refused)) == len(refused) == sum(each > limit for each in gmacs)
    said = searched(tmp_path / "none", trials=5, limits={"gmacs": gmacs[0] / 2})
    assert f"no trial: the limits reject all of 20 points; the least gmacs is {gmacs[0]:.3g}" in said


@pytest.mark.slow
def test_a_search_ends_when_every_architecture_has_had_every_seed(tmp_path: Path) -> None:
    searched(tmp_path, trials=50, seeds=(0, 1))
    assert Counter(row["seed"] for row in rows(tmp_path)) == {0: 20, 1: 20}


def test_a_point_that_fails_is_passed_over(tmp_path: Path) -> None:
    def some_fail(trial: Any) -> DetectorSpec:
        made = space(trial)
        if trial.params["topology"] == "fpn":
            raise ValueError("no such cell")
        return made

    searched(tmp_path, trials=50, space=some_fail)
    assert len(rows(tmp_path)) == 10
    with pytest.raises(UserError, match="no such cell"):
        searched(tmp_path / "none", trials=50, space=lambda trial: some_fail(_Fpn(trial)))


class _Fpn:
    """A trial whose topology is always the same."""

    def __init__(self, trial: Any) -> None:
        self._trial, self.params = trial, {"topology": "fpn"}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trial, name)


def test_logarithmic_parameters_are_drawn_by_their_ratios() -> None:
    drawn = Drawn(random.Random(0))
    values, numbers = [], []
    for _ in range(500):
        drawn.params.clear()
        values.append(drawn.suggest_float("rate", 1e-4, 1.0, log=True))
        numbers.append(drawn.suggest_int("width", 8, 1024, log=True))
    assert 3e-3 < np.median(values) < 3e-2
    assert 60 < np.median(numbers) < 130
    assert min(numbers) == 8
    assert max(numbers) > 900


# Worth is the width's alone, and so are costs: so the front is a few points of the 60, which chance seldom finds.
def _wide(trial: Any) -> DetectorSpec:
    width, topology = (
        trial.suggest_int("width", 16, 256, step=8),
        trial.suggest_categorical("topology", ["none", "fpn"]),
    )
    return spec(getattr(topologies, topology)(3, 7), width=width)


def _worth(spec: DetectorSpec, sign: int = 1) -> float:
    return 50 - sign * abs(spec.width - 96) / 8 + sign * 5 * bool(spec.topology.nodes)


@dataclasses.dataclass(frozen=True)
class _Worth:
    """AP falls with the distance from a width of 96, or grows with it; a feature network adds 5."""

    sign: int

    def __call__(self, spec: DetectorSpec, seed: int, folder: Path, report: Any) -> dict[str, Any]:
        metrics = {"epoch": 1, "ap": _worth(spec, self.sign)}
        report(metrics)
        return metrics


@pytest.mark.parametrize("sampler", ["ehvi", "random"])
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.slow
def test_it_finds_the_best_of_either_direction(sampler: str, direction: str, tmp_path: Path) -> None:
    found = 0
    for seed in range(3):
        study = make_study(
            space=_wide,
            sampler=sampler,
            trials=22,
            seeds=(seed,),
            objectives={"ap": direction},
            recipe=Recipe.short(epochs=1),
        )
        out = tmp_path / str(seed)
        objective = _Worth(1 if direction == "maximize" else -1)
        run_study(study, out=out, executor="local", objective=objective, count=count, stream=io.StringIO())
        aps = Runs(out).table()["ap"]
        found += bool(aps.max() == 55 if direction == "maximize" else aps.min() == 45)
    assert (found == 3) == (sampler == "ehvi")


@pytest.mark.slow
def test_what_is_stopped_again_and_again_is_left_alone(tmp_path: Path) -> None:
    """Of the space's points those without a feature network are worse at every epoch, and stopped."""
    study = make_study(
        space=_wide, sampler="ehvi", trials=40, recipe=Recipe.short(epochs=3), stopping=Halving(min_epochs=1, factor=2)
    )
    run_study(study, out=tmp_path, executor="local", objective=_Slow(), count=count, stream=io.StringIO())
    last = Runs(tmp_path).table()["topology"][20:]
    assert sum(each == "none" for each in last) <= 10


class _Slow:
    def __call__(self, spec: DetectorSpec, seed: int, folder: Path, report: Any) -> dict[str, Any]:
        metrics: dict[str, Any] = {}
        for epoch in range(1, 4):
            metrics = {"epoch": epoch, "ap": epoch * (10 + spec.width / 32) * (1 + bool(spec.topology.nodes))}
            report(metrics)
        return metrics


@pytest.mark.parametrize(
    "objectives",
    [
        {"gmacs": "minimize"},
        {"ap": "maximize", "ap50": "maximize"},
        {"ap": "maximize", "latency_ms": "minimize"},
        {"ap": "maximize", "gmacs": "minimize", "params_m": "minimize", "memory_mb": "minimize"},
    ],
)
def test_objectives_that_it_cannot_know_are_refused(objectives: dict[str, str]) -> None:
    study = make_study(sampler="random", trials=1, objectives=objectives)
    with pytest.raises(UserError, match=r"sampler 'ehvi' with the objectives .*: allowed are one of ap, ap50"):
        dataclasses.replace(study, sampler="ehvi")
    assert isinstance(study, Study)
