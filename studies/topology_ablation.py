"""Which feature network is best? The paper's Table 5 and three more, at the paper's repeats and at equal multiply-adds.

    scaling-lab run studies/topology_ablation.py                     6 trials, 3 to 6 minutes on 2 CPU cores: a demonstration
    scaling-lab run studies/topology_ablation.py --form seeds        all 9, 6 epochs, 5 seeds, about half an hour
    scaling-lab run studies/topology_ablation.py --form matched      the same, each network at the width of BiFPN's cost
    scaling-lab run studies/topology_ablation.py --form paper --data coco:DIR       D3 with 5 cells instead of 6, on GPUs
    scaling-lab run studies/topology_ablation.py --form paper_matched --data coco:DIR

The paper form has 27 training runs of 300 epochs (`paper_matched` too), each on one GPU and 8 CPU cores: about 292 A100 days in
total. This is an estimate from NVIDIA's published 255 images/s for D0 on one A100, scaled by activations. A batch has 8 parts,
which fit a GPU of 80 GB. `scaling-lab plan` with this form measures your machine.

Published result to compare with: arXiv:1911.09070v7, Table 5 (COCO val AP of repeated FPN 42.3, FPN + PANet 44.1,
NAS-FPN 43.2, fully-connected 43.1, BiFPN 44.0 without weights and 44.4 with them, at about EfficientDet-D3's size). The
demonstration is a proxy with one seed and supports no claim about any of the networks.
"""

from typing import Any

from scaling_lab import Coco, DetectorSpec, Recipe, Shapes, Study
from search_spaces.feature_networks import TABLE_5, space

# Classes of Shapes and of COCO: costs are matched with the classes of the training data.
SHAPES_CLASSES, COCO_CLASSES = 8, 80


def _demonstration(trial: Any) -> DetectorSpec:
    return space(trial, names=("fully_connected", "repeated_fpn", "panet", "bifpn", "nas_fpn", "none"))


def _matched(trial: Any) -> DetectorSpec:
    return space(trial, num_classes=SHAPES_CLASSES)


def _table_5(trial: Any) -> DetectorSpec:
    return space(trial, base=TABLE_5)


def _table_5_matched(trial: Any) -> DetectorSpec:
    return space(trial, base=TABLE_5, num_classes=COCO_CLASSES)


def _smoke(trial: Any) -> DetectorSpec:
    return space(trial, names=("none", "bifpn"))


_SEEDS = {
    "space": space,
    "recipe": Recipe.short(epochs=6, eval_every=3),
    "seeds": (0, 1, 2, 3, 4),
}
_PAPER = {
    "space": _table_5,
    "data": Coco(folder="coco"),  # or the folder of --data
    "recipe": Recipe.paper(accumulate=8),
    "seeds": (0, 1, 2),
    "gpus_per_trial": 1,
    "cpus_per_trial": 8,
}

STUDY = Study(
    question="Which feature network finds objects best?",
    space=_demonstration,
    data=Shapes(train_images=2048),
    recipe=Recipe.short(epochs=4, eval_every=4),
    sampler="grid",
    baseline={"network": "repeated_fpn"},
    report="reports/topology_ablation.py",
    forms={
        "smoke": {
            "space": _smoke,
            "data": Shapes(train_images=32, val_images=8),
            "recipe": Recipe.short(epochs=1, batch_size=8),
            "baseline": {"network": "none"},
        },
        "seeds": _SEEDS,
        "matched": {**_SEEDS, "space": _matched},
        "paper": _PAPER,
        "paper_matched": {**_PAPER, "space": _table_5_matched},
    },
)
