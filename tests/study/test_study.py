"""A study as a value: what it refuses, its forms, its JSON."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from typing import Any

import pytest

from scaling_lab import Finalists, Recipe, Shapes
from scaling_lab.errors import UserError
from scaling_lab.study.study import protocol_digest
from tests.study.engine import make_study


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"question": " "}, "question is ' '"),
        ({"space": 3}, "space is 3"),
        ({"data": "shapes"}, "data is 'shapes'"),
        ({"recipe": {"epochs": 3}}, "recipe is {'epochs': 3}"),
        ({"sampler": "bayes"}, "sampler is 'bayes'; allowed are grid, random, ehvi, tpe, nsga2, nsga3, gp"),
        ({"sampler": "tpe"}, "trials is None; with sampler 'tpe' allowed are whole numbers from 1"),
        ({"trials": 0}, "trials is 0"),
        ({"seeds": ()}, "seeds is ()"),
        ({"seeds": (1, 1)}, "seeds is (1, 1)"),
        ({"seeds": (True,)}, "a seed is True; allowed are whole numbers from 0"),
        ({"seeds": 3}, "seeds is 3; allowed is a list of whole numbers"),
        ({"seeds": "01"}, "seeds is '01'; allowed is a list of whole numbers"),
        ({"seeds": (0, 1.5)}, "a seed is 1.5; allowed are whole numbers from 0"),
        ({"seeds": ([0],)}, "a seed is [0]; allowed are whole numbers from 0"),
        ({"trials": True}, "trials is True; allowed are whole numbers from 1"),
        ({"trials": 2.0}, "trials is 2.0; allowed are whole numbers from 1"),
        ({"objectives": ["ap"]}, "objectives is ['ap']; allowed is a mapping, such as"),
        ({"limits": 3}, "limits is 3; allowed is a mapping, such as"),
        ({"limits": {"gmacs": "1"}}, "limit 'gmacs' is '1'; allowed are finite numbers above 0"),
        ({"limits": {"gmacs": float("inf")}}, "limit 'gmacs' is inf; allowed are finite numbers above 0"),
        ({"cpus_per_trial": "1"}, "cpus_per_trial is '1'; allowed are finite numbers above 0"),
        ({"baseline": "fpn"}, "baseline is 'fpn'; allowed is a mapping"),
        ({"baseline": {"x": object()}}, "allowed is a mapping of JSON values"),
        ({"report": 3}, "report is 3; allowed is the path of a report file, as text"),
        ({"forms": ["smoke"]}, "forms is ['smoke']; allowed is a mapping, such as"),
        ({"forms": {"smoke": 3}}, "form 'smoke' is 3; allowed is a mapping of fields"),
        (
            {"samplr": "grid"},
            "Study has no field 'samplr' (did you mean 'sampler'?); allowed are question, space, data",
        ),
        ({"objectives": {}}, "objectives is empty"),
        ({"objectives": {"map": "maximize"}}, "objective 'map' is unknown"),
        ({"objectives": {"ap": "max"}}, "objective 'ap' has direction 'max'"),
        (
            {"limits": {"flops": 3}},
            "limit 'flops' is unknown; allowed are gmacs, params_m, activations_m, memory_mb, predicted_latency_ms, latency_ms",
        ),
        ({"finalists": 3}, "finalists is 3; allowed are None and Finalists(count=..., seeds=(...))"),
        (
            {"finalists": Finalists(count=1, seeds=(5,)), "seeds": (4, 5)},
            "finalists.seeds has 5 in common with the search",
        ),
        ({"finalists": Finalists(count=1, seeds=(5,), baseline=True)}, "but the study has no baseline"),
        ({"limits": {"gmacs": 0}}, "limit 'gmacs' is 0"),
        ({"cpus_per_trial": 0}, "cpus_per_trial is 0"),
        ({"gpus_per_trial": -1}, "gpus_per_trial is -1"),
        (
            {"gpus_per_trial": 1.5},
            "gpus_per_trial is 1.5 with 1 worker, which uses at most one GPU; allowed are 0 to 1",
        ),
        ({"gpus_per_trial": 4}, "or with workers_per_trial=4 also 4"),
        ({"workers_per_trial": 0}, "workers_per_trial is 0; allowed are whole numbers from 1"),
        (
            {"workers_per_trial": 2, "cpus_per_trial": 2, "gpus_per_trial": 0.5},
            "gpus_per_trial is 0.5 with 2 workers; allowed are 0 and 2",
        ),
        (
            {"workers_per_trial": 2, "cpus_per_trial": 1},
            "cpus_per_trial is 1 with 2 workers; allowed is at least one core for each",
        ),
        (
            {"workers_per_trial": 32, "cpus_per_trial": 32},
            "recipe.batch_size is 16; allowed is at least one image for each of 32 workers",
        ),
        (
            {"workers_per_trial": 2, "cpus_per_trial": 2, "limits": {"latency_ms": 5}},
            "latency_ms is measured by a trial's only worker; with 2 workers, allowed are other costs",
        ),
        (
            {"workers_per_trial": 2, "cpus_per_trial": 2},
            "recipe.sync_norm is False with 2 workers, so AP would depend on their number; allowed is True",
        ),
        ({"forms": {"smoke": {"epochs": 1}}}, "form 'smoke' has no field 'epochs'; allowed are question, space, data"),
    ],
)
def test_refuses_what_makes_no_sense(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as error:
        make_study(**changes)
    assert words in str(error.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"count": 0, "seeds": (5,)}, "finalists.count is 0; allowed are whole numbers from 1"),
        ({"count": 1, "seeds": ()}, "finalists.seeds is (); allowed are different whole numbers from 0, at least one"),
        ({"count": 1, "seeds": (5, 5)}, "finalists.seeds is (5, 5)"),
        ({"count": 1, "seeds": (-1,)}, "a seed of the finalists is -1; allowed are whole numbers from 0"),
        ({"count": 1, "seeds": 5}, "finalists.seeds is 5; allowed is a list of whole numbers, such as (100, 101, 102)"),
        ({"count": 1, "seeds": (5,), "baseline": 1}, "finalists.baseline is 1; allowed are True and False"),
    ],
)
def test_finalists_refuse_what_makes_no_sense(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        Finalists(**values)


def test_a_form_may_leave_the_finalists_out() -> None:
    study = make_study(finalists=Finalists(count=2, seeds=[7, 8]), forms={"smoke": {"finalists": None}})
    assert study.finalists is not None
    assert (study.finalists.seeds, study.finalists.trials) == ((7, 8), 4)
    assert study.form("smoke").finalists is None


def test_a_form_replaces_fields() -> None:
    study = make_study(forms={"smoke": {"recipe": Recipe.short(epochs=1), "seeds": [3]}})
    assert study.form(None) is study
    assert study.form("smoke").recipe.epochs == 1
    assert study.form("smoke").seeds == (3,)
    with pytest.raises(UserError, match="form 'paper' is unknown; allowed are smoke"):
        study.form("paper")


def test_a_form_is_checked_as_a_study_is_and_at_once() -> None:
    with pytest.raises(UserError, match="form 'smoke': trials is -1"):
        make_study(forms={"smoke": {"trials": -1}})


def test_to_dict_is_json() -> None:
    values = make_study(baseline={"topology": "fpn"}, finalists=Finalists(count=1, seeds=(5,), baseline=True)).to_dict()
    assert json.loads(json.dumps(values)) == values
    assert values["space"] == "tests.study.engine.space"


def test_protocol_is_data_and_recipe() -> None:
    digest = protocol_digest("a", Recipe.short())
    assert digest == protocol_digest("a", Recipe.short())
    assert digest != protocol_digest("b", Recipe.short())
    assert digest != protocol_digest("a", Recipe.short(lr=0.1))


def test_neither_studies_nor_runs_import_what_is_heavy() -> None:
    code = (
        "import sys, scaling_lab.study, scaling_lab.runs.reader, scaling_lab.study.study;"
        "print([name for name in ('torch', 'ray', 'optuna', 'pandas', 'matplotlib', 'scipy') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_shapes_are_data() -> None:
    assert make_study(data=Shapes(train_images=3)).to_dict()["data"]["train_images"] == 3


@pytest.mark.parametrize(
    ("changes", "cpus"),
    [
        ({}, 1),
        ({"cpus_per_trial": 3}, 3),
        ({"gpus_per_trial": 1}, 4),
        ({"gpus_per_trial": 0.25}, 2),
        ({"gpus_per_trial": 2, "workers_per_trial": 2, "recipe": Recipe.short(sync_norm=True)}, 8),
        ({"workers_per_trial": 2, "recipe": Recipe.short(sync_norm=True)}, 2),
    ],
)
def test_a_trial_has_cores_for_its_gpus(changes: dict[str, Any], cpus: float) -> None:
    study = make_study(**changes)
    assert study.trial_cpus == study.to_dict()["cpus_per_trial"] == cpus
    without = dataclasses.replace(study, gpus_per_trial=0)
    assert without.trial_cpus == changes.get("cpus_per_trial", study.workers_per_trial)
