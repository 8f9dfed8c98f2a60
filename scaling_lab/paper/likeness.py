"""Similarity of cells to BiFPN by their edges between levels, compared with random cells of the same space."""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence

from scaling_lab.architecture import DetectorSpec, Topology, topologies
from scaling_lab.cost import count
from scaling_lab.paper.kept_runs import home_of
from scaling_lab.runs.reader import Runs
from scaling_lab.study.space.enumeration import random_points
from scaling_lab.study.space.study_file import load_study

RANDOM, MOST_DRAWN = 300, 3000  # random cells within the study's limit, and points sampled for them
LIKE = 0.95  # a cell resembles BiFPN if this share of random cells is less similar


def likeness(first: Topology, second: Topology) -> float:
    """Return the similarity of two cells, 0 to 1: Jaccard's index of their multisets of edges (from level, to level)."""
    one, other = _edges(first), _edges(second)
    return (one & other).total() / (one | other).total()


def _edges(topology: Topology) -> Counter[tuple[int, int]]:
    levels = topology.level_of
    return Counter((levels[source], node.level) for node in topology.nodes for source in node.inputs)


def likeness_of(runs: Runs, architectures: Sequence[str]) -> str:
    """Compare architectures of a run with BiFPN by shared edges, and with random cells of the study's space."""
    topologies_of = {digest: spec.topology for digest, spec in runs.specs().items()}
    bifpn = _bifpn(topologies_of[architectures[0]])
    found = [likeness(topologies_of[digest], bifpn) for digest in architectures]
    drawn = sorted(likeness(spec.topology, bifpn) for spec in itertools.islice(_searched(runs), RANDOM))
    bar = drawn[int(LIKE * (len(drawn) - 1))]
    like = sum(value > bar for value in found)
    return (
        f"Finalists that resemble BiFPN: {like} of {len(found)}. They share {_span(found)} of their edges between levels with "
        f"it; random cells share {statistics.median(drawn):.2f} (median; 95th percentile {bar:.2f})."
    )


def _span(shares: Sequence[float]) -> str:
    low, high = f"{min(shares):.2f}", f"{max(shares):.2f}"
    return low if low == high else f"{low} to {high}"


def _searched(runs: Runs) -> Iterator[DetectorSpec]:
    """Yield random cells of the study's space within the limit on GMACs."""
    file = home_of(runs.path.parent) / "studies" / f"{runs.meta['study']}.py"
    study = load_study(file).study.form(runs.meta.get("form"))
    most = study.limits.get("gmacs", math.inf)
    for point, spec in random_points(study.space, MOST_DRAWN, seed=0):
        spec = dataclasses.replace(spec, num_classes=len(study.data.class_names))
        if point.get("cell") != "bifpn" and count(spec).gmacs <= most:
            yield spec


def _bifpn(topology: Topology) -> Topology:
    return topologies.bifpn(topology.min_level, topology.max_level)
