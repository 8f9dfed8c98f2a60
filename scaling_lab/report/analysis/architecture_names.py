"""Short names for architectures: what they differ in, in words. It reads specs and looks nothing up by a name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from scaling_lab.architecture import DetectorSpec, Topology

SPELLINGS = {
    "none": "Unconnected levels",
    "fpn": "FPN",
    "panet": "PANet",
    "simplified_panet": "Simplified PANet",
    "bifpn": "BiFPN",
    "nas_fpn": "NAS-FPN",
    "fully_connected": "Fully connected FPN",
    "quad_fpn": "Quad FPN",
}


def topology_name(topology: Topology) -> str:
    """Spell a topology as its paper does, or by its digest where it has no name."""
    name = topology.published_name
    return SPELLINGS.get(name, name.replace("_", " ")) if name else f"custom {topology.digest[:6]}"


def topology_fusion(topology: Topology) -> str:
    """Name the fusions of the nodes that fuse."""
    return " + ".join(sorted({node.fusion.replace("_", " ") for node in topology.nodes if len(node.inputs) > 1}))


def short_names(specs: Mapping[str, DetectorSpec]) -> dict[str, str]:
    """Name each architecture by what varies among them, such as "BiFPN" or "BiFPN, width 88"; no two alike."""
    traits = {digest: _traits(spec) for digest, spec in specs.items()}
    keys = next(iter(traits.values()), {}).keys()
    varying = [key for key in keys if len({values[key] for values in traits.values()}) > 1]
    if not _fusion_tells_apart(specs):
        varying = [key for key in varying if key != "fusion"]
    names = {digest: ", ".join(values[key] for key in varying if values[key]) for digest, values in traits.items()}
    names = {digest: name or topology_name(specs[digest].topology) for digest, name in names.items()}
    counts = Counter(names.values())
    return {digest: name if counts[name] == 1 else f"{name} ({digest[:6]})" for digest, name in names.items()}


def _traits(spec: DetectorSpec) -> dict[str, str]:
    height, width = spec.image_size
    return {
        "topology": topology_name(spec.topology),
        "fusion": topology_fusion(spec.topology),
        "levels": f"P{spec.topology.min_level}–P{spec.topology.max_level}",
        "backbone": spec.backbone,
        "width": f"width {spec.width}",
        "repeats": f"×{spec.repeats}",
        "head_repeats": f"heads ×{spec.head_repeats}",
        "image_size": f"{width} px" if height == width else f"{width}×{height} px",
    }


def _fusion_tells_apart(specs: Mapping[str, DetectorSpec]) -> bool:
    """Say whether one wiring occurs with two fusions; otherwise the wiring's name is enough."""
    fusions: dict[str, set[str]] = {}
    for spec in specs.values():
        fusions.setdefault(topology_name(spec.topology), set()).add(topology_fusion(spec.topology))
    return any(len(found) > 1 for found in fusions.values())
