"""Loads a detector with weights from a file, and prints notes on choices and mappings to stderr."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scaling_lab.architecture.spec import DetectorSpec
    from scaling_lab.model import Detector


def load_and_say(model: str | DetectorSpec | None, weights: Path, class_names: Sequence[str] | None = None) -> Detector:
    """Load with `model.checkpoints.load_with_notes` and print its notes to stderr."""
    from scaling_lab.model.checkpoints import load_with_notes

    loaded = load_with_notes(model, weights, class_names=class_names)
    for note in loaded.notes:
        print(note, file=sys.stderr, flush=True)
    return loaded.detector
