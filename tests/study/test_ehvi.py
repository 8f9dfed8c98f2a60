"""Sampler "ehvi": its formula against a draw of many, its process against what made the points, and what it chooses."""

from __future__ import annotations

import dataclasses
import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scaling_lab import DetectorSpec, Halving, Recipe, Study, topologies
from scaling_lab.errors import UserError
from scaling_lab.runs.reader import Runs
from scaling_lab.study.run.runner import run_study
from scaling_lab.study.search.gaussian_process import GaussianProcess
from scaling_lab.study.space.enumeration import Drawn
from tests.study.engine import Replayed, count, make_study, rows, spec

pytestmark = pytest.mark.usefixtures("few_draws")

# --- the process -----------------------------------------------------------------------------------------------------


def test_the_process_predicts_what_it_has_not_seen_and_says_how_well() -> None:
    chance = torch.Generator().manual_seed(0)
    points_ND = torch.rand(80, 4, generator=chance, dtype=torch.float64)
    truth_N = torch.sin(4 * points_ND[:, 0]) + points_ND[:, 1] ** 2  # of two dimensions; the others mean nothing
    values_N = truth_N + 0.05 * torch.randn(80, generator=chance, dtype=torch.float64)
    process = GaussianProcess(points_ND[:50], values_N[:50], torch.arange(50), torch.arange(4))
    mean_M, deviation_M = process(points_ND[50:])
    errors_M = (mean_M - values_N[50:]).abs()
    assert errors_M.mean() < 0.15 * values_N.std()
    assert 0.8 <= (errors_M < 2 * (deviation_M**2 + process.noise**2).sqrt()).double().mean() <= 1.0
    lengths = process.settings[:-2].exp()
    assert lengths[2:].min() > lengths[:2].max()


def test_dimensions_of_one_group_share_their_length() -> None:
    points_ND = torch.rand(20, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    process = GaussianProcess(points_ND, points_ND[:, 0], torch.arange(20), torch.tensor([0, 1, 1]))
    assert process.settings.shape == (2 + 2,)


def test_a_process_of_equal_values_gives_that_value() -> None:
    points_ND = torch.rand(12, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    values_N = torch.full((12,), 3.0, dtype=torch.float64)
    mean_M, deviation_M = GaussianProcess(points_ND, values_N, torch.arange(12), torch.arange(2)).known()
    assert mean_M.tolist() == pytest.approx([3.0] * 12)
    assert bool((deviation_M > 0).all())


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
def test_further_seeds_are_used_when_all_architectures_have_been_had(tmp_path: Path) -> None:
    searched(tmp_path, trials=22, seeds=(0, 1))
    seeds = [row["seed"] for row in rows(tmp_path)]
    assert seeds == [0] * 20 + [1] * 2


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


@dataclasses.dataclass(frozen=True)
class _Worth:
    """AP falls with the distance from a width of 96, or grows with it; a feature network adds 5."""

    sign: int

    def __call__(self, spec: DetectorSpec, seed: int, folder: Path, report: Any) -> dict[str, Any]:
        ap = 50 - self.sign * abs(spec.width - 96) / 8 + self.sign * 5 * bool(spec.topology.nodes)
        metrics = {"epoch": 1, "ap": ap}
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
