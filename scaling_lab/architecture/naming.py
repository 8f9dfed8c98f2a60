"""Names of topologies and detectors, as commands accept and print them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from scaling_lab.architecture import topologies
from scaling_lab.architecture.effdet import effdet_models, effdet_spec
from scaling_lab.architecture.efficientdet import NAMES, efficientdet
from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.architecture.topology import Topology
from scaling_lab.checks import near
from scaling_lab.errors import UserError

PUBLISHED: dict[str, Callable[..., Topology]] = {
    name: getattr(topologies, name) for name in topologies.__all__ if name != "none"
}
PUBLISHED = {"none": topologies.none, **PUBLISHED}


def topology_by_name(name: str, min_level: int = 3, max_level: int = 7, fusion: str | None = None) -> Topology:
    """Return a published topology by its function's name. Raises UserError with the known names."""
    if name not in PUBLISHED:
        raise UserError(f"topology {name!r} is unknown; allowed are {', '.join(PUBLISHED)}")
    chosen = {} if fusion is None else {"fusion": fusion}
    return PUBLISHED[name](min_level, max_level, **chosen)


def spec_by_name(name: str) -> DetectorSpec:
    """Return a detector by name: a released model ("d0"), an effdet name ("tf_efficientdet_d0"), a spec's JSON file.

    Raises UserError with the known names.
    """
    if name.endswith(".json"):
        return DetectorSpec.load(name)
    if name in NAMES:
        return efficientdet(name)
    if name in effdet_models():
        return effdet_spec(name)
    raise UserError(
        f"detector {name!r} is unknown{near(name, [*NAMES, *effdet_models()])}; allowed are {', '.join(NAMES)}, one of "
        f"effdet's {len(effdet_models())} models, such as tf_efficientdet_d0, or a spec's .json file"
    )


@lru_cache(maxsize=4096)
def topology_words(topology: Topology) -> str:
    """Return a topology's name, levels and fusion, such as "bifpn P3-P7 fast", or "custom <digest>"."""
    name = published_name(topology) or f"custom {topology.digest}"
    fusions = sorted({node.fusion for node in topology.nodes if len(node.inputs) > 1})
    words = [name, f"P{topology.min_level}-P{topology.max_level}", "+".join(fusions)]
    return " ".join(word for word in words if word)


@lru_cache(maxsize=4096)
def published_name(topology: Topology) -> str | None:
    """Return the published name of a topology's wiring, regardless of fusion, or None."""
    digest = topology.with_fusion("sum").digest
    for name, make in PUBLISHED.items():
        try:
            known = make(topology.min_level, topology.max_level)
        except UserError:  # a cell of other levels
            continue
        if len(known.nodes) == len(topology.nodes) and known.with_fusion("sum").digest == digest:
            return name
    return None
