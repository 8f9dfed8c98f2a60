"""Is compound scaling better than scaling one dimension? The paper's Figure 6, from one start to equal budgets.

    scaling-lab run studies/compound_scaling.py                     13 trials, about 25 minutes on 2 CPU cores: a demonstration
    scaling-lab run studies/compound_scaling.py --form seeds        5 epochs and 5 seeds, about an hour and a half
    scaling-lab run studies/compound_scaling.py --form paper --data coco:DIR        from D0, 13 detectors, on GPUs

Its report fits a law to each way of scaling and predicts the most expensive model from the others.

The paper form has 39 training runs of 300 epochs, each on one GPU and 8 CPU cores: about 158 A100 days in total. This is an
estimate from NVIDIA's published 255 images/s for D0 on one A100, scaled by activations. A batch has 8 parts, which fit a GPU of
80 GB. `scaling-lab plan` with this form measures your machine.

Published result to compare with: arXiv:1911.09070v7, Figure 6: from one start, at 10 to 60 billion multiply-adds, compound
scaling is above image size, channels, BiFPN layers and box/class layers alone; the figure gives no numbers.
"""

from typing import Any

from scaling_lab import Coco, CompoundScaling, DetectorSpec, Recipe, Shapes, Study
from search_spaces.single_dimension import space


def _paper(trial: Any) -> DetectorSpec:
    budgets = (1.0, 1.5, 2.5, 6.0, 15.0)
    return space(trial, rule=CompoundScaling(), budgets=budgets, alone=(1.5, 2.5))


def _smoke(trial: Any) -> DetectorSpec:
    return space(trial, budgets=(1.0, 1.5), dimensions=("compound", "width"))


STUDY = Study(
    question="Is a detector scaled better in all dimensions together than in any one alone, at equal multiply-adds?",
    space=space,
    data=Shapes(train_images=2048),
    recipe=Recipe.short(epochs=4, eval_every=4),
    sampler="grid",
    baseline={"dimension": "compound", "times_gmacs": 1.0},
    report="reports/scaling.py",
    forms={
        "smoke": {
            "space": _smoke,
            "data": Shapes(train_images=16, val_images=8),
            "recipe": Recipe.short(epochs=1, batch_size=8),
            "trials": 2,
        },
        "seeds": {"recipe": Recipe.short(epochs=5, eval_every=5), "seeds": (0, 1, 2, 3, 4)},
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
