"""Own detectors of `frontier --add`: a run's front with its mean AP, or weights with the AP that was measured for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scaling_lab.cli.loaded_weights import load_and_say
from scaling_lab.errors import UserError

if TYPE_CHECKING:
    from scaling_lab.architecture.spec import DetectorSpec

HELP = "a run's folder (the front of its architectures), or WEIGHTS=AP, a file of weights and the AP measured with them"


@dataclasses.dataclass(frozen=True, kw_only=True)
class OwnDetector:
    """A detector with its label and AP."""

    label: str
    spec: DetectorSpec
    ap: float


def own_detectors(added: Sequence[str]) -> list[OwnDetector]:
    """Read the things of --add. Raises UserError."""
    return [own for thing in added for own in (_of_run(Path(thing)) if Path(thing).is_dir() else [_of_weights(thing)])]


def _of_run(folder: Path) -> Iterator[OwnDetector]:
    from scaling_lab.report.analysis.frontier import compute_frontier
    from scaling_lab.report.tables import records
    from scaling_lab.runs.reader import Runs

    runs = Runs(folder)
    table = compute_frontier(runs).architectures
    if table.empty:
        raise UserError(f"{folder} has no complete trial, so it has no AP to show")
    specs = runs.specs()
    for row in records(table[table["on_front"]]):
        yield OwnDetector(label=f"{folder.name}: {row['label']}", spec=specs[row["architecture"]], ap=row["ap_mean"])


def _of_weights(text: str) -> OwnDetector:
    name, found, number = text.rpartition("=")
    try:
        ap = float(number)
    except ValueError:
        found = ""
    if not found or not 0 <= ap <= 100:
        raise UserError(f"--add is {text!r}; allowed are {HELP} from 0 to 100")
    return OwnDetector(label=Path(name).stem, spec=load_and_say(None, Path(name)).spec, ap=ap)
