"""An objective for a cluster whose nodes share no folder. It holds no tests."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling_lab import DetectorSpec
from scaling_lab.study.run.trial import Report
from tests.study.engine import result


@dataclass(frozen=True)
class Away:
    """An objective that waits to be killed, after two epochs, on a node without the driver's disk; `waits` says so."""

    waits: str

    def __call__(self, spec: DetectorSpec, seed: int, folder: Path, report: Report) -> Mapping[str, Any]:
        is_away = not (folder.parents[1] / "ledger.sqlite").exists()
        checkpoint = folder / "checkpoint.pt"
        done = int(checkpoint.read_text()) if checkpoint.exists() else 0
        for epoch in range(done + 1, 4):
            (folder / f"epoch-{epoch}").write_text(f"{'away' if is_away else 'here'} from {done}")
            checkpoint.write_text(str(epoch))
            report(result(spec, seed, epoch))
            if is_away and epoch == 2:
                Path(self.waits).write_text(folder.name)
                time.sleep(3600)
            while not Path(self.waits).exists() and not is_away:  # for the other node
                time.sleep(0.02)
        return result(spec, seed, 3)
