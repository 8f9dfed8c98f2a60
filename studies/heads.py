"""Anchors or points? Both heads at equal multiply-adds, and on photographs anchors that were fitted to them.

    scaling-lab run studies/heads.py                      2 heads, 5 seeds on Shapes, about a quarter of an hour on 2 CPU cores
    scaling-lab run studies/heads.py --form photographs   3 heads, 5 seeds on 439 photographs, about an hour

The form `photographs` reads `vehicles`, a folder of images (docs/images.md says where it can be had), and ImageNet weights from
the folder `weights`, which `scaling-lab backbones weights` makes. For other images, change VEHICLES and the number of classes.

Before the runs: a head is better where the 95 % interval of the difference of mean AP excludes 0 after Holm's correction.
"""

import functools
from typing import Any

from scaling_lab import Anchors, Coco, DetectorSpec, Recipe, Shapes, Study, fit_anchors
from search_spaces.feature_networks import PHOTOGRAPHS
from search_spaces.heads import space

SHAPES_CLASSES, VEHICLES_CLASSES = 8, 5
VEHICLES = Coco(folder="vehicles")


@functools.cache
def _fitted() -> Anchors:
    return fit_anchors(VEHICLES, PHOTOGRAPHS)


def _shapes(trial: Any) -> DetectorSpec:
    return space(trial, num_classes=SHAPES_CLASSES)


def _photographs(trial: Any) -> DetectorSpec:
    heads = ("anchors", "fitted", "points")
    return space(trial, PHOTOGRAPHS, heads, num_classes=VEHICLES_CLASSES, fitted=_fitted())


STUDY = Study(
    question="Does a head of points find objects as well as one with anchors?",
    space=_shapes,
    data=Shapes(train_images=2048),
    recipe=Recipe.short(epochs=6, eval_every=3),
    sampler="grid",
    seeds=(0, 1, 2, 3, 4),
    baseline={"head": "anchors"},
    forms={
        "smoke": {
            "data": Shapes(train_images=32, val_images=8),
            "recipe": Recipe.short(epochs=1, batch_size=8),
            "seeds": (0,),
        },
        "photographs": {
            "space": _photographs,
            "data": VEHICLES,
            "recipe": Recipe.finetune(pretrained="weights"),
            "seeds": (0, 1, 2, 3, 4),
        },
    },
)
