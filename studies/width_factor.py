"""How fast should the width grow? The paper's grid of six width factors, with the paper's other slopes.

    scaling-lab run studies/width_factor.py                     6 trials, about 6 minutes on 2 CPU cores: a demonstration
    scaling-lab run studies/width_factor.py --form seeds        at phi 1 and 2, 5 epochs, 5 seeds, about 55 minutes
    scaling-lab run studies/width_factor.py --form paper --data coco:DIR            at phi 1, 2 and 3, on GPUs

The paper form has 54 training runs of 300 epochs, each on one GPU and 8 CPU cores: about 347 A100 days in total. This is an
estimate from NVIDIA's published 255 images/s for D0 on one A100, scaled by activations. A batch has 8 parts, which fit a GPU of
80 GB. `scaling-lab plan` with this form measures your machine.

Published result to compare with: arXiv:1911.09070v7, section 4.2 chose 1.35 from {1.2, 1.25, 1.3, 1.35, 1.4, 1.45} and
gives no AP for the others.
"""

from typing import Any

from scaling_lab import Coco, CompoundScaling, DetectorSpec, Recipe, Shapes, Study
from search_spaces.width_factor import space


def _several(trial: Any) -> DetectorSpec:
    return space(trial, phis=(1.0, 2.0))


def _paper(trial: Any) -> DetectorSpec:
    return space(trial, rule=CompoundScaling(), phis=(1.0, 2.0, 3.0))


STUDY = Study(
    question="By which factor should the width grow with phi: 1.2, 1.25, 1.3, 1.35, 1.4 or 1.45?",
    space=space,
    data=Shapes(train_images=2048),
    recipe=Recipe.short(epochs=4, eval_every=4),
    sampler="grid",
    baseline={"width_factor": 1.35},
    report="reports/width_factor.py",
    forms={
        "smoke": {
            "data": Shapes(train_images=16, val_images=8),
            "recipe": Recipe.short(epochs=1, batch_size=8),
            "trials": 2,
        },
        "seeds": {
            "space": _several,
            "recipe": Recipe.short(epochs=5, eval_every=5),
            "seeds": (0, 1, 2, 3, 4),
        },
        "paper": {
            "space": _paper,
            "data": Coco(folder="coco"),  # or the folder of --data
            "recipe": Recipe.paper(accumulate=8),
            "seeds": (0, 1, 2),
            "gpus_per_trial": 1,
            "cpus_per_trial": 8,
        },
    },
)
