"""The proxy report on two runs: does the proxy rank as the full protocol does, and would size alone do as well?

scaling-lab report runs/<proxy> runs/<full> --report reports/proxy.py
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
        question="Does the proxy rank architectures as the full protocol does?",
        subtitle=f"Proxy: {found.cheap_name}. Full protocol: {found.dear_name}.",
        answer=proxy.answer(found),
        main=("proxy_ap",),
        sections=(
            proxy.limits(found),
            proxy.evidence(found),
            proxy.of_run(rungs.rungs(dear, found.dear), "full protocol"),
            proxy.of_run(provenance.provenance(cheap), "proxy"),
            proxy.of_run(provenance.provenance(dear), "full protocol"),
        ),
    )
