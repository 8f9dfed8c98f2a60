"""Short names for architectures: what they differ in, in words, read from their specs."""

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

_TRAITS = ("topology", "fusion", "levels", "backbone", "width", "repeats", "head_repeats", "head", "image_size")


def topology_name(topology: Topology) -> str:
    """Return a topology's name as its paper spells it, or its digest if it has none."""
    name = topology.published_name
    return SPELLINGS.get(name, name.replace("_", " ")) if name else f"custom {topology.digest[:6]}"


def topology_fusion(topology: Topology) -> str:
    """Name the fusions of the nodes that fuse."""
    return " + ".join(sorted({node.fusion.replace("_", " ") for node in topology.nodes if len(node.inputs) > 1}))


def short_names(specs: Mapping[str, DetectorSpec]) -> dict[str, str]:
    """Return distinct names that state what varies between architectures, such as "BiFPN" or "BiFPN, width 88".

    A name leaves out what more than half of the architectures share, and the fusion of a wiring that occurs with one
    fusion only. An architecture with all the common values is named "base".
    """
    traits = {digest: _traits(spec) for digest, spec in specs.items()}
    hidden = {key: _common([values[key] for values in traits.values()]) for key in _TRAITS}
    if len({values["topology"] for values in traits.values()}) > 1:
        hidden["topology"] = None
    hidden["fusion"] = None
    fused = Counter(topology for topology, _ in {(values["topology"], values["fusion"]) for values in traits.values()})
    names = {}
    for digest, values in traits.items():
        named = [
            key for key in _TRAITS if values[key] != hidden[key] and (key != "fusion" or fused[values["topology"]] > 1)
        ]
        names[digest] = ", ".join(values[key] for key in named if values[key]) or (
            "base" if len(specs) > 1 else values["topology"]
        )
    counts = Counter(names.values())
    return {digest: name if counts[name] == 1 else f"{name} ({digest[:6]})" for digest, name in names.items()}


def _common(values: list[str]) -> str | None:
    """Return the value that more than half have, or None."""
    value, count = Counter(values).most_common(1)[0] if values else ("", 0)
    return value if 2 * count > len(values) else None


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
        "head": spec.head,
        "image_size": f"{width} px" if height == width else f"{width}×{height} px",
    }
