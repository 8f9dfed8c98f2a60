"""Values as harmless text of a page: escaped, and as JSON that no script runs. It renders no block."""

from __future__ import annotations

import html
import json
import re


def escape(text: object) -> str:
    """Make any value harmless as text and as an attribute's value."""
    return html.escape(str(text), quote=True)


def prose(text: str) -> str:
    """Make sentences harmless and keep percent signs on the line of their numbers."""
    return re.sub(r"(?<=\d) %", "&nbsp;%", escape(text))


def identifier(text: str) -> str:
    """Make an id out of a title."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "section"


def stored(values: object) -> str:
    """Give an element that holds values for the page's script, which no text in them can end or open."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    harmless = text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return f'<script type="application/json">{harmless}</script>'
