"""The networks of the paper's Table 5: its rows among the points, alike in all else, or each at the cost of the base."""

from __future__ import annotations

import dataclasses

import pytest
from optuna.trial import FixedTrial

from scaling_lab import DetectorSpec, count, efficientdet
from scaling_lab.report.analysis import published_tables
from scaling_lab.report.analysis.architecture_names import topology_fusion, topology_name
from search_spaces.compound import ONE_CELL
from search_spaces.feature_networks import NETWORKS, space

CLASSES = 8


def gmacs(spec: DetectorSpec, classes: int) -> float:
    return count(dataclasses.replace(spec, num_classes=classes)).gmacs


def test_all_rows_of_table_5_are_points() -> None:
    specs = [space(FixedTrial({"network": name})) for name in NETWORKS]
    rows = {
        published_tables.table_5_row(topology_name(spec.topology), topology_fusion(spec.topology)) for spec in specs
    }
    assert rows - {None} == set(published_tables.feature_networks()["feature_network"])
    assert len({spec.digest for spec in specs}) == len(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_only_the_topology_and_the_repeated_fpns_cells_differ(name: str) -> None:
    spec = space(FixedTrial({"network": name}))
    cells = 2 * ONE_CELL.repeats if name == "repeated_fpn" else ONE_CELL.repeats
    assert dataclasses.replace(spec, topology=ONE_CELL.topology) == dataclasses.replace(ONE_CELL, repeats=cells)


@pytest.mark.parametrize("name", NETWORKS)
def test_at_equal_cost_a_network_is_as_wide_as_the_bases_cost_allows(name: str) -> None:
    spec = space(FixedTrial({"network": name}), num_classes=CLASSES)
    most = gmacs(ONE_CELL, CLASSES)
    assert gmacs(spec, CLASSES) <= most < gmacs(dataclasses.replace(spec, width=spec.width + 1), CLASSES)
    assert gmacs(spec, CLASSES) == pytest.approx(most, rel=0.02)


def test_equal_cost_holds_for_d3_with_cocos_classes() -> None:
    spec = space(FixedTrial({"network": "panet"}), base=efficientdet("d3"), num_classes=80)
    assert gmacs(spec, 80) == pytest.approx(gmacs(efficientdet("d3"), 80), rel=0.01)
