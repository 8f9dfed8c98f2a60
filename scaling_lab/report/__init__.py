"""Reports: tables, figures and a self-contained page from a run's files, without torch or ray."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scaling_lab.report.analysis.frontier import Frontier, compute_frontier
    from scaling_lab.report.page.blocks import Page, Section
    from scaling_lab.report.page_of_run import run_page
    from scaling_lab.report.writing import write_report

_HOME = {
    "Frontier": "analysis.frontier",
    "Page": "page.blocks",
    "Section": "page.blocks",
    "compute_frontier": "analysis.frontier",
    "run_page": "page_of_run",
    "write_report": "writing",
}

__all__ = ["Frontier", "Page", "Section", "compute_frontier", "run_page", "write_report"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"scaling_lab.report.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
