"""The table of metrics: what a line of it is enough for."""

from __future__ import annotations

import ast
import dataclasses
import json
from pathlib import Path

import pytest

import scaling_lab
from scaling_lab import count, efficientdet, metrics, topologies
from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.cost import Cost
from scaling_lab.errors import UserError
from scaling_lab.report import compute_frontier
from scaling_lab.report.sections.architectures import means_table
from scaling_lab.report.sections.explorer import ACROSS
from scaling_lab.runs.reader import Runs
from scaling_lab.study.ledger.database import Ledger
from scaling_lab.study.search.costs import Costs
from tests.study.engine import count as cheap_count
from tests.study.engine import make_study, spec

PACKAGE = Path(scaling_lab.__file__).parent
# A cost that no other module knows of: it was added by its line alone.
NEWEST = "activations_m"


def test_counted_metrics_are_those_of_the_cost() -> None:
    d0 = efficientdet("d0")
    cost = count(d0)
    assert metrics.counted(d0, cost) == {
        "gmacs": cost.gmacs,
        "params_m": 3.880067,
        "activations_m": cost.activations_m,
        "memory_mb": cost.memory_mb,
    }
    assert metrics.written("gmacs", cost.gmacs) == "2.49"
    assert metrics.written("latency_ms", 12.345) == "12.3"


def test_every_metric_says_how_it_becomes_known() -> None:
    assert {each.known for each in metrics.METRICS.values()} == {"evaluated", "counted", "predicted", "measured"}
    assert all((each.count is not None) == (each.known == "counted") for each in metrics.METRICS.values())
    assert metrics.COSTS == ("gmacs", "params_m", "activations_m", "memory_mb", "predicted_latency_ms", "latency_ms")


def test_a_cost_is_named_by_its_line_and_by_no_other_code() -> None:
    named = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and node.value == NEWEST:
                named.add(str(path.relative_to(PACKAGE)))
    assert named == {"metrics.py"}


def test_a_counted_cost_is_objective_limit_column_and_axis(tmp_path: Path) -> None:
    study = make_study(objectives={"ap": "maximize", NEWEST: "minimize"}, limits={NEWEST: 1.0})
    assert study.objectives[NEWEST] == "minimize"
    with pytest.raises(UserError, match=f"allowed are gmacs, params_m, {NEWEST}"):
        make_study(limits={"activation": 1.0})
    assert ACROSS[NEWEST] == "activations, million"

    costs = Costs(limits=study.limits, num_classes=2, count=_counts, known={})
    small, large = costs.measure(_spec(8)), costs.measure(_spec(32))
    assert costs.refusal(small.costs) is None
    assert costs.refusal(large.costs) == "activations_m 1.6 is above the limit 1"

    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.write_meta({"objectives": dict(study.objectives)})
    for architecture in (small, large):
        ledger.add_architecture(architecture)
        trial = ledger.plan(architecture=architecture.digest, protocol="p", seed=0, params={}, epochs=1)
        ledger.complete(trial, {"ap": 30.0}, seconds=1.0, device="cpu")
    ledger.close()
    runs = Runs(tmp_path)
    assert runs.table()[NEWEST].tolist() == pytest.approx([0.4, 1.6])
    shown = means_table(runs, compute_frontier(runs))
    assert "Activations, M" in [column.label for column in shown.columns]


def test_a_ledger_without_a_cost_has_it_empty(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.write_meta({})
    ledger.add_architecture(Costs(limits={}, num_classes=2, count=cheap_count, known={}).measure(_spec(8)))
    with ledger.transaction():
        ledger._connection.execute("UPDATE architectures SET costs = ?", (json.dumps({"gmacs": 0.5}),))
    digest = next(iter(ledger.architectures()))
    ledger.plan(architecture=digest, protocol="p", seed=0, params={}, epochs=1)
    ledger.close()
    table = Runs(tmp_path).table()
    assert table["gmacs"].tolist() == [0.5]
    assert table[["params_m", "latency_ms"]].isna().all(axis=None)


def _spec(width: int) -> DetectorSpec:
    return dataclasses.replace(spec(topologies.fpn(3, 7)), width=width)


def _counts(spec: DetectorSpec) -> Cost:
    return dataclasses.replace(cheap_count(spec), activations=spec.width * 50_000)
