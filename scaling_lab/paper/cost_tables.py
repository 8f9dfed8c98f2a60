"""The paper's cost tables compared with counted costs: Tables 1, 2, 4 and 5 of arXiv:1911.09070v7."""

from __future__ import annotations

from scaling_lab.architecture import efficientdet
from scaling_lab.cost import count
from scaling_lab.paper.backbone_costs import backbone_table
from scaling_lab.paper.network_costs import feature_network_table
from scaling_lab.paper.published_costs import RELEASED_MACS, table_2
from scaling_lab.paper.released_settings import scaling_table
from scaling_lab.paper.side_by_side import Column, Table, compared, comparison, difference, rounds_to


def cost_tables() -> list[Table]:
    """Return Tables 1, 2, 4 and 5 with counted costs, in this order."""
    return [scaling_table(), detector_table(), backbone_table(), feature_network_table()]


def detector_table() -> Table:
    """Compare EfficientDet's rows of Table 2 with the counted costs of the released models."""
    published = table_2()
    costs = {name: count(efficientdet(name)) for name in published}
    rows = tuple(
        {
            "model": name.capitalize(),
            **comparison("params_m", costs[name].params_m, paper.params),
            **comparison("gmacs", costs[name].gmacs, paper.gmacs),
            "gmacs_released_code": RELEASED_MACS[name] / 1e9 if name in RELEASED_MACS else None,
        }
        for name, paper in published.items()
    )
    below = [-difference(costs[name].macs, macs) for name, macs in RELEASED_MACS.items()]
    unlike = [name.capitalize() for name, paper in published.items() if not rounds_to(costs[name].gmacs, paper.gmacs)]
    return Table(
        title="Table 2: EfficientDet's rows, whole models",
        columns=(
            Column(key="model", heading="model"),
            *compared("params_m", "parameters, millions", ".3f"),
            *compared("gmacs", "multiply-adds, billions", ".3f"),
            Column(key="gmacs_released_code", heading="released code", form=".3f"),
        ),
        rows=rows,
        notes=(
            "The paper and its code count TensorFlow's operations / 2: besides convolutions also biases, poolings, fusions and "
            f"activations. Convolutions alone, which gmacs are, come to {min(below):.1f} to {max(below):.1f} % less than the "
            f"code's own count. So these do not round to the paper's value: {', '.join(unlike)}.",
            '"released code": google/automl, efficientdet_arch_test.py. It lacks D7x, for which TensorFlow 2.15.1\'s profiler '
            "gives 411.1 and the paper 410.",
            "D5: the code's own count rounds to 136; the paper has 135, google/automl's README 130.",
        ),
    )
