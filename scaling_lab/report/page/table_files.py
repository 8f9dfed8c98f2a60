"""A page's table as files for papers and notes: LaTeX (booktabs) and Markdown, with the page's columns and digits.

They hold the first rows of a long table, as the unfiltered page does; the CSV holds all.
"""

from __future__ import annotations

import re

from scaling_lab.report.page.blocks import Table
from scaling_lab.report.page.cells import first_rows, is_numeric

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "−": "$-$",
    "–": "--", "Δ": r"$\Delta$", "●": r"$\bullet$", "×": r"$\times$", "±": r"$\pm$",
}  # fmt: skip


def markdown(table: Table) -> str:
    """Return the table as GitHub Markdown with its caption below."""
    numeric = [is_numeric(table, column) for column in table.columns]
    lines = [
        _markdown_row([column.label for column in table.columns]),
        _markdown_row(["---:" if number else "---" for number in numeric]),
        *(_markdown_row(cells) for cells in _cells(table)),
        *(["", _escaped(_caption(table))] if _caption(table) else []),
    ]
    return "\n".join(lines) + "\n"


def latex(table: Table) -> str:
    """Return the table as a LaTeX tabular; comments above it name the package booktabs and the caption."""
    kinds = "".join("r" if is_numeric(table, column) else "l" for column in table.columns)
    rows = [_latex_row(cells) for cells in _cells(table)]
    head = _latex_row([column.label for column in table.columns])
    lines = [rf"\begin{{tabular}}{{{kinds}}}", r"\toprule", head, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}"]
    caption = _caption(table)
    above = [r"% needs \usepackage{booktabs}", *([f"% {caption}"] if caption else [])]
    return "\n".join([*above, *lines]) + "\n"


def _cells(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in first_rows(table)]


def _caption(table: Table) -> str:
    """Return the caption and the number of omitted rows on one line."""
    return " ".join(f"{table.caption} {_more(table)}".split())


def _more(table: Table) -> str:
    left = len(table.frame) - table.most_rows
    return f"The first {table.most_rows:,} of {len(table.frame):,} rows; {table.name}.csv has all." if left > 0 else ""


def _markdown_row(cells: list[str]) -> str:
    return f"| {' | '.join(_escaped(cell) for cell in cells)} |"


def _escaped(text: str) -> str:
    """Escape characters with a meaning in Markdown or HTML, and join lines."""
    return re.sub(r"([\\|<>*_`\[\]])", r"\\\1", " ".join(text.split()))


def _latex_row(cells: list[str]) -> str:
    return (
        " & ".join("".join(_LATEX.get(letter, letter) for letter in " ".join(cell.split())) for cell in cells) + r" \\"
    )
