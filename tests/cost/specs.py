"""Any detector that hypothesis draws, small enough to be counted whole. It holds no tests."""

from __future__ import annotations

from hypothesis import strategies as st

from scaling_lab import DetectorSpec, Node, Topology
from scaling_lab.architecture import FUSIONS
from scaling_lab.architecture.spec import ACTIVATIONS, DOWNSAMPLINGS, HEADS, PADDINGS, UPSAMPLINGS, Anchors

# Convolutions of all kinds, attention, and sizes that are rounded down (convnext) or up.
BACKBONES = (
    "resnet10t",
    "mobilenetv3_small_050",
    "test_efficientnet",
    "test_convnext",
    "fasternet_t0",
    "edgenext_xx_small",
)


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    """Draw any valid cell without dead nodes; some pass inputs on as they are."""
    low = draw(st.integers(2, 4))
    high = draw(st.integers(low, 7))
    nodes: list[Node] = []
    for _ in range(draw(st.integers(0, 7))):
        ids = range(high - low + 1 + len(nodes))
        inputs = draw(st.lists(st.sampled_from(ids), min_size=1, max_size=7, unique=True))
        fusions = [fusion for fusion in FUSIONS if len(inputs) > 1 or not FUSIONS[fusion].ordered_inputs]
        nodes.append(Node(draw(st.integers(low, high)), tuple(inputs), draw(st.sampled_from(fusions))))
    return Topology(low, high, tuple(nodes)).without_dead_nodes()


def _repeats(topology: Topology) -> st.SearchStrategy[int]:
    """Cells that leave an input unread are not repeated."""
    read = {source for node in topology.nodes for source in node.inputs} | set(topology.outputs)
    return st.integers(1, 3) if read >= set(range(topology.num_inputs)) else st.just(1)


# What `specs` draws.
DRAWN = {
    "backbone", "topology", "width", "repeats", "head_repeats", "image_size", "num_classes", "anchors", "activation",
    "head_activation", "head", "padding", "downsampling", "upsampling", "separable", "bias_before_norm", "norm_before_activation",
}  # fmt: skip


@st.composite
def specs(draw: st.DrawFn) -> DetectorSpec:
    """Draw any detector."""
    topology = draw(topologies())
    return DetectorSpec(
        backbone=draw(st.sampled_from(BACKBONES)),
        topology=topology,
        width=draw(st.sampled_from([16, 24, 32, 40, 48, 64]) | st.integers(1, 100)),  # some are channels of a backbone
        repeats=draw(_repeats(topology)),
        head_repeats=draw(st.integers(0, 4)),
        image_size=(draw(st.integers(64, 200)), draw(st.integers(64, 200))),
        num_classes=draw(st.integers(1, 20)),
        anchors=Anchors(octave_scales=draw(st.integers(1, 3))),
        activation=draw(st.sampled_from(ACTIVATIONS)),
        head_activation=draw(st.sampled_from([None, *ACTIVATIONS])),
        head=draw(st.sampled_from(HEADS)),
        padding=draw(st.sampled_from(PADDINGS)),
        downsampling=draw(st.sampled_from(DOWNSAMPLINGS)),
        upsampling=draw(st.sampled_from(UPSAMPLINGS)),
        **{name: draw(st.booleans()) for name in ("separable", "bias_before_norm", "norm_before_activation")},
    )
