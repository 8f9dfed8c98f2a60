"""A replayed table: architectures with their real costs, and a simulated AP with known truth.

    python benchmarks/replayed.py            recount the costs: seconds, reports/results/replayed_costs.csv

The architectures are those of two shipped search spaces combined: topology.space on the detectors of compound.space, 660
at 3,600 points. Their costs are `scaling_lab.count`'s, stored in the file written here.

The AP is simulated and makes no claim about any detector. It was fixed before any search was run on it, with realistic
magnitudes:

    60 - 25.4 (gmacs / the least gmacs)^-0.286      fits the AP of EfficientDet-D0 to D7 (arXiv:1911.09070, Table 2) within
                                                    0.6, with D0 as the cheapest
    - 4.5 (1 - reach)                               reach: the share of (input level, output level) pairs with a path;
                                                    so FPN is 1.8 below PANet, as in Table 5
    + 0.45 where the fusion is weighted             as BiFPN with and without weights, Table 5
    + N(0, 0.7) for each topology                   the unexplained rest of Table 5: NAS-FPN is 0.9 and
                                                    fully-connected 1.0 below PANet
    + N(0, 0.5) for each architecture
    + N(0, `noise`) for each architecture and seed  0.8 with noise: the SD of FPN over three seeds in docs/log

The random numbers are hashes of the digests, so every run sees the same table.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from statistics import NormalDist
from typing import Any

from scaling_lab import DetectorSpec, Shapes, Topology, count
from scaling_lab.cost import Cost, PartCost
from scaling_lab.cost.counts import PARTS, total
from scaling_lab.study.run.trial import Report
from scaling_lab.study.space.enumeration import enumerate_space
from search_spaces import compound, topology

COSTS = Path(__file__).parents[1] / "reports" / "results" / "replayed_costs.csv"
DATA = Shapes(train_images=8, val_images=8)
NOISE = 0.8
WIRING_SD, OWN_SD = 0.7, 0.5


def space(trial: Any) -> DetectorSpec:
    """Return a detector by size, feature network, fusion and repeats."""
    return topology.space(trial, base=compound.space(trial))


def as_trained(spec: DetectorSpec) -> DetectorSpec:
    """Return a spec of the space with the data's number of classes, as the engine trains it."""
    return dataclasses.replace(spec, num_classes=len(DATA.class_names))


@lru_cache
def architectures() -> dict[str, DetectorSpec]:
    """Return the space's architectures by digest, as trained."""
    specs = (as_trained(spec) for _, spec in enumerate_space(space))
    return {spec.digest: spec for spec in specs}


@lru_cache
def costs() -> dict[str, Cost]:
    """Return the stored costs by digest."""
    with COSTS.open(encoding="utf-8", newline="") as file:
        return {row["digest"]: _cost(row) for row in csv.DictReader(file)}


def replayed_count(spec: DetectorSpec) -> Cost:
    """Return the stored result of `scaling_lab.count`."""
    return costs()[spec.digest]


@lru_cache
def true_ap(spec: DetectorSpec) -> float:
    """Return the simulated AP without seed noise."""
    return expected_ap(spec) + normal(wiring(spec.topology), WIRING_SD) + normal(spec.digest, OWN_SD)


def expected_ap(spec: DetectorSpec) -> float:
    """Return the simulated AP without its random numbers."""
    cell = spec.topology
    return (
        ap_of_cost(spec)
        - 4.5 * (1 - reach(cell))
        + 0.45 * any(node.fusion in ("fast", "softmax") for node in cell.nodes)
    )


def ap_of_cost(spec: DetectorSpec) -> float:
    """Return the part of the AP that multiply-adds explain."""
    return ap_of_scale(costs()[spec.digest].gmacs / _least())


@lru_cache
def _least() -> float:
    return min(cost.gmacs for cost in costs().values())


@lru_cache
def wiring(cell: Topology) -> str:
    """Return a key for a topology's wiring, regardless of fusion."""
    return cell.with_fusion("sum").digest


def ap_of_scale(ratio: float) -> float:
    """Return the AP of EfficientDet at `ratio` times D0's multiply-adds."""
    return 60 - 25.4 * ratio**-0.286


def reach(cell: Topology) -> float:
    """Return the share of (input level, output level) pairs with a path between them."""
    seen: list[set[int]] = [{index} for index in range(cell.num_inputs)]
    for node in cell.nodes:
        seen.append(set().union(*(seen[source] for source in node.inputs)))
    return sum(len(seen[output]) for output in cell.outputs) / cell.num_inputs**2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Replay:
    """The objective: one instantaneous epoch."""

    noise: float = 0.0

    def __call__(self, spec: DetectorSpec, seed: int, folder: Path, report: Report) -> Mapping[str, Any]:
        """Look up a trial's AP."""
        metrics = {"epoch": 1, "ap": self.ap(spec, seed)}
        report(metrics)
        return metrics

    def ap(self, spec: DetectorSpec, seed: int) -> float:
        """Return an architecture's AP with a seed."""
        return true_ap(spec) + normal(f"{spec.digest} {seed}", self.noise)


def normal(text: str, sd: float) -> float:
    """Return a normal random number that depends only on the text."""
    uniform = (int.from_bytes(hashlib.sha256(text.encode()).digest()[:6]) + 0.5) / 2**48
    return sd * NormalDist().inv_cdf(uniform)


def _cost(row: Mapping[str, str]) -> Cost:
    parts = {
        name: PartCost(**{kind: int(row[f"{name}_{kind}"]) for kind in ("params", "macs", "activations")})
        for name in PARTS
    }
    return Cost(**total(parts.values()).numbers(), memory=0, activation_memory=0, **parts)


def _counted() -> Iterator[dict[str, Any]]:
    for digest, spec in architectures().items():
        row: dict[str, Any] = {"digest": digest, "description": spec.describe()}
        for name, part in count(spec).parts.items():
            row |= {f"{name}_{kind}": number for kind, number in part.numbers().items()}
        yield row


def main() -> None:
    rows = list(_counted())
    with COSTS.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
