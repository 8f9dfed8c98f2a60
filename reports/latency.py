"""The report on latencies from `scaling-lab measure … --out FILE.csv`: do multiply-adds predict latency?

scaling-lab report FILE.csv
"""

from __future__ import annotations

from scaling_lab.report import Page
from scaling_lab.report.sections.latency import latency_page
from scaling_lab.runs.latencies import Latencies


def report(latencies: Latencies) -> Page:
    """Build the page."""
    return latency_page(latencies)
