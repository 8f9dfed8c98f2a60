"""Is the proxy valid? The topology ablation under cheaper protocols: significant differences, and the same ranking?

    scaling-lab run studies/proxy.py                         1 epoch, 45 trials, about 6 minutes on 2 CPU cores
    scaling-lab run studies/proxy.py --form three_epochs     3 epochs, about 15 minutes
    scaling-lab run studies/proxy.py --form small_images     6 epochs at 96 px, about 25 minutes
    scaling-lab run studies/topology_ablation.py --form seeds          the full protocol: 6 epochs at 128 px
    scaling-lab report runs/proxy runs/topology_ablation-seeds --report reports/proxy.py
    scaling-lab run studies/proxy.py --form paper --data coco:DIR      12 epochs of the paper's recipe for 300, on GPUs

At 96 px the light is within the receptive field of P3's own features, so there the task may be easier, or different. The
report gives the rank correlation with its interval and noise ceiling, next to those of parameters and multiply-adds.

The paper form has 27 training runs of 12 epochs, each on one GPU and 8 CPU cores: about 12 A100 days in total. This is an
estimate from NVIDIA's published 255 images/s for D0 on one A100, scaled by activations. A batch has 8 parts, which fit a GPU of
80 GB. `scaling-lab plan` with this form measures your machine.

Published result to compare with: none in arXiv:1911.09070. NAS-FPN (arXiv:1904.07392) searched with ten epochs of a small
backbone; EcoNAS (arXiv:2001.01233) measured the agreement of such rankings for classifiers.
"""

import dataclasses
from typing import Any

from scaling_lab import Coco, DetectorSpec, Recipe, Shapes, Study
from search_spaces.compound import ONE_CELL
from search_spaces.feature_networks import TABLE_5, space


def _small_images(trial: Any) -> DetectorSpec:
    return space(trial, base=dataclasses.replace(ONE_CELL, image_size=(96, 96)))


def _table_5(trial: Any) -> DetectorSpec:
    return space(trial, base=TABLE_5)


STUDY = Study(
    question="Do shorter trainings and smaller images tell feature networks apart, and rank them as the topology ablation does?",
    space=space,
    data=Shapes(train_images=2048),
    recipe=Recipe.short(epochs=1, eval_every=1),
    sampler="grid",
    seeds=(30, 31, 32, 33, 34),  # distinct from the full protocol's, since shared seeds would inflate the agreement
    baseline={"network": "repeated_fpn"},
    report="reports/topology_ablation.py",
    forms={
        "smoke": {
            "data": Shapes(train_images=16, val_images=8),
            "recipe": Recipe.short(epochs=1, batch_size=8),
            "trials": 2,
        },
        "three_epochs": {"recipe": Recipe.short(epochs=3, eval_every=3)},
        "small_images": {"space": _small_images, "recipe": Recipe.short(epochs=6, eval_every=3)},
        "paper": {
            "space": _table_5,
            "data": Coco(folder="coco"),  # or the folder of --data
            "recipe": Recipe.paper(epochs=12, accumulate=8),
            "seeds": (0, 1, 2),
            "gpus_per_trial": 1,
            "cpus_per_trial": 8,
        },
    },
)
