"""GPU hours and memory: the studies' own numbers, the published rate, and what fits a named GPU."""

from __future__ import annotations

import dataclasses
import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from scaling_lab import DetectorSpec, Recipe, Shapes, efficientdet, topologies
from scaling_lab.cost import count as count_cost
from scaling_lab.errors import UserError
from scaling_lab.study.ledger.database import Architecture
from scaling_lab.study.plan.forecast import Forecast, Span, Timed, own_images, trials_on_a_gpu
from scaling_lab.study.plan.gpu_needs import feed_of, gpu_memory, measured_time, memory_problem, published_time
from scaling_lab.study.plan.gpus import D0_ACTIVATIONS_M, named_gpu, published, published_rate
from scaling_lab.study.plan.planner import make_plan
from scaling_lab.study.plan.survey import survey
from scaling_lab.study.space.study_file import load_study
from tests.coco_files import write_coco
from tests.study.engine import make_study, spec

ROOT = Path(__file__).parents[2]
long = pytest.mark.long
COCO_IMAGES = 118_287
# The smallest GPU that the docstring of a paper form names, and its number of architectures for the estimate of a search.
FITS = {"32 GB": "v100-32gb", "80 GB": "a100-80gb"}


@pytest.mark.parametrize(
    "name",
    [
        "topology_search",
        *(
            pytest.param(each, marks=long)
            for each in (
                "backbone_and_network", "compound_scaling", "fusion", "proxy", "topology_ablation", "width_factor"
            )
        ),
    ],
)  # fmt: skip
def test_a_paper_form_costs_what_its_docstring_says_and_fits(name: str) -> None:
    file = load_study(ROOT / "studies" / f"{name}.py")
    study = file.study.form("paper")
    words = " ".join(file.source.partition('"""')[2].partition('"""')[0].split())
    found = re.search(r"about (\d+) A100 days in total.* (\d+) parts, which fit a GPU of (\d+ GB)", words)
    assert found is not None
    days, parts, size = found.groups()
    within = survey(study, num_classes=80, points=40).within
    trials = int(re.search(r"has (\d+) training runs", words)[1])  # type: ignore[index]
    left = list(itertools.islice(itertools.cycle(within), trials))
    assert not study.is_exhaustive or trials == len(within) * len(study.seeds)
    batch = study.recipe.batch_size
    images = study.recipe.epochs * (COCO_IMAGES // batch) * batch
    time = published_time(study, left, images=images, gpu=None, feed=None)
    assert time is not None
    assert time.hours / 24 == pytest.approx(int(days), abs=0.5, rel=0.01)
    assert time.gpu == "A100"
    assert study.recipe.accumulate == int(parts)
    needed = gpu_memory(study, within, named_gpu(FITS[size]))
    assert memory_problem(needed, study) is None
    assert needed.part == batch // int(parts)


def test_the_published_rate_is_d0s_scaled_by_activations() -> None:
    d0 = count_cost(efficientdet("d0"))
    assert d0.activations_m == pytest.approx(D0_ACTIVATIONS_M, abs=1e-6)
    assert published_rate("A100", d0.activations_m) == pytest.approx(255)
    assert published_rate("V100", 2 * d0.activations_m) == pytest.approx(93)
    assert [published(gpu) for gpu in (None, named_gpu("v100-16gb"), named_gpu("h100-80gb"))] == [
        "A100",
        "V100",
        "A100",
    ]
    with pytest.raises(UserError, match=r"--gpu is 'a100'; allowed are .*a100-40gb"):
        named_gpu("a100")


def _architecture(activations_m: float, of: DetectorSpec | None = None) -> Architecture:
    of = of or spec(topologies.fpn(3, 7))
    return Architecture(
        digest=str(activations_m), spec=of, known={"activations_m": activations_m, "gmacs": 1.0}, parts={}
    )


def test_hours_are_images_over_the_rate_or_over_what_the_readers_feed() -> None:
    study = make_study(gpus_per_trial=1, recipe=Recipe.short(epochs=1, batch_size=8))
    left = [_architecture(D0_ACTIVATIONS_M), _architecture(2 * D0_ACTIVATIONS_M)]
    time = published_time(study, left, images=255 * 3600, gpu=None, feed=None)
    assert time is not None
    assert [time.hours, *time.trial, *time.rates] == pytest.approx([3, 1, 2, 127.5, 255])
    starved = published_time(study, left, images=255 * 3600, gpu=None, feed=51.0)
    assert starved is not None
    assert [starved.hours, *starved.rates] == pytest.approx([10, 51, 51])
    # A quarter of a GPU takes four times as long, and a GPU hour is still one.
    quarter = make_study(gpus_per_trial=0.25, recipe=study.recipe)
    shared = published_time(quarter, left, images=255 * 3600, gpu=None, feed=None)
    assert shared is not None
    assert shared.hours == pytest.approx(3)
    frozen = make_study(gpus_per_trial=1, recipe=Recipe.finetune(epochs=1, batch_size=8))
    assert published_time(frozen, left, images=1, gpu=None, feed=None) is None
    assert feed_of(7, 190.0, time).takes == pytest.approx(255)


def test_measured_hours_are_those_of_all_trials() -> None:
    span = Span(estimate=7200.0, low=7000.0, high=7500.0)
    step = Span(estimate=0.3, low=0.3, high=0.3)
    one = Timed(
        which="cheapest", architecture="a", description="a", gmacs=1.0, steps=3, step=step, wait=0.1, evaluation=1.0,
        checkpoint=1.0, start=1.0, trial=span,
    )  # fmt: skip
    time = Forecast(
        device="a GPU", timed=(one,), quickest=span, slowest=span, total=span, work=3 * 7200.0, trials=3, at_once=3,
        stopping=None,
    )  # fmt: skip
    study = make_study(gpus_per_trial=0.5, recipe=Recipe.short(epochs=1, batch_size=8))
    found = measured_time(study, time)
    assert [found.hours, *found.trial, *found.rates] == pytest.approx([3, 1, 1, 20, 20])
    assert found.source is None


def test_a_part_that_does_not_fit_is_a_problem_with_what_fits() -> None:
    def study(**changes: Any) -> Any:
        return make_study(gpus_per_trial=1, recipe=Recipe.paper(**changes))

    d3 = [_architecture(312.0, efficientdet("d3"))]
    needed = gpu_memory(study(), d3, named_gpu("a100-80gb"))
    assert 200e9 < needed.total < 300e9
    assert (needed.part, needed.usable) == (128, 72_000_000_000)
    assert needed.accumulate == needed.fits["a100-80gb"] == 4
    problem = memory_problem(needed, study())
    assert problem is not None
    assert problem.startswith(
        "recipe.accumulate is 1, and its parts of 128 images need 271 GB, but a trial has 72 GB on "
    )
    assert "a100-80gb; accumulate=4 fits, and recompute_backbone=True needs less (" in problem
    assert memory_problem(needed, study(halve_batch=True)) is None
    assert memory_problem(dataclasses.replace(needed, part=32), study()) is None
    assert memory_problem(dataclasses.replace(needed, gpu=None, most=None, usable=None), study()) is None
    assert "not even one image fits" in str(memory_problem(dataclasses.replace(needed, most=0), study()))


def test_shares_of_a_gpu_and_of_a_batch() -> None:
    shares = [trials_on_a_gpu(make_study(gpus_per_trial=gpus)) for gpus in (0, 0.2, 0.3, 0.6, 1)]
    assert shares == [1, 5, 3, 1, 1]
    two = make_study(
        workers_per_trial=3, cpus_per_trial=3, gpus_per_trial=3, recipe=Recipe.short(batch_size=16, sync_norm=True)
    )
    assert (trials_on_a_gpu(two), own_images(two)) == (1, 6)
    whole, half = (
        gpu_memory(make_study(gpus_per_trial=gpus), [_architecture(1.0)], named_gpu("t4-16gb")) for gpus in (1, 0.5)
    )
    assert (whole.usable, half.usable) == (14_400_000_000, 7_200_000_000)


def _single(trial: Any) -> DetectorSpec:
    return spec(topologies.fpn(3, 7), width=trial.suggest_int("width", 16, 16))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, on which the time is measured")
def test_a_plan_without_a_gpu_has_hours_memory_and_what_readers_feed(tmp_path: Path) -> None:
    changes = {
        "gpus_per_trial": 1,
        "cpus_per_trial": 4,
        "recipe": Recipe.short(epochs=3, batch_size=4),
        "seeds": (0, 1),
    }
    study = make_study(space=_single, data=write_coco(tmp_path / "coco", train=9, val=2), **changes)
    found = make_plan(study, out=tmp_path / "run", cpus=8, gpus=2, gpu="v100-16gb")
    assert found.problems == ()
    assert found.gpu_time is not None
    assert found.feed is not None
    assert found.gpu_memory is not None
    assert (found.gpu_time.gpu, found.feed.readers) == ("V100", 3)
    assert found.feed.trial == pytest.approx(3 * found.feed.reader)
    # Two trials of 3 epochs of 8 images, as fast as images are read: this detector is far smaller than a D0.
    rate = found.gpu_time.rates[0]
    assert rate <= found.feed.trial
    assert found.gpu_time.hours == pytest.approx(2 * 3 * 8 / rate / 3600)
    assert (found.gpu_memory.gpu, found.gpu_memory.part) == ("v100-16gb", 4)
    unmeasured = make_plan(study, out=tmp_path / "run", cpus=8, gpus=2, measure=False)
    assert (unmeasured.feed, unmeasured.gpu_memory is None) == (None, False)
    assert make_plan(make_study(data=Shapes(train_images=8)), out=tmp_path / "run", measure=False).gpu_time is None
