"""The fusion weights that training runs learned."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scaling_lab.architecture.fusions import FUSIONS

if TYPE_CHECKING:
    from scaling_lab.architecture import DetectorSpec
    from scaling_lab.report.analysis.frontier import Frontier
    from scaling_lab.runs.reader import Runs

WEIGHTED = tuple(name for name, fusion in FUSIONS.items() if fusion.is_weighted)


def fast_and_softmax(ranked: list[str], specs: dict[str, DetectorSpec]) -> list[str] | None:
    """Return the best two architectures that differ only in fast and softmax fusion, the fast one first; None without."""
    seen: dict[str, str] = {}
    pairs = []
    for place, digest in enumerate(ranked):
        kinds = {kind.removeprefix("channel_") for kind in fusions_in(specs[digest])}
        if kinds not in ({"fast"}, {"softmax"}):
            continue
        key = _key_without_kind(specs[digest])
        other = seen.setdefault(key, digest)
        if other != digest and {kind.removeprefix("channel_") for kind in fusions_in(specs[other])} != kinds:
            pairs.append((ranked.index(other), place, [digest, other] if kinds == {"fast"} else [other, digest]))
    return min(pairs)[2] if pairs else None


def weights_table(runs: Runs, frontier: Frontier, specs: dict[str, DetectorSpec]) -> pd.DataFrame:
    """Return the recorded weights of the architectures' complete trials, of the search and with fresh seeds.

    They are Runs.fusion_weights with architecture, seed, fusion and input_name ("P4 in": a cell's input, "P4 (7)": node 7).
    """
    trials = pd.concat([frontier.trials, frontier.finalists])[["trial", "architecture", "seed"]]
    trials = trials[trials["architecture"].isin(list(specs))].astype({"trial": int})
    fusions = {digest: " + ".join(sorted(fusions_in(spec))).replace("_", " ") for digest, spec in specs.items()}
    levels = {digest: spec.topology.num_inputs for digest, spec in specs.items()}
    table = runs.fusion_weights(trials["trial"].tolist()).merge(trials, on="trial")
    table = table[np.isfinite(table["weight"].astype(float))].reset_index(drop=True)
    is_cells = table["input"] < table["architecture"].map(levels)
    ends = np.where(is_cells, " in", " (" + table["input"].astype(str) + ")")
    names: pd.Series[str] = "P" + table["input_level"].astype(str) + ends
    return table.assign(fusion=table["architecture"].map(fusions), input_name=names)


def last_weights(table: pd.DataFrame) -> pd.DataFrame:
    """Return the weights of each trial's last epoch."""
    found: pd.DataFrame = table[table["epoch"] == table.groupby("trial")["epoch"].transform("max")]
    return found


def fusions_in(spec: DetectorSpec) -> set[str]:
    """Return the learned fusions of the nodes with several inputs."""
    return {node.fusion for node in spec.topology.nodes if len(node.inputs) > 1 and node.fusion in WEIGHTED}


def _key_without_kind(spec: DetectorSpec) -> str:
    """Return a spec as text with softmax written as fast; equal for specs that differ only in that."""
    topology = spec.topology
    nodes = [dataclasses.replace(node, fusion=node.fusion.replace("softmax", "fast")) for node in topology.nodes]
    return json.dumps(
        {**spec.to_dict(), "topology": dataclasses.replace(topology, nodes=tuple(nodes)).to_dict()}, sort_keys=True
    )
