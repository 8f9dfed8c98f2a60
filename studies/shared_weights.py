"""Which feature network, of which size, is best for its cost? One training for all of them, from which trials read AP.

    scaling-lab run studies/shared_weights.py                       300 trials on Shapes
    scaling-lab run studies/shared_weights.py --form photographs    all 396 points on 439 photographs

The form `photographs` reads `vehicles`, a folder of images (docs/images.md says where it can be had), and ImageNet weights from
the folder `weights`, which `scaling-lab backbones weights` makes.

How well shared weights rank detectors that are trained alone is measured by benchmarks/shared_weights.py. To train a detector of
the front alone: `scaling-lab train runs/shared_weights/specs/<digest>.json`.
"""

from typing import Any

from scaling_lab import Coco, DetectorSpec, Recipe, Shapes, SharedWeights, Study
from search_spaces.feature_networks import PHOTOGRAPHS
from search_spaces.network_sizes import space


def _photographs(trial: Any) -> DetectorSpec:
    return space(trial, PHOTOGRAPHS)


def _smoke(trial: Any) -> DetectorSpec:
    return space(trial, names=("none", "fpn"), widths=(24, 32), repeats=(1,), head_repeats=(1,))


STUDY = Study(
    question="Which feature network, of which size, is best for its cost?",
    space=space,
    data=Shapes(train_images=2048),
    recipe=Recipe.short(epochs=12, eval_every=12),
    shared=SharedWeights(between=2),
    sampler="nsga2",
    trials=300,
    forms={
        "smoke": {
            "space": _smoke,
            "data": Shapes(train_images=32, val_images=8),
            "recipe": Recipe.short(epochs=1, batch_size=8),
            "trials": 2,
        },
        "photographs": {
            "space": _photographs,
            "data": Coco(folder="vehicles"),
            "recipe": Recipe.finetune(epochs=40, pretrained="weights", eval_every=40),
            "sampler": "grid",
            "trials": None,
        },
    },
)
