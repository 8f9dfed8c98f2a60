"""Writes scaling_lab's own counts into the shipped table of published detectors, after a new row or a change of counting.

python tools/recounts.py        rewrite counted_params_m and counted_gmacs of published_detectors.csv
"""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path

from scaling_lab.cost import count
from scaling_lab.paper.recounts import detector_spec
from scaling_lab.report.analysis.detector_facts import published_detectors, raw_rows

TABLE = Path(__file__).resolve().parents[1] / "scaling_lab" / "report" / "published" / "published_detectors.csv"
DECIMALS = 3


def main() -> None:
    """Count every detector that scaling_lab builds and write the table."""
    counted = lru_cache(maxsize=None)(count)
    rows = raw_rows(TABLE.stem)
    for row, detector in zip(rows, published_detectors(), strict=True):
        spec = detector_spec(detector)
        if spec is not None:
            cost = counted(spec)
            row["counted_params_m"], row["counted_gmacs"] = (
                f"{cost.params_m:.{DECIMALS}f}",
                f"{cost.gmacs:.{DECIMALS}f}",
            )
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
