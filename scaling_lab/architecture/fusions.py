"""The table of fusions: how a node combines its inputs x_0 … x_n, each resampled to the node's size and width.

To add one, write its module (see scaling_lab/model/fusion.py) in its own file and add a line here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """One line of the table.

    `home` is "module:name" of the class of its torch module, made from (num_inputs, width). `formula` has learned weights w,
    one for each input. `ordered_inputs` is the number of first inputs whose order matters, and the least number of inputs.
    """

    name: str
    home: str
    formula: str
    source: str = ""
    is_weighted: bool = False
    ordered_inputs: int = 0


_HOME = "scaling_lab.model.fusion"
_BIFPN = "arXiv:1911.09070, section 3.3"
_FUSE_FEATURES = "google/automl efficientdet, fuse_features"
_NAS_FPN = "arXiv:1904.07392"
_GATED = "x_0 + sigmoid(pool(x_0)) x_1 + Σ_{i>1} x_i, pool over the whole image"

FUSIONS: dict[str, Fusion] = {
    fusion.name: fusion
    for fusion in (
        Fusion(name="sum", home=f"{_HOME}:Sum", formula="Σ x_i"),
        Fusion(name="mean", home=f"{_HOME}:Mean", formula="Σ x_i / n"),
        Fusion(
            name="fast",
            home=f"{_HOME}:Fast",
            formula="Σ relu(w_i) x_i / (Σ relu(w_j) + 1e-4)",
            source=_BIFPN,
            is_weighted=True,
        ),
        Fusion(name="softmax", home=f"{_HOME}:Softmax", formula="Σ softmax(w)_i x_i", source=_BIFPN, is_weighted=True),
        Fusion(name="unbounded", home=f"{_HOME}:Weighted", formula="Σ w_i x_i", source=_BIFPN, is_weighted=True),
        Fusion(
            name="channel_fast",
            home=f"{_HOME}:ChannelFast",
            formula="fast, with a w_i for each channel",
            source=_FUSE_FEATURES,
            is_weighted=True,
        ),
        Fusion(
            name="channel_softmax",
            home=f"{_HOME}:ChannelSoftmax",
            formula="softmax, with a w_i for each channel",
            source=_FUSE_FEATURES,
            is_weighted=True,
        ),
        Fusion(name="attention_max", home=f"{_HOME}:AttentionMax", formula=_GATED, source=_NAS_FPN, ordered_inputs=2),
        Fusion(name="attention_avg", home=f"{_HOME}:AttentionAvg", formula=_GATED, source=_NAS_FPN, ordered_inputs=2),
    )
}
