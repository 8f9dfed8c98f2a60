"""How much more hypervolume a point promises whose costs are known and whose value is a normal random variable. Only that.

Source of expected hypervolume improvement: Emmerich, Giannakoglou and Naujoks (2006), IEEE Trans. Evol. Comput. 10(4). Here
the costs are no random variables, which makes it a sum over the heights between the front's values.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scaling_lab.study.fronts import first_front


def expected_improvement(
    mean_M: Tensor,
    deviation_M: Tensor,
    costs_MC: Tensor,
    *,
    values_N: Tensor,
    known_costs_NC: Tensor,
    reference: float,
    reference_costs_C: Tensor,
) -> Tensor:
    """Give the expected gain in hypervolume (M,) of each candidate over the known points.

    Values are to be large, costs small. The hypervolume lies above the value `reference` and below the costs
    `reference_costs_C`. Shapes: M candidates, N known points, C costs (0 to 2); float64.
    """
    costs_M2, known_N2, reference_2 = (_two(x) for x in (costs_MC, known_costs_NC, reference_costs_C))
    values_N = values_N.clamp(min=reference)
    front = first_front(torch.column_stack([-values_N, known_N2]).detach().numpy())
    values_N, known_N2 = values_N[front], known_N2[front]
    order = values_N.argsort(descending=True)
    values_N, known_N2 = values_N[order], known_N2[order]
    # Above a height, those with larger values dominate what costs more than they do.
    above_N1 = _gain(mean_M, deviation_M, torch.cat([values_N, torch.full((1,), reference, dtype=torch.float64)]))
    total_M = _free_area(costs_M2, known_N2[:0], reference_2) * above_N1[0]
    for place in range(len(values_N)):
        height_M = above_N1[place + 1] - above_N1[place]
        if values_N[place] > (values_N[place + 1] if place + 1 < len(values_N) else reference):
            total_M = total_M + _free_area(costs_M2, known_N2[: place + 1], reference_2) * height_M
    return total_M


def _two(costs_NC: Tensor) -> Tensor:
    """Give two costs, of which those that are missing are 0 below a reference of 1."""
    missing = 2 - costs_NC.shape[-1]
    fill = 1.0 if costs_NC.dim() == 1 else 0.0
    return torch.cat([costs_NC, torch.full((*costs_NC.shape[:-1], missing), fill, dtype=torch.float64)], dim=-1)


def _gain(mean_M: Tensor, deviation_M: Tensor, heights_H: Tensor) -> Tensor:
    """Give E[max(0, value - height)] (H, M)."""
    z_HM = (mean_M - heights_H[:, None]) / deviation_M
    density_HM = torch.exp(-0.5 * z_HM**2) / math.sqrt(2 * math.pi)
    gains_HM: Tensor = deviation_M * (z_HM * torch.special.ndtr(z_HM) + density_HM)
    return gains_HM


def _free_area(costs_M2: Tensor, known_N2: Tensor, reference_2: Tensor) -> Tensor:
    """Give the area (M,) between a candidate's costs and the reference that no known point dominates."""
    # The stairs: from the first cost of each step on, the second cost above which all is dominated.
    order = known_N2[:, 0].argsort()
    starts_S = torch.cat([torch.full((1,), -torch.inf, dtype=torch.float64), known_N2[order, 0]])
    ends_S = torch.cat([known_N2[order, 0], torch.full((1,), torch.inf, dtype=torch.float64)])
    tops_S = torch.cat([reference_2[1:], known_N2[order, 1]]).cummin(0).values
    widths_MS = ends_S.clamp(max=reference_2[0]) - torch.maximum(starts_S, costs_M2[:, :1])
    heights_MS = tops_S - costs_M2[:, 1:]
    return (widths_MS.clamp(min=0) * heights_MS.clamp(min=0)).sum(1)
