"""Does a short training rank feature networks as a long one does? One space under two protocols.

    scaling-lab run studies/proxy.py                    the cheap protocol: 2 epochs, 24 trials, about 12 minutes on 2 CPU cores
    scaling-lab run studies/proxy.py --form long        the dear one: 8 epochs, the same 24 trials, about 45 minutes
    scaling-lab report runs/proxy runs/proxy-long --report reports/proxy.py
    scaling-lab run studies/proxy.py --form paper_short --data coco:DIR         12 epochs of D0, on GPUs
    scaling-lab run studies/proxy.py --form paper --data coco:DIR               the whole recipe

The report gives the rank correlation with its interval and its noise ceiling, beside what more parameters and more
multiply-adds alone would have told.

Published result to compare with: none in arXiv:1911.09070. NAS-FPN (arXiv:1904.07392) searched with ten epochs of a small
backbone; EcoNAS (arXiv:2001.01233) measured for classifiers how such rankings agree.
"""

import dataclasses
from typing import Any

from scaling_lab import Coco, DetectorSpec, Recipe, Shapes, Study, efficientdet
from search_spaces.compound import SMALL
from search_spaces.topology import space

NAMES = ("none", "fpn", "panet", "bifpn")


def _small(trial: Any) -> DetectorSpec:
    width = trial.suggest_categorical("width", [16, 32, 48])
    return dataclasses.replace(space(trial, base=SMALL.base, names=NAMES, fusions=("fast",), repeats=(2,)), width=width)


def _d0(trial: Any) -> DetectorSpec:
    width = trial.suggest_categorical("width", [48, 64, 88])
    base = efficientdet("d0")
    return dataclasses.replace(space(trial, base=base, names=NAMES, fusions=("fast",), repeats=(3,)), width=width)


_PAPER = {
    "space": _d0,
    "data": Coco(folder="coco"),  # or where --data says
    "baseline": {"topology": "fpn", "width": 64},
    "gpus_per_trial": 1,
    "cpus_per_trial": 8,
}

STUDY = Study(
    question="Does a short training rank feature networks and widths as a long one does, better than their size would?",
    space=_small,
    data=Shapes(train_images=2048),
    recipe=Recipe.short(epochs=2, eval_every=2),
    sampler="grid",
    seeds=(0, 1),
    baseline={"topology": "fpn", "width": 32},
    forms={
        "smoke": {
            "data": Shapes(train_images=16, val_images=8),
            "recipe": Recipe.short(epochs=1, batch_size=8),
            "trials": 2,
        },
        "long": {"recipe": Recipe.short(epochs=8, eval_every=2)},
        "paper_short": {**_PAPER, "recipe": dataclasses.replace(Recipe.paper(), epochs=12)},
        "paper": {**_PAPER, "recipe": Recipe.paper()},
    },
)
