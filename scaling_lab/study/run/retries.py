"""Which trials have moved on since the last look, seen by their checkpoints: their lost workers are counted from 0 again."""

from __future__ import annotations

from pathlib import Path


class Checkpoints:
    """The checkpoints of running trials."""

    def __init__(self) -> None:
        self._seen: dict[Path, int] = {}

    def has_changed(self, folder: Path) -> bool:
        """Return whether a trial's checkpoint has changed since the last call; the first call returns False."""
        try:
            now = (folder / "checkpoint.pt").stat().st_mtime_ns
        except OSError:
            now = 0
        before = self._seen.get(folder, now)
        self._seen[folder] = now
        return now != before
