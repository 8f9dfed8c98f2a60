"""The table of samplers: names for a study's `sampler`, and their requirements.

To add one, write a Strategy (study/search/strategy.py) in its own file and add a line here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """One line of the table.

    `home` is "module:name" of its Strategy. An exhaustive one trains every point of the space, so a study needs no number
    of trials. `most_counted` limits it to one trained objective and that many objectives known before a trial; None
    allows any objectives. One that `can_start_warm` learns from other runs' trials.
    """

    name: str
    home: str
    is_exhaustive: bool = False
    most_counted: int | None = None
    can_start_warm: bool = False


_SEARCH = "scaling_lab.study.search"

SAMPLERS: dict[str, Sampler] = {
    sampler.name: sampler
    for sampler in (
        Sampler(name="grid", home=f"{_SEARCH}.grid:Grid", is_exhaustive=True),
        Sampler(name="random", home=f"{_SEARCH}.optuna_samplers:Random"),
        Sampler(name="ehvi", home=f"{_SEARCH}.ehvi:Ehvi", most_counted=2, can_start_warm=True),
        Sampler(name="tpe", home=f"{_SEARCH}.optuna_samplers:Tpe"),
        Sampler(name="nsga2", home=f"{_SEARCH}.optuna_samplers:Nsga2"),
        Sampler(name="nsga3", home=f"{_SEARCH}.optuna_samplers:Nsga3"),
        Sampler(name="gp", home=f"{_SEARCH}.optuna_samplers:Gp"),
    )
}
