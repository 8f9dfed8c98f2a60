"""Which feature network? One factor at a time: the topology changes, all else stays.

    scaling-lab run studies/topology_ablation.py                     6 trials, 3 to 6 minutes on 2 CPU cores: a demonstration
    scaling-lab run studies/topology_ablation.py --form seeds        the same with 5 seeds, about 20 minutes
    scaling-lab run studies/topology_ablation.py --form paper --data coco:DIR       EfficientDet-D3's setting, on GPUs

Published result to compare with: arXiv:1911.09070v7, Table 5 (COCO val AP of repeated FPN 42.3, FPN + PANet 44.1,
NAS-FPN 43.2, fully-connected 43.1, BiFPN 44.4, at EfficientDet-D3's size). The demonstration is a proxy with one seed
and supports no claim about any of the networks (LOG.md says what decides its order).
"""

from typing import Any

from scaling_lab import Coco, DetectorSpec, Recipe, Shapes, Study, efficientdet
from search_spaces.compound import SMALL
from search_spaces.topology import space

# The dearest first: then no worker waits long for the last.
NAMES = ("fully_connected", "panet", "bifpn", "nas_fpn", "fpn", "none")


def _small(trial: Any) -> DetectorSpec:
    return space(trial, base=SMALL.base, names=NAMES, fusions=("fast",), repeats=(2,))


def _d3(trial: Any) -> DetectorSpec:
    return space(trial, base=efficientdet("d3"), names=NAMES, fusions=("fast",), repeats=(5,))


def _smoke(trial: Any) -> DetectorSpec:
    return space(trial, base=SMALL.base, names=("none", "bifpn"), fusions=("fast",), repeats=(1,))


STUDY = Study(
    question="Which feature network finds objects best: none, FPN, PANet, BiFPN, NAS-FPN or a fully-connected one?",
    space=_small,
    data=Shapes(train_images=2048),
    recipe=Recipe.short(epochs=4, eval_every=4),
    sampler="grid",
    baseline={"topology": "fpn"},
    report="reports/topology_ablation.py",
    forms={
        "smoke": {
            "space": _smoke,
            "data": Shapes(train_images=32, val_images=8),
            "recipe": Recipe.short(epochs=1, batch_size=8),
            "baseline": {"topology": "none"},
        },
        "seeds": {"seeds": (0, 1, 2, 3, 4)},
        "paper": {
            "space": _d3,
            "data": Coco(folder="coco"),  # or where --data says
            "recipe": Recipe.paper(),
            "seeds": (0, 1, 2),
            "gpus_per_trial": 1,
            "cpus_per_trial": 8,
        },
    },
)
