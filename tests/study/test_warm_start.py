"""Warm starts: what is read of other runs, what a continued run keeps, and what a search makes of a misleading one."""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scaling_lab import DetectorSpec, Recipe, Shapes, topologies
from scaling_lab.errors import UserError
from scaling_lab.report.analysis.frontier import compute_frontier
from scaling_lab.report.page.blocks import Facts, Figure
from scaling_lab.report.sections.provenance import provenance
from scaling_lab.report.sections.search import search
from scaling_lab.runs.reader import RunFolder, Runs
from scaling_lab.stats.belief import Belief, Seen
from scaling_lab.stats.fronts import front_of
from scaling_lab.stats.gaussian_process import GaussianProcess
from scaling_lab.stats.hypervolume import dominated_volume
from scaling_lab.study.ledger.database import Architecture, Ledger
from scaling_lab.study.run.runner import run_study
from scaling_lab.study.search.costs import Costs
from scaling_lab.study.search.trends import Trends, made_sources
from tests.study.engine import DATA, count, make_study, rows, spec

pytestmark = pytest.mark.usefixtures("few_draws")


# --- the process -----------------------------------------------------------------------------------------------------


def _process(slope: float, *, number: int = 30) -> tuple[GaussianProcess, torch.Tensor, torch.Tensor]:
    """A process of values that are `slope` times the trend (dimension 3), plus a slow function of the point and noise."""
    points_NE = torch.rand(number, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise_N = torch.randn(number, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    values_N = 40 + points_NE[:, 0] + slope * points_NE[:, 3] + 0.1 * noise_N
    return GaussianProcess(points_NE, values_N, torch.arange(number), torch.arange(3)), points_NE, values_N


@pytest.mark.parametrize("slope", [5.0, -5.0, 0.0])
def test_a_trend_counts_as_far_as_the_values_confirm_it(slope: float) -> None:
    process, _, _ = _process(slope)
    assert process.multiples.tolist() == pytest.approx([slope], abs=0.3)


def test_the_posterior_with_a_trend_is_that_of_joint_normal_values() -> None:
    process, points_NE, values_N = _process(2.0, number=12)
    new_ME = torch.tensor([[0.2, 0.4, 0.9, 1.7], [0.5, 0.5, 0.1, -0.6]], dtype=torch.float64)
    settings = process.settings.numpy()
    lengths, deviation, (own, noise) = np.exp(settings[:3]), np.exp(settings[3]), np.exp(settings[-2:])
    both = torch.cat([points_NE, new_ME]).numpy()
    scaled, trend = both[:, :3] / lengths, deviation * (both[:, 3] - points_NE[:, 3].mean().item())
    squares = ((scaled[:, None] - scaled) ** 2).sum(axis=2)
    prior = process.noise**2 / noise * (np.exp(-0.5 * squares) + np.outer(trend, trend) + own * np.eye(14))
    seen = prior[:12, :12] + process.noise**2 * np.eye(12)
    values = values_N.numpy()
    mean = values.mean() + prior[12:, :12] @ np.linalg.solve(seen, values - values.mean())
    variance = np.diag(prior[12:, 12:] - prior[12:, :12] @ np.linalg.solve(seen, prior[:12, 12:]))
    found_mean, found_deviation = process(new_ME)
    assert found_mean.tolist() == pytest.approx(mean, rel=1e-3)
    assert found_deviation.tolist() == pytest.approx(np.sqrt(variance), rel=1e-2)


# --- the search ------------------------------------------------------------------------------------------------------


def space(trial: Any, *, least: int = 16) -> DetectorSpec:
    """90 points: AP and costs grow with the width, and the network decides the rest."""
    name = trial.suggest_categorical("topology", ["none", "fpn", "bifpn"])
    return spec(getattr(topologies, name)(3, 7), width=trial.suggest_int("width", least, 248, step=8))


def worth(made: DetectorSpec) -> float:
    networks = {0: -6.0, 5: 3.0}  # by the number of nodes: none, FPN, and any other
    return 30 * float((made.width / 248) ** 0.4) + networks.get(len(made.topology.nodes), 0.0)


@dataclass(frozen=True)
class _Worth:
    """The AP is worth, or falls as it grows, with a little seed noise."""

    sign: int = 1

    def __call__(self, made: DetectorSpec, seed: int, folder: Path, report: Any) -> dict[str, Any]:
        noise = np.random.default_rng([seed, made.width, len(made.topology.nodes)]).normal(0, 0.5)
        metrics = {"epoch": 1, "ap": 20 + self.sign * worth(made) + noise}
        report(metrics)
        return metrics


def run(folder: Path, *, sign: int = 1, warm: tuple[Path, ...] = (), **changes: Any) -> str:
    study = {"space": space, "sampler": "ehvi", "trials": 8, "recipe": Recipe.short(epochs=1), **changes}
    stream = io.StringIO()
    run_study(
        make_study(**study), out=folder, executor="local", objective=_Worth(sign), count=count, stream=stream,
        warm_start=warm,
    )  # fmt: skip
    return stream.getvalue()


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random searches of other images: one in this order of architectures, and one in the reverse."""
    folder = tmp_path_factory.mktemp("sources")
    other: dict[str, Any] = {
        "sampler": "random",
        "trials": 30,
        "seeds": (9,),
        "data": Shapes(train_images=24, val_images=8),
    }
    for name, sign in (("helpful", 1), ("reversed", -1)):
        run(folder / name, sign=sign, **other)
    return folder


def share(folder: Path) -> float:
    """The hypervolume of what a run trained, by true worth, as a share of the whole space's."""
    everything = [spec(getattr(topologies, name)(3, 7), width=width) for name in ("none", "fpn", "bifpn")
                  for width in range(16, 249, 8)]  # fmt: skip

    def volume(specs: Any) -> float:
        return dominated_volume(front_of([(count(each).macs / 1e9, -worth(each)) for each in specs]), (60.0, 0.0))

    return volume(Runs(folder).specs().values()) / volume(everything)


def test_a_misleading_start_is_turned_round_and_costs_nothing_at_the_end(sources: Path, tmp_path: Path) -> None:
    shares = {}
    for name in ("helpful", "reversed"):
        run(tmp_path / name, trials=20, warm=(sources / name,))
        shares[name] = share(tmp_path / name)
    run(tmp_path / "cold", trials=20)
    assert shares["reversed"] >= share(tmp_path / "cold") - 0.01
    assert shares["helpful"] >= share(tmp_path / "cold") - 0.01
    for name, sign in (("helpful", 1), ("reversed", -1)):
        assert sign * _multiple(tmp_path / name) > 0


def _multiple(folder: Path) -> float:
    """The multiple of the trend by which a run's trials are believed."""
    ledger = Ledger(RunFolder(folder).ledger)
    architectures, trials, meta = ledger.architectures(), ledger.trials(), ledger.meta()
    ledger.close()
    made = made_sources(meta["warm_start_trials"], space=space, measure=_measured, say=lambda text: None)
    seen = [
        Seen(
            architecture=row.architecture,
            params=row.params,
            costs=architectures[row.architecture].costs,
            state=row.state,
            value=float(row.metrics["ap"]),
        )
        for row in trials
    ]
    return float(Belief(seen, trends=Trends(made, sign=1.0)).process.multiples)


def _measured(made: DetectorSpec) -> Architecture:
    return Costs(limits={}, num_classes=len(DATA.class_names), count=count, known={}).measure(made)


def test_the_first_points_are_from_the_front_that_the_source_promises(sources: Path, tmp_path: Path) -> None:
    """Every second of six; the others are random."""
    run(tmp_path, trials=6, warm=(sources / "helpful",))
    specs = Runs(tmp_path).specs()
    first = [specs[row["architecture"]] for row in rows(tmp_path)]
    assert all(len(each.topology.nodes) == 5 for each in first[::2])  # FPN is the best at any width
    assert any(len(each.topology.nodes) != 5 for each in first[1::2])


# --- what is read, and kept ------------------------------------------------------------------------------------------


def test_a_continued_run_keeps_what_it_read_whatever_became_of_the_source(sources: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "search"
    shutil.copytree(sources / "helpful", source)
    assert f"warm start: 30 trials of 30 architectures in {source} (digest " in run(out, trials=2, warm=(source,))
    stored = Runs(out).meta["warm_start_trials"]
    assert [len(each["trials"]) for each in stored] == [30]
    assert "changed" not in run(out, trials=3, warm=(source,))
    run(source, sampler="random", trials=31, seeds=(9,), data=Shapes(train_images=24, val_images=8))
    assert f"{source} has changed; the search keeps the trials that it read at its first start" in run(
        out, trials=4, warm=(source,)
    )
    shutil.rmtree(source)
    said = run(out, trials=5, warm=(source,))
    assert "is not a run: its ledger.sqlite is missing or empty; the search keeps the trials" in said
    assert "warm start: 30 trials" in run(out, trials=6)
    assert Runs(out).meta["warm_start_trials"] == stored
    assert len(rows(out)) == 6


def test_the_source_is_a_condition_of_the_report_and_none_of_its_results(sources: Path, tmp_path: Path) -> None:
    run(tmp_path / "warm", trials=4, warm=(sources / "helpful", sources / "reversed"))
    runs = Runs(tmp_path / "warm")
    block = provenance(runs).blocks[0]
    assert isinstance(block, Facts)
    facts = dict(block.items)
    digests = [each["digest"] for each in runs.meta["warm_start"]]
    assert facts["Warm start"] == (
        f"{sources / 'helpful'} (30 trials, digest {digests[0]}) and {sources / 'reversed'} (30 trials, digest {digests[1]}); "
        "as a prior, not as results"
    )
    frontier = compute_frontier(runs)
    (figure,) = (block for block in search(runs, frontier).blocks if isinstance(block, Figure))
    assert f"The search was warm-started from {sources / 'helpful'} (30 trials, digest" in figure.caption
    assert len(runs.table()) == len(frontier.trials) == 4


def test_a_source_counts_as_far_as_the_space_has_its_points(sources: Path, tmp_path: Path) -> None:
    said = run(tmp_path / "some", trials=2, space=_wider, warm=(sources / "helpful",))
    assert "more are outside this search space" in said
    with pytest.raises(
        UserError, match=r"has 0 architectures of this search space with ap; a warm start needs 2 or more"
    ):
        run(tmp_path / "none", trials=2, space=_other, warm=(sources / "helpful",))


def _wider(trial: Any) -> DetectorSpec:
    return space(trial, least=128)


def _other(trial: Any) -> DetectorSpec:
    return spec(topologies.fpn(3, 7), width=trial.suggest_int("channels", 16, 64, step=8))


@pytest.mark.parametrize("sampler", ["random", "tpe", "grid"])
def test_other_samplers_refuse_a_warm_start(sampler: str, sources: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"--warm-start with sampler '{sampler}': allowed are ehvi"):
        run(tmp_path / "out", sampler=sampler, warm=(sources / "helpful",))
    assert not (tmp_path / "out").exists()


def test_a_run_keeps_the_way_it_was_started(sources: Path, tmp_path: Path) -> None:
    run(tmp_path / "cold", trials=2)
    with pytest.raises(
        UserError, match="a search that was started without --warm-start; choose another folder with --out"
    ):
        run(tmp_path / "cold", trials=3, warm=(sources / "helpful",))
    run(tmp_path / "warm", trials=2, warm=(sources / "helpful",))
    with pytest.raises(UserError, match=r"a search that was started from \S+helpful; choose another folder"):
        run(tmp_path / "warm", trials=3, warm=(sources / "reversed",))
    with pytest.raises(UserError, match="is the run itself; allowed are other runs"):
        run(tmp_path / "self", trials=2, warm=(tmp_path / "self",))
