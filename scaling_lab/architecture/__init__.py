"""What a detector is, as plain data. Nothing here imports torch, ray or pandas."""

from scaling_lab.architecture import topologies
from scaling_lab.architecture.compound_scaling import CompoundScaling
from scaling_lab.architecture.effdet import effdet_spec
from scaling_lab.architecture.efficientdet import efficientdet
from scaling_lab.architecture.fusions import FUSIONS
from scaling_lab.architecture.node import Node
from scaling_lab.architecture.spec import Anchors, DetectorSpec, Pixels
from scaling_lab.architecture.topology import Topology

__all__ = [
    "FUSIONS",
    "Anchors",
    "CompoundScaling",
    "DetectorSpec",
    "Node",
    "Pixels",
    "Topology",
    "effdet_spec",
    "efficientdet",
    "topologies",
]
