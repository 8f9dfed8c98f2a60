"""The page of one run, from the table of sections. A new section is a function in its own file and a line here."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from scaling_lab.checks import near
from scaling_lab.errors import UserError
from scaling_lab.report.analysis.frontier import Frontier, compute_frontier
from scaling_lab.report.page.blocks import Page, Section
from scaling_lab.report.sections import overview
from scaling_lab.runs.reader import Runs

# A function that makes a section or the answer from a run and its frontier.
Maker = Callable[[Runs, Frontier], Section]

# Sections by name, as "module:function"; the function takes (runs, frontier).
SECTIONS: dict[str, str] = {
    "limits": "scaling_lab.report.sections.overview:limits",
    "explorer": "scaling_lab.report.sections.explorer:explore",
    "ablation": "scaling_lab.report.sections.ablation:ablation",
    "population": "scaling_lab.report.sections.population:population",
    "finalists": "scaling_lab.report.sections.finalists:finalists",
    "accuracy_and_cost": "scaling_lab.report.sections.overview:accuracy_and_cost",
    "architectures": "scaling_lab.report.sections.architectures:architectures",
    "search": "scaling_lab.report.sections.search:search",
    "beliefs": "scaling_lab.report.sections.beliefs:beliefs",
    "rungs": "scaling_lab.report.sections.rungs:where_stopped",
    "proxy": "scaling_lab.report.sections.proxy:within",
    "topologies": "scaling_lab.report.sections.overview:topologies",
    "beside_the_paper": "scaling_lab.report.sections.beside_paper:beside_the_paper",
    "fusion_weights": "scaling_lab.report.sections.learned_weights:fusion_weights",
    "curves": "scaling_lab.report.sections.overview:curves",
    "detections": "scaling_lab.report.sections.pictures:detections",
    "failures": "scaling_lab.report.sections.provenance:failures",
    "provenance": "scaling_lab.report.sections.provenance:provenance",
}


def run_page(
    runs: Runs,
    sections: Sequence[str | Maker],
    *,
    answer: Callable[[Runs, Frontier], str] = overview.answer,
    main: tuple[str, ...] = ("ap_against_gmacs",),
) -> Page:
    """Make the page of a run: title, question, answer, main figure, then the sections.

    A section is a name from SECTIONS or a function of (runs, frontier). `main` names figures of the sections; the first that
    exists is shown with the answer. Raises UserError for an unknown name.
    """
    frontier = compute_frontier(runs)
    return Page(
        title=str(runs.meta.get("study", runs.path.name)).replace("_", " ").capitalize(),
        question=str(runs.meta.get("question", "")),
        subtitle=str(runs.meta.get("data_description", "")),
        answer=answer(runs, frontier),
        main=main,
        sections=tuple(_maker(each)(runs, frontier) for each in sections),
    )


def _maker(section: str | Maker) -> Any:
    if not isinstance(section, str):
        return section
    if section not in SECTIONS:
        raise UserError(f"section {section!r} is unknown{near(section, SECTIONS)}; allowed are {', '.join(SECTIONS)}")
    module, _, name = SECTIONS[section].partition(":")
    return getattr(importlib.import_module(module), name)
