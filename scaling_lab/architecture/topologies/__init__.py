"""The published feature-network topologies, each a function of the level range.

Every function takes `fusion` (see FUSIONS), by default "fast", the weighted fusion of arXiv:1911.09070; the papers of FPN
and PANet use "sum". Only the NAS-FPN cell has its own operations.
"""

from scaling_lab.architecture.published import PUBLISHED
from scaling_lab.architecture.topologies.bifpn import bifpn
from scaling_lab.architecture.topologies.fpn import fpn
from scaling_lab.architecture.topologies.fully_connected import fully_connected
from scaling_lab.architecture.topologies.nas_fpn import nas_fpn
from scaling_lab.architecture.topologies.none import none
from scaling_lab.architecture.topologies.panet import panet
from scaling_lab.architecture.topologies.quad_fpn import quad_fpn
from scaling_lab.architecture.topologies.simplified_panet import simplified_panet

__all__ = ["bifpn", "fpn", "fully_connected", "nas_fpn", "none", "panet", "quad_fpn", "simplified_panet"]

PUBLISHED.update(
    none=none,
    bifpn=bifpn,
    fpn=fpn,
    fully_connected=fully_connected,
    nas_fpn=nas_fpn,
    panet=panet,
    quad_fpn=quad_fpn,
    simplified_panet=simplified_panet,
)
