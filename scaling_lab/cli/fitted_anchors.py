"""Fitted anchors as text: what they gain, and how to use them."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from scaling_lab.cli.console import text_table

if TYPE_CHECKING:
    from scaling_lab.data.anchor_fitting import Coverage

# From this share of objects without an anchor on, the text says what helps them.
MANY = 0.05


def proposal(own: Coverage, fitted: Coverage, *, detector: Sequence[str], data: str) -> str:
    """Format the anchors that a detector has beside the fitted ones.

    `detector` are the arguments that name it on the command line, and `data` those of --data.
    """
    both = (own, fitted)
    rows = [
        [f"{own.objects:,} training objects", "before", "fitted"],
        ["anchors per position", *(str(each.anchors.per_position) for each in both)],
        ["no anchor with IoU .5", *(f"{each.missed:,}" for each in both)],
        ["  with anchors centred on the object", *(f"{each.missed_centred:,}" for each in both)],
        ["recall at IoU .5, %", *(f"{100 * each.recall:.1f}" for each in both)],
    ]
    lines = [text_table(rows), "", *words(own, fitted)]
    if fitted.anchors != own.anchors:
        train = ["scaling-lab", "train", *detector, "--data", data, "--anchors", "fit"]
        lines += [f"to train with them: {shlex.join(train)}", f"in Python: {fitted.anchors!r}"]
    return "\n".join(lines)


def words(own: Coverage, fitted: Coverage) -> list[str]:
    """Return sentences on what was chosen, its gain, and what it does not reach."""
    new = fitted.anchors
    before, after = (f"{100 * each.recall:.1f} %" for each in (own, fitted))
    if new == own.anchors:
        said = f"anchors: the detector's own, recall {before} at IoU .5; the best found are within 1 point"
    else:
        sizes = f"scale {new.scale:g}, octave scales {new.octave_scales}, aspects {_aspects(new.aspects)}"
        counts = f"{own.anchors.per_position} to {new.per_position} per position"
        said = f"anchors: {sizes}; {counts}, recall {before} to {after} at IoU .5"
    if 1 - fitted.recall < MANY:
        return [said]
    advice = "larger images (--image-size) and finer levels (--min-level) help small objects"
    return [said, f"{fitted.missed:,} of {fitted.objects:,} objects have no anchor with IoU .5; {advice}"]


def _aspects(aspects: Sequence[tuple[float, float]]) -> str:
    """Format aspects as width over height."""
    return ", ".join(f"{width / height:.2f}" for width, height in aspects)


def as_values(own: Coverage, fitted: Coverage) -> dict[str, Any]:
    """Return both as plain values."""
    return {
        name: {**dataclasses.asdict(each), "per_position": each.anchors.per_position, "recall": each.recall}
        for name, each in (("before", own), ("fitted", fitted))
    }
