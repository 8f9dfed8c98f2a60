"""The proxy report on two runs: does the cheap protocol rank as the dear one, and would size alone have done as well?

scaling-lab report runs/<cheap> runs/<dear> --report reports/proxy.py
"""

from __future__ import annotations

from scaling_lab.report import Page
from scaling_lab.report.analysis import proxy_judgement
from scaling_lab.report.sections import provenance, proxy, rungs
from scaling_lab.runs.reader import Runs


def report(cheap: Runs, dear: Runs) -> Page:
    """Build the page."""
    found = proxy_judgement.compute_proxy(cheap, dear)
    return Page(
        title="Proxy audit",
        question="Does the cheap protocol rank architectures as the dear one does?",
        subtitle=f"Cheap: {found.cheap_name}. Dear: {found.dear_name}.",
        sections=(
            proxy.conclusions(found),
            proxy.evidence(found),
            proxy.of_run(rungs.rungs(dear, found.dear), "dear"),
            proxy.of_run(provenance.provenance(cheap), "cheap"),
            proxy.of_run(provenance.provenance(dear), "dear"),
        ),
    )
