"""The runs that searches of the replayed table start from are what the benchmark says, and a search is run from one."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.replayed import ap_of_cost, architectures, true_ap
from benchmarks.warm_start_shares import KINDS, Start, paired_lead


def test_each_kind_of_run_is_related_to_the_truth_as_it_says() -> None:
    specs = list(architectures().values())
    truth, cost = np.array([*map(true_ap, specs)]), np.array([*map(ap_of_cost, specs)])
    aps = {kind: np.array([*map(other.ap, specs)]) for kind, other in KINDS.items()}
    assert aps["helpful"].tolist() == truth.tolist()
    assert aps["reversed"] == pytest.approx(2 * truth.mean() - truth)
    rest = aps["reversed at equal cost"] - cost
    assert np.corrcoef(rest, truth - cost)[0, 1] == pytest.approx(-1.0)
    assert rest.mean() == pytest.approx((truth - cost).mean())
    assert sorted(aps["unrelated"]) == sorted(truth)
    assert abs(np.corrcoef(aps["unrelated"], truth)[0, 1]) < 0.1


def test_a_lead_is_of_pairs() -> None:
    difference, low, high = paired_lead([0.6, 0.8, 1.0], [0.5, 0.7, 0.9])
    assert (difference, low, high) == pytest.approx((0.1, 0.1, 0.1))


@pytest.mark.slow
def test_a_search_starts_from_a_run_of_the_same_space() -> None:
    (early, late) = Start(kind="reversed", seed=0, after=(6, 8))()
    assert len(early) == 6
    assert len(late) == 8
    assert set(early) < set(late) <= set(architectures())
