"""Which of several runs can be compared with the first, and why the others cannot.

APs are comparable only with equal images (digest of the data), recipe and epochs, which the protocol's digest covers.
Runs that are not comparable with the first are listed with the reason, without numbers. Multiply-adds and parameters are
counted, so they are always comparable. Latencies are comparable only under equal conditions (device, type, batch,
threads, backend, scope, method), predicted latencies only from the same model. Runs of another schema version cannot be
read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_lab.errors import UserError
from scaling_lab.report.analysis.frontier import comparable
from scaling_lab.text import listed, plural

if TYPE_CHECKING:
    from scaling_lab.runs.reader import Runs

RULE = (
    "APs are compared only between runs with equal images, recipe and epochs. Multiply-adds and parameters are counted, "
    "so they are always comparable; latencies only under equal conditions."
)
DATA_NAMES = {
    "train": "training split",
    "val": "evaluation split",
    "train_images": "training images",
    "val_images": "evaluation images",
}
MOST_NAMED = 8  # fields, classes


@dataclass(frozen=True, kw_only=True, eq=False)
class Refused:
    """A run that is not compared with the first, and why."""

    name: str
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}: {'; '.join(self.reasons)}"


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What decides whether two runs' APs are comparable, read from the trials that a run's own report compares."""

    protocol: str | None
    epochs: int | None
    data_digest: str | None
    data: Mapping[str, Any]
    recipe: Mapping[str, Any]
    classes: tuple[str, ...]


def terms(runs: Runs) -> Terms:
    """Read a run's terms; those of its study before the first complete trial."""
    meta, (trials, _) = runs.meta, comparable(runs.table())
    recipe = meta.get("recipe") or {}
    return Terms(
        protocol=meta.get("protocol") if trials.empty else str(trials["protocol"].iloc[0]),
        epochs=recipe.get("epochs") if trials.empty else int(trials["epochs"].iloc[0]),
        data_digest=meta.get("data_digest"),
        data=meta.get("data") or {},
        recipe=recipe,
        classes=tuple(meta.get("class_names") or ()),
    )


def why_not(first: Terms, other: Terms) -> tuple[str, ...]:
    """Return why APs under the second terms are not comparable with those under the first; empty if they are.

    Reasons name the second terms' value first: "36 epochs against 6".
    """
    if first.protocol is not None and (first.protocol, first.epochs) == (other.protocol, other.epochs):
        return ()  # covers data and recipe; the stored recipe may be of a later start than the trials
    found = [*_images(other, first), *_classes(other, first), *_recipe(other, first)]
    if None in (first.protocol, other.protocol):
        which = "neither run records" if first.protocol == other.protocol else "one run does not record"
        found.append(f"{which} its training protocol")
    elif not found and first.protocol != other.protocol:
        found.append(
            f"a different protocol, {other.protocol} against {first.protocol}, although all other records are equal"
        )
    return tuple(found)


def split(names: Sequence[str], all_terms: Sequence[Terms]) -> tuple[list[int], tuple[Refused, ...]]:
    """Return the indices of the comparable runs, including the first, and the other runs with their reasons.

    Raises UserError if no run is comparable, with the reasons and the runs that could be compared without the first.
    """
    if len(names) < 2:
        raise UserError(f"a comparison takes 2 runs or more, not {len(names)}")
    reasons = [why_not(all_terms[0], each) if place else () for place, each in enumerate(all_terms)]
    refused = tuple(Refused(name=name, reasons=why) for name, why in zip(names, reasons, strict=True) if why)
    if len(refused) == len(names) - 1:
        why = " | ".join(str(each) for each in refused)
        raise UserError(
            f"nothing can be compared with {names[0]}; {why}. APs are compared only between runs with equal images, recipe "
            f"and epochs{_instead(names, all_terms)}"
        )
    return [place for place, why in enumerate(reasons) if not why], refused


def _instead(names: Sequence[str], all_terms: Sequence[Terms]) -> str:
    """Name the first group of other runs that can be compared with each other."""
    for place in range(1, len(names)):
        alike = [other for other in range(place, len(names)) if not why_not(all_terms[place], all_terms[other])]
        if len(alike) > 1:
            return f"; {listed([names[other] for other in alike])} can be compared without {names[0]}"
    return ""


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Return a name for each run: its folder, with as many parent folders as needed to make names distinct."""
    parts = [path.resolve().parts for path in paths]
    for depth in range(1, max(map(len, parts), default=1) + 1):
        names = ["/".join(each[-depth:]) for each in parts]
        if len(set(names)) == len(names):
            break
    return names


# --- reasons ---------------------------------------------------------------------------------------------------------


def _images(one: Terms, first: Terms) -> list[str]:
    if one.data_digest == first.data_digest:
        return []
    digests = f"{_short(one.data_digest)} against {_short(first.data_digest)}"
    changes = _changes(one.data, first.data, DATA_NAMES)
    return [f"different images, digest {digests}" + (f" ({changes})" if changes else "")]


def _classes(one: Terms, first: Terms) -> list[str]:
    if one.classes == first.classes:
        return []
    if len(one.classes) != len(first.classes):
        return [f"{plural(len(one.classes), 'class', 'classes')} against {len(first.classes)}"]
    pairs = zip(one.classes, first.classes, strict=True)
    changes = [f"{own} against {its}" for own, its in pairs if own != its]
    return [f"different classes: {listed(changes, most=MOST_NAMED)}"]


def _recipe(one: Terms, first: Terms) -> list[str]:
    changes = _changes(one.recipe, first.recipe, {})
    if changes:
        return [f"a different recipe: {changes}"]
    if one.epochs != first.epochs:
        return [f"{one.epochs} epochs against {first.epochs}"]
    return []


def _changes(one: Mapping[str, Any], first: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """List differing fields with both values, MOST_NAMED at most."""
    fields = [name for name in {**first, **one} if one.get(name) != first.get(name)]
    shown = [
        f"{names.get(name, name)} {_value(one, name)} against {_value(first, name)}" for name in fields[:MOST_NAMED]
    ]
    rest = len(fields) - len(shown)
    return ", ".join(shown) + (f" and {plural(rest, 'more field')}" if rest else "")


def _value(values: Mapping[str, Any], name: str) -> str:
    if name not in values:
        return "not recorded"
    value = values[name]
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(str(each) for each in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "not recorded"
