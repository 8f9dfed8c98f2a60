"""The proxy report on two runs: does the proxy rank as the full protocol does, and better than model size?

scaling-lab report runs/<proxy> runs/<full> --report reports/proxy.py
"""

from __future__ import annotations

from scaling_lab.report import Page
from scaling_lab.report.analysis import proxy_judgement
from scaling_lab.report.sections import provenance, rungs
from scaling_lab.report.sections import proxy as audit
from scaling_lab.runs.reader import Runs


def report(proxy: Runs, full: Runs) -> Page:
    """Build the page."""
    found = proxy_judgement.compute_proxy(proxy, full)
    return Page(
        title="Proxy audit",
        question="Does the proxy rank architectures as the full protocol does?",
        subtitle=f"Proxy: {found.proxy_name}. Full protocol: {found.full_name}.",
        answer=audit.answer(found),
        main=("proxy_ap",),
        sections=(
            audit.limits(found),
            audit.evidence(found),
            audit.of_run(rungs.rungs(full, found.full), "full protocol"),
            audit.of_run(provenance.provenance(proxy), "proxy"),
            audit.of_run(provenance.provenance(full), "full protocol"),
        ),
    )
