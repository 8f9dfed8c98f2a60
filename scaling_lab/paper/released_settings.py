"""Table 1, the released models' settings, compared with the equations of the same paper."""

from __future__ import annotations

import dataclasses

from scaling_lab.architecture import CompoundScaling, efficientdet
from scaling_lab.architecture.efficientdet import differences
from scaling_lab.paper.published_costs import TABLE_1
from scaling_lab.paper.side_by_side import Column, Table, Value, compared, comparison

# Settings with an equation: their name, the equation, the format of its value.
EQUATIONS = {
    "image_size": ("image size", "eq. 3", ".0f"),
    "width": ("width", "eq. 1", ".1f"),
    "repeats": ("repeats", "eq. 1", ".0f"),
    "head_repeats": ("head repeats", "eq. 2", ".0f"),
}
# Other differences between the equations' models and the released ones.
OTHERS = {"backbone": "backbone", "topology": "feature network", "anchors": "anchor scale"}


def scaling_table() -> Table:
    """Compare Table 1's settings with the paper's equations at phi = 0 to 7."""
    rows = []
    for name, paper in TABLE_1.items():
        row: dict[str, Value] = {"model": name.capitalize(), "backbone": paper.backbone.upper()}
        ruled = {} if paper.phi is None else _equations(paper.phi)
        for key in EQUATIONS:
            row |= comparison(key, ruled.get(key), getattr(paper, key))
        rows.append(row)
    columns = [
        column
        for key, (words, equation, form) in EQUATIONS.items()
        for column in compared(key, words, form, ours=equation)
    ]
    return Table(
        title="Table 1: the released models' settings, and the paper's equations at phi = 0 to 7",
        columns=(Column(key="model", heading="model"), Column(key="backbone", heading="backbone"), *columns),
        rows=tuple(rows),
        notes=_notes(),
    )


def _equations(phi: int) -> dict[str, float]:
    """Return the equations' values, the width before rounding; equation 2 rounds down itself."""
    rule = CompoundScaling()
    return {**rule.exact(phi), "head_repeats": rule.spec(phi).head_repeats}


def _notes() -> tuple[str, ...]:
    found = differences()
    widths = ", ".join(f"{one.rule} for {one.model.capitalize()}" for one in found if one.field == "width")
    others = [
        f"{one.model.capitalize()}'s {OTHERS[one.field]} is {one.released} (equations: {one.rule})"
        for one in found
        if one.field in OTHERS
    ]
    return (
        f"The released code (google/automl, hparams_config.py) agrees with the table's settings in {_agreeing()}.",
        f"To the nearest multiple of 8, equation 1 gives the widths {widths}; no single multiple gives all of the table's.",
        f"Besides these sizes, the released code differs from the equations: {'; '.join(others)}.",
        "D7x has no phi: it is D6 at D7's image size, on B7 and with the level P8.",
    )


def _agreeing() -> str:
    unlike = []
    for name, paper in TABLE_1.items():
        spec = efficientdet(name)
        backbone = spec.backbone.removeprefix("tf_efficientnet_")
        released = (backbone, max(spec.image_size), spec.width, spec.repeats, spec.head_repeats)
        if released != dataclasses.astuple(paper)[1:]:
            unlike.append(name.capitalize())
    return f"all models but {', '.join(unlike)}" if unlike else "every model"
