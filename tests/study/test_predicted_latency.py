"""A predicted latency as a limit and an objective: known before a trial, so that nothing is trained to learn it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from scaling_lab import DetectorSpec, Runs
from scaling_lab.errors import UserError
from scaling_lab.latency import Conditions
from scaling_lab.latency.fitting import fit
from scaling_lab.latency.model import LatencyModel
from scaling_lab.study.plan.survey import survey
from scaling_lab.study.run.runner import run_study
from tests.latency.test_model import measured
from tests.latency.tiny import tiny
from tests.study.engine import DATA, Replayed, make_study

CLASSES = len(DATA.class_names)


def narrow(trial: Any) -> DetectorSpec:
    """One parameter, within what the model below was fitted on."""
    return tiny(width=trial.suggest_categorical("width", [16, 32, 64]), num_classes=CLASSES)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A model that was fitted on detectors like those of the space, by invented times."""
    specs = [
        tiny(width=width, head_repeats=heads, num_classes=CLASSES) for width in range(16, 65, 8) for heads in (1, 2, 3)
    ]
    path = tmp_path / "model.json"
    path.write_text(fit(measured(specs), Conditions()).to_json())
    return path


def run(file: Path, **changes: Any) -> tuple[Runs, str]:
    study = make_study(space=narrow, latency_model=str(file), **changes)
    out = file.parent / "run"
    stream = io.StringIO()
    run_study(study, out=out, executor="local", objective=Replayed(), stream=stream)
    return Runs(out), stream.getvalue()


def predicted(file: Path) -> dict[int, float]:
    model = LatencyModel.load(file)
    return {width: model.predict(tiny(width=width, num_classes=CLASSES)) for width in (16, 32, 64)}


def test_what_is_predicted_to_be_too_slow_is_not_trained(file: Path) -> None:
    expected = predicted(file)
    limit = (expected[32] + expected[64]) / 2
    runs, _ = run(file, limits={"predicted_latency_ms": limit})
    table = runs.table()
    assert table["param_width"].tolist() == [16, 32]
    assert table["predicted_latency_ms"].tolist() == pytest.approx([expected[16], expected[32]])
    assert table["latency_ms"].isna().all()  # nothing was measured
    (reason,) = runs.rejections()["reason"]
    assert reason == f"predicted_latency_ms {expected[64]:.4g} is above the limit {limit:.4g}"
    assert runs.meta["latency_model"] == str(file)


@pytest.mark.parametrize(
    "sampler", ["grid", *(pytest.param(name, marks=pytest.mark.slow) for name in ("ehvi", "nsga2"))]
)
def test_it_is_an_objective(file: Path, sampler: str) -> None:
    changes: dict[str, Any] = {"sampler": sampler, "trials": None if sampler == "grid" else 3}
    runs, _ = run(file, objectives={"ap": "maximize", "predicted_latency_ms": "minimize"}, **changes)
    table = runs.table()
    assert (table["state"] == "complete").all()
    expected = predicted(file)
    for _, row in table.iterrows():
        assert row["predicted_latency_ms"] == pytest.approx(expected[row["param_width"]])


def test_a_plan_knows_it(file: Path) -> None:
    study = make_study(
        space=narrow, latency_model=str(file), limits={"predicted_latency_ms": predicted(file)[16] + 1e-6}
    )
    found = survey(study, num_classes=CLASSES)
    assert (found.architectures, dict(found.rejected)) == (3, {"predicted_latency_ms": 2})


def test_another_model_is_refused_in_the_same_folder(file: Path) -> None:
    run(file)
    run(file)  # the same goes on
    file.write_text(file.read_text().replace('"offset": ', '"offset": 1'))
    with pytest.raises(
        UserError, match=r"holds trials with the latency model .*model\.json \([0-9a-f]{12}\); now it is"
    ):
        run(file)


def test_a_search_passes_over_what_cannot_be_predicted(file: Path) -> None:
    def some_too_wide(trial: Any) -> DetectorSpec:
        return tiny(width=trial.suggest_int("width", 16, 160, step=16), num_classes=CLASSES)

    study = make_study(space=some_too_wide, latency_model=str(file), sampler="random", trials=4)
    stream = io.StringIO()
    run_study(study, out=file.parent / "run", executor="local", objective=Replayed(), stream=stream)
    table = Runs(file.parent / "run").table()
    assert sorted(table["param_width"]) == [16, 32, 48, 64]
    assert stream.getvalue().count("points outside the latency model's domain are skipped, such as: ") == 1
    assert "is outside the latency model's range; allowed are 16 to 64" in stream.getvalue()


def test_what_is_wrong_is_told(file: Path) -> None:
    with pytest.raises(
        UserError, match=r"predicted_latency_ms needs a latency_model; `scaling-lab measure SPACE --fit FILE`"
    ):
        make_study(limits={"predicted_latency_ms": 5})
    with pytest.raises(UserError, match="latency_model is 3"):
        make_study(latency_model=3)
    with pytest.raises(UserError, match=r"nowhere\.json cannot be read: No such file"):
        run(file.parent / "nowhere.json")
    with pytest.raises(UserError, match=r"width 128 is outside the latency model's range"):
        run_wide(file)


def run_wide(file: Path) -> None:
    wide = make_study(space=lambda trial: tiny(width=128 + trial.suggest_int("x", 0, 1)), latency_model=str(file))
    run_study(wide, out=file.parent / "wide", executor="local", objective=Replayed(), stream=None)
