"""How like BiFPN a cell is, by the edges between its levels, and how like it random cells of the same space are."""

from __future__ import annotations

import dataclasses
import itertools
import math
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence

from scaling_lab.architecture import DetectorSpec, Topology, topologies
from scaling_lab.cost import count
from scaling_lab.results.kept import home_of
from scaling_lab.runs.reader import Runs
from scaling_lab.study.space.enumeration import random_points
from scaling_lab.study.space.loading import load_study
from scaling_lab.text import plural

RANDOM, MOST_DRAWN = 300, 3000  # cells within the study's limit for comparison, and points drawn for them
LIKE = 0.95  # a cell is called BiFPN-like where so large a share of random cells is less like it


def likeness(first: Topology, second: Topology) -> float:
    """Give the share of edges that two cells have in common, 0 to 1: of both bags of (from level, to level), Jaccard's index."""
    one, other = _edges(first), _edges(second)
    return (one & other).total() / (one | other).total()


def _edges(topology: Topology) -> Counter[tuple[int, int]]:
    levels = topology.level_of
    return Counter((levels[source], node.level) for node in topology.nodes for source in node.inputs)


def likeness_of(runs: Runs, architectures: Sequence[str]) -> str:
    """Say how like BiFPN some architectures of a run are, beside random cells of its study's space."""
    topologies_of = {digest: spec.topology for digest, spec in runs.specs().items()}
    bifpn = _bifpn(topologies_of[architectures[0]])
    found = [likeness(topologies_of[digest], bifpn) for digest in architectures]
    drawn = sorted(likeness(spec.topology, bifpn) for spec in itertools.islice(_searched(runs), RANDOM))
    bar = drawn[int(LIKE * (len(drawn) - 1))]
    like = sum(value > bar for value in found)
    return (
        f"{like} of {plural(len(found), 'finalist')} {'is' if like == 1 else 'are'} BiFPN-like (of the "
        f"edges between levels that they or BiFPN have, {min(found):.2f} to {max(found):.2f} are in both; random cells "
        f"{statistics.median(drawn):.2f}, 95 % of them at most {bar:.2f})"
    )


def _searched(runs: Runs) -> Iterator[DetectorSpec]:
    """Draw what the search of a run could choose: cells of its study's space within the limit of GMACs."""
    file = home_of(runs.path.parent) / "studies" / f"{runs.meta['study']}.py"
    study = load_study(file).study.form(runs.meta.get("form"))
    most = study.limits.get("gmacs", math.inf)
    for point, spec in random_points(study.space, MOST_DRAWN, seed=0):
        spec = dataclasses.replace(spec, num_classes=len(study.data.class_names))
        if point.get("cell") != "bifpn" and count(spec).gmacs <= most:
            yield spec


def _bifpn(topology: Topology) -> Topology:
    return topologies.bifpn(topology.min_level, topology.max_level)
