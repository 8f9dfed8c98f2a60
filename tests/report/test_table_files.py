"""Tables as LaTeX and Markdown: the page's digits, and nothing in a name that breaks the document."""

from __future__ import annotations

import pandas as pd

from scaling_lab.report.page.blocks import Column, Table
from scaling_lab.report.page.table_files import latex, markdown

TABLE = Table(
    name="t",
    frame=pd.DataFrame(
        {"name": ["a_b & 50 % <b>|x|", "plain"], "ap": [40.26, None], "d": [-0.51, 1.0], "cost": [0.01234, 1230.0]}
    ),
    columns=(
        Column(key="name", label="Architecture #1"),
        Column(key="ap", label="AP", digits=1),
        Column(key="d", label="ΔAP", digits=1, signed=True),
        Column(key="cost", label="GMACs", digits=3, significant=True),
    ),
    caption="Means over\n3 seeds.",
)


def test_latex() -> None:
    assert latex(TABLE).splitlines() == [
        r"% needs \usepackage{booktabs}",
        "% Means over 3 seeds.",
        r"\begin{tabular}{lrrr}",
        r"\toprule",
        r"Architecture \#1 & AP & $\Delta$AP & GMACs \\",
        r"\midrule",
        r"a\_b \& 50 \% \textless{}b\textgreater{}|x| & 40.3 & $-$0.5 & 0.0123 \\",
        r"plain & -- & +1.0 & 1,230 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_markdown() -> None:
    assert markdown(TABLE).splitlines() == [
        "| Architecture #1 | AP | ΔAP | GMACs |",
        "| --- | ---: | ---: | ---: |",
        r"| a\_b & 50 % \<b\>\|x\| | 40.3 | −0.5 | 0.0123 |",
        "| plain | – | +1.0 | 1,230 |",
        "",
        "Means over 3 seeds.",
    ]
