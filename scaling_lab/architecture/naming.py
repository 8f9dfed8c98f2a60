"""Names of topologies and detectors, as commands accept and print them."""

from __future__ import annotations

from scaling_lab.architecture.effdet import effdet_models, effdet_spec
from scaling_lab.architecture.efficientdet import NAMES, efficientdet
from scaling_lab.architecture.published import PUBLISHED
from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.architecture.topology import Topology
from scaling_lab.checks import near
from scaling_lab.errors import UserError


def topology_by_name(name: str, min_level: int = 3, max_level: int = 7, fusion: str | None = None) -> Topology:
    """Return a published topology by its function's name. Raises UserError with the known names."""
    if name not in PUBLISHED:
        raise UserError(f"topology {name!r} is unknown; allowed are {', '.join(PUBLISHED)}")
    chosen = {} if fusion is None else {"fusion": fusion}
    topology: Topology = PUBLISHED[name](min_level, max_level, **chosen)
    return topology


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
