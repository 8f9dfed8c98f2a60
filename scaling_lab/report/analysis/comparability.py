"""Which of several runs may be compared, and why the others may not. It compares nothing itself.

The rule: APs are compared only where the images (the digest of the data), the recipe and the epochs are equal, which is
what a protocol's digest stands for. The first run is the measure: those comparable with it are compared, the others are
named with the reason, and none of their numbers is shown. Multiply-adds and parameters are counted and always compare;
latencies compare under equal conditions alone (device, type, batch, threads, backend, scope, method), and predicted ones
where the same model predicted them. Runs of another schema version cannot be read at all.
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
    "so they always compare; latencies compare under equal conditions alone."
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
    """What decides whether a run's APs mean the same as another's; of the trials that its own report compares."""

    protocol: str | None
    epochs: int | None
    data_digest: str | None
    data: Mapping[str, Any]
    recipe: Mapping[str, Any]
    classes: tuple[str, ...]


def terms(runs: Runs) -> Terms:
    """Read a run's terms. Before its first complete trial they are those of its study."""
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
    """Give the reasons why APs under the second terms are not compared with those under the first; none where they are.

    Of two values the second terms' comes first, for a reason is said of them: "36 epochs against 6".
    """
    if first.protocol is not None and (first.protocol, first.epochs) == (other.protocol, other.epochs):
        return ()  # a digest of data and recipe; the recipe beside it is that of the study's last start, not of its trials
    found = [*_images(other, first), *_classes(other, first), *_recipe(other, first)]
    if None in (first.protocol, other.protocol):
        which = "neither says" if first.protocol == other.protocol else "one does not say"
        found.append(f"{which} by which protocol it was trained")
    elif not found and first.protocol != other.protocol:
        found.append(
            f"another protocol, {other.protocol} against {first.protocol}, though all else that was recorded is equal"
        )
    return tuple(found)


def split(names: Sequence[str], all_terms: Sequence[Terms]) -> tuple[list[int], tuple[Refused, ...]]:
    """Give the places of the runs that are compared, the first among them, and the others with their reasons.

    Raises UserError where there is nothing to compare: it says why for each, and which of the others could be compared.
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
    """Name the first runs after the first that can be compared with each other."""
    for place in range(1, len(names)):
        alike = [other for other in range(place, len(names)) if not why_not(all_terms[place], all_terms[other])]
        if len(alike) > 1:
            return f"; {listed([names[other] for other in alike])} can be compared without {names[0]}"
    return ""


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Name runs by their folders, with as many of the folders above as it takes to tell them apart."""
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
    return [f"other images, digest {digests}" + (f" ({changes})" if changes else "")]


def _classes(one: Terms, first: Terms) -> list[str]:
    if one.classes == first.classes:
        return []
    if len(one.classes) != len(first.classes):
        return [f"{plural(len(one.classes), 'class', 'classes')} against {len(first.classes)}"]
    pairs = zip(one.classes, first.classes, strict=True)
    changes = [f"{own} against {its}" for own, its in pairs if own != its]
    return [f"other classes: {listed(changes, most=MOST_NAMED)}"]


def _recipe(one: Terms, first: Terms) -> list[str]:
    changes = _changes(one.recipe, first.recipe, {})
    if changes:
        return [f"another recipe: {changes}"]
    if one.epochs != first.epochs:
        return [f"{one.epochs} epochs against {first.epochs}"]
    return []


def _changes(one: Mapping[str, Any], first: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Name the fields that differ with both values, as many as a line bears."""
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
