"""Networks and sizes: as many points as the space's first lines say, and all can share weights."""

from __future__ import annotations

from scaling_lab.model.weight_store import check_shareable
from scaling_lab.study.space.enumeration import enumerate_space
from search_spaces.compound import ONE_CELL
from search_spaces.network_sizes import NETWORKS, space


def test_points_differ_in_what_the_space_names_alone() -> None:
    points = list(enumerate_space(space))
    assert len({spec.digest for _, spec in points}) == len(points) == 396
    assert {params["network"] for params, _ in points} == set(NETWORKS)
    for _, spec in points:
        check_shareable(ONE_CELL, spec)
        assert spec.image_size == ONE_CELL.image_size
