"""How much AP do backbone and feature network contribute? Each changed alone, as in the paper's Table 4.

    scaling-lab run studies/backbone_and_network.py                 4 trials, about 5 minutes on 2 CPU cores: a demonstration
    scaling-lab run studies/backbone_and_network.py --form seeds    6 epochs and 5 seeds, about a quarter of an hour
    scaling-lab run studies/backbone_and_network.py --form paper --data coco:DIR    RetinaNet's and D3's settings, on GPUs

The demonstration has all four pairs of a shallow and a deeper backbone, both of 8 to 64 channels, with FPN and BiFPN.
So each change is tested with either partner. The paper has three detectors on one path.

The paper form has 9 training runs of 300 epochs, each on one GPU and 8 CPU cores: about 57 A100 days in total. This is an
estimate from NVIDIA's published 255 images/s for D0 on one A100, scaled by activations. A batch has 8 parts, which fit a GPU of
80 GB. `scaling-lab plan` with this form measures your machine.

Published result to compare with: arXiv:1911.09070v7, Table 4 (COCO val AP): ResNet-50 with FPN 37.0, EfficientNet-B3 with
FPN 40.3 (+3.3), EfficientNet-B3 with BiFPN 44.4 (+4.1).
"""

import dataclasses
from typing import Any

from scaling_lab import Coco, DetectorSpec, Recipe, Shapes, Study, efficientdet, topologies
from search_spaces.compound import ONE_CELL

BACKBONES = {
    "resnet10t": ONE_CELL.backbone_options,
    "resnet18": {"channels": [8, 16, 32, 64], "stem_width": 8, "stem_type": "deep"},
}


def _small(trial: Any) -> DetectorSpec:
    backbone = trial.suggest_categorical("backbone", list(BACKBONES))
    network = trial.suggest_categorical("network", ["fpn", "bifpn"])
    return dataclasses.replace(
        ONE_CELL,
        backbone=backbone,
        backbone_options=BACKBONES[backbone],
        topology=getattr(topologies, network)(3, 7, fusion="fast"),
    )


def _paper(trial: Any) -> DetectorSpec:
    """Return a row of the table; other differences between the networks are those of the paper's two families."""
    detector = trial.suggest_categorical("detector", ["resnet50_fpn", "b3_fpn", "b3_bifpn"])
    if detector == "b3_bifpn":
        return efficientdet("d3")
    return DetectorSpec(
        backbone="resnet50" if detector == "resnet50_fpn" else "tf_efficientnet_b3",
        topology=topologies.fpn(3, 7, fusion="sum"),
        width=256,
        repeats=1,
        head_repeats=4,
        image_size=(640, 640),
        separable=False,
        activation="relu",
    )


STUDY = Study(
    question="Of a better backbone and a better feature network, what does each give by itself?",
    space=_small,
    data=Shapes(train_images=2048),
    recipe=Recipe.short(epochs=4, eval_every=4),
    sampler="grid",
    baseline={"backbone": "resnet10t", "network": "fpn"},
    report="reports/topology_ablation.py",
    forms={
        "smoke": {
            "data": Shapes(train_images=16, val_images=8),
            "recipe": Recipe.short(epochs=1, batch_size=8),
            "trials": 2,
        },
        # Seeds differ from the topology ablation's and the fusion study's, for independent training runs.
        "seeds": {"recipe": Recipe.short(epochs=6, eval_every=3), "seeds": (20, 21, 22, 23, 24)},
        "paper": {
            "space": _paper,
            "data": Coco(folder="coco"),  # or the folder of --data
            "recipe": Recipe.paper(accumulate=8),
            "baseline": {"detector": "resnet50_fpn"},
            "seeds": (0, 1, 2),
            "gpus_per_trial": 1,
            "cpus_per_trial": 8,
        },
    },
)
