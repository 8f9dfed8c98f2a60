"""The explorer of a page as HTML: places for what assets/explorer.js draws, its values, and the table that stands without it."""

from __future__ import annotations

from scaling_lab.report.page import blocks, html_tables
from scaling_lab.report.page.escaping import identifier, prose, stored

HINT = "Select a point or a row."


def explorer(block: blocks.Explorer) -> str:
    """Give the controls and places, hidden until the script shows them, and the table."""
    return (
        f'<div class="explorer" data-table="table-{identifier(block.table.name)}">'
        '<div class="live" hidden>'
        '<div class="controls"><label>Across <select name="across"></select></label>'
        '<label>Up <select name="up"></select></label>'
        '<label>Colour <select name="colour"></select></label>'
        '<label class="tick"><input type="checkbox" name="intervals" checked> intervals</label>'
        '<label class="tick"><input type="checkbox" name="seeds" checked> seeds</label>'
        '<button type="button" class="all" hidden>Show all</button></div>'
        '<div class="plot" role="img" aria-label="The architectures as points; the table below has the same rows"></div>'
        f'<p class="caption">{prose(block.caption)}</p>'
        '<p class="unseen" role="status"></p>'
        f'<div class="chosen" role="region" aria-label="The selected architecture"><p class="text note">{HINT}</p></div></div>'
        f"{stored(block.data)}{html_tables.table(block.table, filtered=True)}</div>"
    )
