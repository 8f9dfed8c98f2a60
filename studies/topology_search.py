"""Does a search find a better cell than BiFPN? NAS-FPN-like cells within its multiply-adds, the best with fresh seeds.

    scaling-lab run studies/topology_search.py                      16 trials and 3 finalists, about 25 minutes on 2 CPU cores
    scaling-lab run studies/topology_search.py --sampler random     random search with the same budget, for the report
    scaling-lab run studies/topology_search.py --form seeds         60 trials of 6 epochs and 3 finalists, 45 minutes
    scaling-lab run studies/topology_search.py --form edges         subsets of the edges of a fully-connected network instead
    scaling-lab run studies/topology_search.py --form paper --data coco:DIR         at D0's size, 300 trials, on GPUs

Its report compares the finalists with BiFPN, which is trained with the same fresh seeds, and shows the search's progress.

The paper form has 318 training runs of 300 epochs, each on one GPU and 8 CPU cores: about 508 A100 days in total. This is an
estimate from NVIDIA's published 255 images/s for D0 on one A100, scaled by activations. A batch has 2 parts, which fit a GPU of
32 GB. `scaling-lab plan` with this form measures your machine.

Published result to compare with: arXiv:1911.09070v7, Table 5: NAS-FPN, found by a search of thousands of cells
(arXiv:1904.07392), has 43.16 AP where BiFPN has 44.39, with 6 % more multiply-adds and 19 % fewer parameters.
"""

from typing import Any

from scaling_lab import Coco, DetectorSpec, Finalists, Recipe, Shapes, Study, efficientdet
from search_spaces import edges, nas_cell
from search_spaces.compound import ONE_CELL


def _with_bifpn(trial: Any, base: DetectorSpec, space: Any) -> DetectorSpec:
    """Add BiFPN, the base's own cell and the baseline, as a point to a space."""
    if trial.suggest_categorical("cell", ["searched", "bifpn"]) == "bifpn":
        return base
    found: DetectorSpec = space(trial, base=base)
    return found


def _cells(trial: Any) -> DetectorSpec:
    return _with_bifpn(trial, ONE_CELL, nas_cell.space)


def _edges(trial: Any) -> DetectorSpec:
    return _with_bifpn(trial, ONE_CELL, edges.space)


def _paper(trial: Any) -> DetectorSpec:
    return _with_bifpn(trial, efficientdet("d0"), nas_cell.space)


STUDY = Study(
    question="Is there a better cell than BiFPN at no more multiply-adds, and does it look like BiFPN?",
    space=_cells,
    data=Shapes(train_images=2048),
    recipe=Recipe.short(epochs=4, eval_every=4),
    sampler="tpe",
    trials=16,
    objectives={"ap": "maximize"},
    limits={"gmacs": 0.016},
    finalists=Finalists(count=3, seeds=(200, 201, 202, 203, 204), baseline=True),
    baseline={"cell": "bifpn"},
    forms={
        "smoke": {
            "data": Shapes(train_images=16, val_images=8),
            "recipe": Recipe.short(epochs=1, batch_size=8),
            "trials": 2,
            "finalists": Finalists(count=1, seeds=(200,), baseline=True),
        },
        "seeds": {"trials": 60, "recipe": Recipe.short(epochs=6, eval_every=6)},
        "edges": {"space": _edges},
        "paper": {
            "space": _paper,
            "data": Coco(folder="coco"),  # or the folder of --data
            "recipe": Recipe.paper(accumulate=2),
            "limits": {"gmacs": 2.55},
            "trials": 300,
            "finalists": Finalists(count=5, seeds=(200, 201, 202), baseline=True),
            "gpus_per_trial": 1,
            "cpus_per_trial": 8,
        },
    },
)
