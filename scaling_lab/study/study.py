"""A study as one plain value: a question, a space, data, a recipe and a budget."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.checks import (
    Fields,
    check_choice,
    check_fields,
    check_items,
    check_json,
    check_number,
    check_text,
    check_whole,
    near,
)
from scaling_lab.errors import UserError
from scaling_lab.metrics import ACCURACIES, BEFORE_A_TRIAL, COSTS, DIRECTIONS
from scaling_lab.study.early_stopping import EarlyStopping
from scaling_lab.study.extrapolation import Extrapolation
from scaling_lab.study.finalists import Finalists
from scaling_lab.study.samplers import SAMPLERS
from scaling_lab.study.shared_weights import SharedWeights
from scaling_lab.training.recipe import Recipe

if TYPE_CHECKING:
    from scaling_lab.data import Source

OBJECTIVES = (*ACCURACIES, *COSTS)

# Mapping fields, each with an example.
_MAPPINGS = {"objectives": '{"ap": "maximize"}', "limits": '{"gmacs": 2.5}', "forms": '{"smoke": {"trials": 2}}'}

# Takes an Optuna trial or a stand-in, with suggest_categorical, suggest_int and suggest_float.
Space = Callable[[Any], DetectorSpec]


@dataclass(frozen=True, kw_only=True)
class Study(Fields):
    """What a study file's STUDY holds. Raises UserError for an invalid field.

    `trials` is the total number of trials over all seeds; None means the whole grid. A grid is run with every seed; other
    samplers use the seeds after the first for architectures that they propose again. Sampler "ehvi" takes one trained
    objective and objectives known before a trial. It samples many points, counts their costs, and trains the one with the
    most expected hypervolume improvement. A further seed of a trained architecture counts as a point. Its finalists are
    the best by its model, since the best observed AP was often lucky. Other samplers are Optuna's; "gp" models the
    parameters that every point has and samples conditional ones at random. `objectives` maps
    each objective to "maximize" or "minimize"; `limits` maps a cost to its upper limit.

    Costs are those of scaling_lab.metrics. gmacs, params_m, activations_m and memory_mb are counted before a trial.
    predicted_latency_ms is also known before a trial, from `latency_model`, a file of `scaling-lab measure SPACE --fit`
    on the target device (a path relative to where the study is run). latency_ms is measured as a trial's first step, once
    for each architecture, on the trial's share of its device. It is the median for one float32 image through the network,
    with cpus_per_trial threads. Other processes on the device bias it.

    `shared` trains one set of weights for the whole space before the trials, with the recipe and the only seed. A trial then
    reads its AP from them, which is a protocol of its own.

    `stopping` ends weak trials early; they are not resumed and are on no front. `finalists` retrains the best with fresh
    seeds at the end, in addition to `trials`. `baseline` is the point of the space that reports compare with.
    `trial_seconds` limits the time of a trial from each start; a trial that exceeds it fails. A trial has
    `cpus_per_trial` and `gpus_per_trial`, shared evenly by `workers_per_trial` data-parallel workers, each with its part
    of a batch; several workers have a GPU each. A worker's cores but one read images, up to 16. `cpus_per_trial` None is
    `default_cpus`. `forms` are named sets of other fields, such as a quick smoke form.
    """

    question: str
    space: Space
    data: Source
    recipe: Recipe
    sampler: str = "tpe"
    trials: int | None = None
    seeds: tuple[int, ...] = (0,)
    objectives: Mapping[str, str] = field(default_factory=lambda: {"ap": "maximize", "gmacs": "minimize"})
    limits: Mapping[str, float] = field(default_factory=dict)
    cpus_per_trial: float | None = None
    gpus_per_trial: float = 0
    workers_per_trial: int = 1
    trial_seconds: float | None = None
    shared: SharedWeights | None = None
    stopping: EarlyStopping | None = None
    finalists: Finalists | None = None
    baseline: Mapping[str, Any] | None = None
    latency_model: str | None = None
    report: str = "reports/frontier.py"
    forms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seeds", check_items("seeds", self.seeds, "a list of whole numbers, such as (0, 1)"))
        for name, example in _MAPPINGS.items():
            if not isinstance(getattr(self, name), Mapping):
                raise UserError(f"{name} is {getattr(self, name)!r}; allowed is a mapping, such as {example}")
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        check_text("question", self.question, "a sentence")
        check_text("report", self.report, "the path of a report file, as text")
        if not callable(self.space):
            raise UserError(f"space is {self.space!r}; allowed is a function from a trial to a DetectorSpec")
        if not isinstance(self.recipe, Recipe):
            raise UserError(f"recipe is {self.recipe!r}; allowed is a Recipe, such as Recipe.short()")
        # Checks the type, since reading the value would read files, which may be on another machine.
        if not all(hasattr(type(self.data), name) for name in ("digest", "to_dict", "class_names")):
            raise UserError(f"data is {self.data!r}; allowed is a data source, such as Shapes() or Coco(folder=...)")
        if self.baseline is not None:
            check_json("baseline", self.baseline)
        self._check_search()
        self._check_resources()
        self._check_forms()

    def _check_search(self) -> None:
        check_choice("sampler", self.sampler, tuple(SAMPLERS))
        if self.trials is None and not self.is_exhaustive:
            raise UserError(
                f"trials is None; with sampler {self.sampler!r} allowed are whole numbers from 1 (None is for a grid)"
            )
        if self.trials is not None:
            check_whole("trials", self.trials, least=1)
        for seed in self.seeds:
            check_whole("a seed", seed, least=0)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise UserError(f"seeds is {self.seeds}; allowed are different whole numbers from 0, at least one")
        if not self.objectives:
            raise UserError('objectives is empty; give at least one, such as {"ap": "maximize"}')
        for name, direction in self.objectives.items():
            if name not in OBJECTIVES:
                raise UserError(
                    f"objective {name!r} is unknown{near(name, OBJECTIVES)}; allowed are {', '.join(OBJECTIVES)}"
                )
            if direction not in DIRECTIONS:
                raise UserError(f"objective {name!r} has direction {direction!r}; allowed are {', '.join(DIRECTIONS)}")
        for name, limit in self.limits.items():
            if name not in COSTS:
                raise UserError(f"limit {name!r} is unknown{near(name, COSTS)}; allowed are {', '.join(COSTS)}")
            check_number(f"limit {name!r}", limit, above=0)
        if self.latency_model is not None:
            check_text("latency_model", self.latency_model, "the path of a file, as text")
        elif self.is_predicted:
            raise UserError(
                "predicted_latency_ms needs a latency_model; `scaling-lab measure SPACE --fit FILE` fits one on this device"
            )
        self._check_counted()
        self._check_stopping()
        self._check_finalists()
        self._check_shared()

    def _check_counted(self) -> None:
        """Raise UserError for objectives that the sampler cannot handle, or too many of them."""
        most = SAMPLERS[self.sampler].most_counted
        later = [name for name in self.objectives if name not in BEFORE_A_TRIAL]
        if most is not None and (
            len(later) != 1 or later[0] not in ACCURACIES or len(self.objectives) - len(later) > most
        ):
            raise UserError(
                f"sampler {self.sampler!r} with the objectives {', '.join(self.objectives)}: allowed are one of "
                f"{', '.join(ACCURACIES)}, and up to {most} that are known before a trial: {', '.join(BEFORE_A_TRIAL)}"
            )

    def _check_stopping(self) -> None:
        if self.stopping is None:
            return
        if not isinstance(self.stopping, EarlyStopping):
            raise UserError(
                f"stopping is {self.stopping!r}; allowed are None, Halving(min_epochs=..., factor=3) and "
                "Extrapolation(min_epochs=..., chance=0.1)"
            )
        self.stopping.check_recipe(self.recipe)
        evaluated = [name for name in self.objectives if name in ACCURACIES]
        if not evaluated:
            raise UserError(
                f"stopping is {self.stopping!r}, but the objectives, {', '.join(self.objectives)}, are known before a trial; "
                f"stopping needs one of {', '.join(ACCURACIES)}"
            )
        if isinstance(self.stopping, Extrapolation) and len(evaluated) > 1:
            raise UserError(
                f"stopping is {self.stopping!r} with the objectives {', '.join(self.objectives)}; allowed is one of "
                f"{', '.join(ACCURACIES)} (Halving takes several)"
            )

    def _check_finalists(self) -> None:
        if self.finalists is None:
            return
        if not isinstance(self.finalists, Finalists):
            raise UserError(f"finalists is {self.finalists!r}; allowed are None and Finalists(count=..., seeds=(...))")
        self.finalists.check_fresh(self.seeds)
        if self.finalists.baseline and not self.baseline:
            raise UserError(
                "finalists.baseline is True, but the study has no baseline; set baseline, or leave this out"
            )

    def _check_shared(self) -> None:
        if self.shared is None:
            return
        if not isinstance(self.shared, SharedWeights):
            raise UserError(f"shared is {self.shared!r}; allowed are None and SharedWeights(between=2)")
        others = {"stopping": None, "finalists": None, "workers_per_trial": 1}
        for name, allowed in others.items():
            if getattr(self, name) != allowed:
                raise UserError(f"{name} is {getattr(self, name)!r}; allowed is {allowed} with shared weights")
        if len(self.seeds) > 1:
            raise UserError(f"seeds is {self.seeds}; allowed is one seed with shared weights, which are trained once")

    def _check_resources(self) -> None:
        if self.cpus_per_trial is not None:
            check_number("cpus_per_trial", self.cpus_per_trial, above=0)
        check_number("gpus_per_trial", self.gpus_per_trial, least=0)
        if self.trial_seconds is not None:
            check_number("trial_seconds", self.trial_seconds, above=0)
        check_whole("workers_per_trial", self.workers_per_trial, least=1)
        workers, gpus = self.workers_per_trial, self.gpus_per_trial
        if workers == 1 and gpus > 1:
            raise UserError(
                f"gpus_per_trial is {gpus} with 1 worker, which uses at most one GPU; allowed are 0 to 1, or with "
                f"workers_per_trial={math.ceil(gpus)} also {math.ceil(gpus)}"
            )
        if workers > 1:
            self._check_workers(workers)

    def _check_workers(self, workers: int) -> None:
        if self.gpus_per_trial not in (0, workers):
            raise UserError(
                f"gpus_per_trial is {self.gpus_per_trial} with {workers} workers; allowed are 0 and {workers}"
            )
        if self.trial_cpus < workers:
            raise UserError(
                f"cpus_per_trial is {self.trial_cpus} with {workers} workers; allowed is at least one core for each"
            )
        if self.recipe.batch_size < workers:
            raise UserError(
                f"recipe.batch_size is {self.recipe.batch_size}; allowed is at least one image for each of {workers} workers"
            )
        if self.is_timed:
            raise UserError(
                f"latency_ms is measured by a trial's only worker; with {workers} workers, allowed are other costs"
            )
        if not self.recipe.sync_norm:
            raise UserError(
                f"recipe.sync_norm is False with {workers} workers, so AP would depend on their number; allowed is True"
            )

    def _check_forms(self) -> None:
        allowed = [f.name for f in dataclasses.fields(self) if f.name != "forms"]
        for form, changes in self.forms.items():
            if not isinstance(changes, Mapping):
                raise UserError(
                    f"form {form!r} is {changes!r}; allowed is a mapping of fields, such as {{'trials': 2}}"
                )
            check_fields(f"form {form!r}", changes, allowed)
            try:
                dataclasses.replace(self, **{**changes, "forms": {}})
            except UserError as error:
                raise UserError(f"form {form!r}: {error}") from None

    @property
    def trial_cpus(self) -> float:
        """The cores of a trial: `cpus_per_trial`, or the default."""
        if self.cpus_per_trial is not None:
            return self.cpus_per_trial
        return default_cpus(self.gpus_per_trial, self.workers_per_trial)

    @property
    def is_exhaustive(self) -> bool:
        """Whether every point of the space is trained."""
        return SAMPLERS[self.sampler].is_exhaustive

    @property
    def is_predicted(self) -> bool:
        """Whether an objective or a limit is a predicted latency."""
        return "predicted_latency_ms" in self.objectives or "predicted_latency_ms" in self.limits

    @property
    def is_timed(self) -> bool:
        """Whether trials measure a latency."""
        return "latency_ms" in self.objectives or "latency_ms" in self.limits

    def form(self, name: str | None) -> Study:
        """Return the study with a form's fields; None returns the study. Raises UserError with the existing forms."""
        if name is None:
            return self
        if name not in self.forms:
            raise UserError(
                f"form {name!r} is unknown{near(name, self.forms)}; allowed are {', '.join(self.forms) or 'none'}"
            )
        return dataclasses.replace(self, **self.forms[name])

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; the space, a function, by its name."""
        return {
            "question": self.question,
            "space": f"{self.space.__module__}.{getattr(self.space, '__qualname__', repr(self.space))}",
            "data": self.data.to_dict(),
            "recipe": self.recipe.to_dict(),
            "sampler": self.sampler,
            "trials": self.trials,
            "seeds": list(self.seeds),
            "objectives": dict(self.objectives),
            "limits": dict(self.limits),
            "cpus_per_trial": self.trial_cpus,
            "gpus_per_trial": self.gpus_per_trial,
            "workers_per_trial": self.workers_per_trial,
            "trial_seconds": self.trial_seconds,
            **({} if self.shared is None else {"shared": self.shared.to_dict()}),
            "stopping": None if self.stopping is None else self.stopping.to_dict(),
            "finalists": None if self.finalists is None else self.finalists.to_dict(),
            "baseline": None if self.baseline is None else dict(self.baseline),
            "latency_model": self.latency_model,
            "report": self.report,
        }


def default_cpus(gpus: float, workers: int) -> float:
    """Return the cores of a trial that gives none: one for each worker, and on GPUs four for each GPU, at least two.

    Three of four cores read images, some 600 a second; D0 takes 255 on an A100 (docs/speed.md).
    """
    return max(2, math.ceil(4 * gpus)) if gpus else workers


def protocol_digest(data_digest: str, recipe: Recipe, shared: SharedWeights | None = None) -> str:
    """Return a 12-digit hexadecimal digest of data, recipe and shared weights, equal where APs are comparable."""
    values = {"data": data_digest, "recipe": recipe.protocol()}
    text = json.dumps(values if shared is None else {**values, "shared": shared.to_dict()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
