"""The report on latencies that `scaling-lab measure … --out FILE.csv` has written: do multiply-adds mean anything here?

scaling-lab report FILE.csv
"""

from __future__ import annotations

from scaling_lab.latencies import Latencies
from scaling_lab.report import Page
from scaling_lab.report.latency import latency_page


def report(latencies: Latencies) -> Page:
    """Build the page."""
    return latency_page(latencies)
