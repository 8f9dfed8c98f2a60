"""A detector with the weights of a file that the command line names; what was chosen or mapped is said on stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scaling_lab.architecture.spec import DetectorSpec
    from scaling_lab.model import Detector


def load_and_say(model: str | DetectorSpec | None, weights: Path, class_names: Sequence[str] | None = None) -> Detector:
    """Load as `model.checkpoints.load_with_notes` does, and print its notes."""
    from scaling_lab.model.checkpoints import load_with_notes

    loaded = load_with_notes(model, weights, class_names=class_names)
    for note in loaded.notes:
        print(note, file=sys.stderr, flush=True)
    return loaded.detector
