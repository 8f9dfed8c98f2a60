"""How like BiFPN a cell is, by the edges between its levels, and how like it random cells of the same space are."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence

from scaling_lab.architecture import Topology, topologies
from scaling_lab.report import words
from scaling_lab.runs import Runs
from scaling_lab.starter import starter_folder
from scaling_lab.study.enumeration import random_points
from scaling_lab.study.loading import load_study

RANDOM = 300  # cells drawn for comparison
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
    specs = runs.specs()
    found = [likeness(specs[digest].topology, _bifpn(specs[digest].topology)) for digest in architectures]
    study = load_study(starter_folder() / "studies" / f"{runs.meta['study']}.py").study.form(runs.meta.get("form"))
    drawn = sorted(
        likeness(spec.topology, _bifpn(spec.topology))
        for point, spec in random_points(study.space, RANDOM, seed=0)
        if point.get("cell") != "bifpn"
    )
    bar = drawn[int(LIKE * (len(drawn) - 1))]
    like = sum(value > bar for value in found)
    return (
        f"{like} of {words.plural(len(found), 'winner')} {'is' if like == 1 else 'are'} BiFPN-like (they share "
        f"{min(found):.2f} to {max(found):.2f} of its edges between levels; random cells {statistics.median(drawn):.2f}, 95 % of "
        f"them at most {bar:.2f})"
    )


def _bifpn(topology: Topology) -> Topology:
    return topologies.bifpn(topology.min_level, topology.max_level)
