"""How should a node weight its inputs? Softmax, the paper's fast fusion, sum and unbounded weights compared.

    scaling-lab run studies/fusion.py                     4 trials, 3 to 6 minutes on 2 CPU cores: a demonstration
    scaling-lab run studies/fusion.py --form seeds        6 epochs and 5 seeds, about a quarter of an hour
    scaling-lab run studies/fusion.py --form paper --data coco:DIR          EfficientDet-D0's, D2's and D4's size, on GPUs
    scaling-lab measure runs/fusion --profile             latency of each node and in total on this device

Its report compares the learned weights of fast and softmax fusion.

The paper form has 36 training runs of 300 epochs, each on one GPU and 8 CPU cores: about 309 A100 days in total. This is an
estimate from NVIDIA's published 255 images/s for D0 on one A100, scaled by activations. A batch has 8 parts, which fit a GPU of
80 GB. `scaling-lab plan` with this form measures your machine.

Published result to compare with: arXiv:1911.09070v7, Table 6: fast fusion has 0.01 to 0.11 AP less than softmax on three
detectors and is 1.26 to 1.31 times as fast on a GPU; Figure 5: their learned weights are similar.
"""

from typing import Any

from scaling_lab import Coco, DetectorSpec, Recipe, Shapes, Study, efficientdet
from search_spaces.compound import ONE_CELL
from search_spaces.topology import space

FUSIONS = ("fast", "softmax", "unbounded", "sum")


def _small(trial: Any) -> DetectorSpec:
    return space(trial, base=ONE_CELL, names=("bifpn",), fusions=FUSIONS, repeats=(1,))


def _smoke(trial: Any) -> DetectorSpec:
    return space(trial, base=ONE_CELL, names=("bifpn",), fusions=("fast", "softmax"), repeats=(1,))


def _paper(trial: Any) -> DetectorSpec:
    model = trial.suggest_categorical("model", ["d0", "d2", "d4"])
    base = efficientdet(model)
    return space(trial, base=base, names=("bifpn",), fusions=FUSIONS, repeats=(base.repeats,))


STUDY = Study(
    question="Does a cheap normalisation of fusion weights cost AP, and do weights help at all?",
    space=_small,
    data=Shapes(train_images=2048),
    recipe=Recipe.short(epochs=4, eval_every=1),
    sampler="grid",
    baseline={"fusion": "fast"},
    report="reports/topology_ablation.py",
    forms={
        "smoke": {
            "space": _smoke,
            "data": Shapes(train_images=16, val_images=8),
            "recipe": Recipe.short(epochs=1, batch_size=8),
        },
        # Seeds differ from the topology ablation's, which shares two networks, for independent training runs.
        "seeds": {"recipe": Recipe.short(epochs=6, eval_every=1), "seeds": (10, 11, 12, 13, 14)},
        "paper": {
            "space": _paper,
            "data": Coco(folder="coco"),  # or the folder of --data
            "recipe": Recipe.paper(accumulate=8),
            "baseline": {"model": "d0", "fusion": "fast"},
            "seeds": (0, 1, 2),
            "gpus_per_trial": 1,
            "cpus_per_trial": 8,
        },
    },
)
