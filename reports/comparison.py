"""Several runs compared: fronts, shared architectures and searches; runs that are not comparable are left out.

scaling-lab report runs/<study> runs/<study>-random
"""

from __future__ import annotations

from scaling_lab.report import Page
from scaling_lab.report.analysis.comparison import compare
from scaling_lab.report.sections import comparison_fronts, comparison_sections
from scaling_lab.runs.reader import Runs


def report(*runs: Runs) -> Page:
    """Build the page."""
    compared = compare(*runs)
    return Page(
        title=comparison_sections.title(compared),
        question=comparison_sections.question(compared),
        subtitle=str(runs[0].meta.get("data_description", "")),
        answer=comparison_sections.answer(compared),
        main=("fronts_gmacs",),
        sections=(
            comparison_sections.limits(compared),
            comparison_sections.setting(compared),
            comparison_fronts.fronts(compared),
            comparison_sections.best_by_cost(compared),
            comparison_sections.spaces(compared),
            comparison_sections.same_architectures(compared),
            comparison_sections.search(compared),
            comparison_sections.provenances(compared),
        ),
    )
