"""Study files: what is found in them, and where an error is said to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scaling_lab import Coco, Shapes
from scaling_lab.errors import UserError
from scaling_lab.study.run.job import choose
from scaling_lab.study.space.call import call_space
from scaling_lab.study.space.enumeration import enumerate_space
from scaling_lab.study.space.study_file import data_source, load_study
from tests.study.engine import make_study

HEAD = "from scaling_lab import Recipe, Shapes, Study\nfrom search_spaces.small import space\n"
STUDY = (
    "STUDY = Study(question='Is it so?', space=space, data=Shapes(train_images=8, val_images=4), "
    "recipe=Recipe.short(epochs=1), sampler='grid')\n"
)
SPACE = """
from scaling_lab import DetectorSpec, topologies
def space(trial):
    return DetectorSpec(backbone="resnet18", topology=topologies.fpn(3, 7), width=trial.suggest_int("width", 8, 9),
                        repeats=1, head_repeats=1, image_size=64)
"""


def write(folder: Path, study: str, *, space: str = SPACE) -> Path:
    for name, text in (("studies/one.py", study), ("search_spaces/small.py", space)):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder / "studies" / "one.py"


def test_a_study_imports_from_the_folder_beside_it(tmp_path: Path) -> None:
    found = load_study(write(tmp_path, HEAD + STUDY))
    assert (found.name, found.source) == ("one", HEAD + STUDY)
    assert found.study.question == "Is it so?"


def test_two_projects_in_one_process_do_not_mix(tmp_path: Path) -> None:
    for name, width in (("a", 8), ("b", 24)):
        (tmp_path / name).mkdir()
        path = write(tmp_path / name, HEAD + STUDY, space=SPACE.replace("8, 9", f"{width}, {width + 1}"))
        params = load_study(path).study.space.__code__.co_consts
        assert width in params


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = (\n", "one.py:1: SyntaxError: '(' was never closed"),
        (HEAD, "one.py has no STUDY"),
        ("STUDY = 3\n", "one.py has a STUDY that is a int"),
        (HEAD + "\nx = 1 / 0\n", "one.py:4: ZeroDivisionError: division by zero"),
        (HEAD + STUDY.replace("'grid'", "'gird'"), "one.py:3: sampler is 'gird'; allowed are grid"),
        (
            HEAD + STUDY.replace("question", "qeustion"),
            "one.py:3: Study has no field 'qeustion' (did you mean 'question'?); allowed are question, space, data",
        ),
        (HEAD + STUDY.replace("epochs=1", "epoch=1"), "one.py:3: Recipe has no field 'epoch' (did you mean 'epochs'?)"),
        (
            HEAD + STUDY.replace("val_images", "valimages"),
            "one.py:3: Shapes has no field 'valimages' (did you mean 'val_",
        ),
        (HEAD + STUDY.replace("epochs=1", "lr='fast'"), "one.py:3: recipe.lr is 'fast'; allowed are finite numbers"),
        (HEAD + STUDY.replace("sampler", "forms={'a': {'trials': 0}}, sampler"), "one.py:3: form 'a': trials is 0"),
        ("raise RuntimeError('one\\ntwo')\n", "one.py:1: RuntimeError: one"),
        ("import nowhere\n", "one.py:1: ModuleNotFoundError: No module named 'nowhere'"),
    ],
)
def test_errors_name_file_and_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError) as error:
        load_study(write(tmp_path, text))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_an_error_in_an_imported_file_is_found_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"small\.py:2: NameError"):
        load_study(write(tmp_path, HEAD + STUDY, space="\nnowhere\n"))


def test_a_missing_file_is_said_with_those_that_are_there(tmp_path: Path) -> None:
    path = write(tmp_path, HEAD + STUDY)
    with pytest.raises(UserError, match=r"no study file .*two\.py; there are .*one\.py"):
        load_study(path.with_name("two.py"))


def test_an_error_of_the_space_names_its_line_and_point(tmp_path: Path) -> None:
    class Trial:
        def __init__(self) -> None:
            self.params = {"width": 0}

        def suggest_int(self, name: str, low: int, high: int) -> Any:
            return 0

    study = load_study(write(tmp_path, HEAD + STUDY)).study
    with pytest.raises(UserError, match=r"small\.py:4: width is 0.*\(in the search space, at width=0\)"):
        call_space(study.space, Trial())
    with pytest.raises(UserError, match="returned a int; allowed is a DetectorSpec"):
        call_space(lambda trial: 3, Trial())  # type: ignore[arg-type, return-value]


CONDITIONAL = """
import optuna
from scaling_lab import DetectorSpec, topologies
def space(trial):
    name = trial.suggest_categorical("topology", ["none", "fpn", "bifpn"])
    fusion = "sum" if name == "none" else trial.suggest_categorical("fusion", ["sum", "fast"])
    if name == "bifpn" and fusion == "sum":
        raise optuna.TrialPruned
    trial.suggest_float("factor", 1.2, 1.4, step=0.1)
    trial.suggest_float("slope", 0.0, 1.0)
    return DetectorSpec(backbone="resnet18", topology=getattr(topologies, name)(3, 7, fusion=fusion), repeats=1,
                        width=trial.suggest_int("width", 8, 10_000), head_repeats=1, image_size=64)
"""


@pytest.mark.parametrize(
    ("baseline", "words"),
    [
        (
            {"topolgy": "fpn"},
            "baseline has 'topolgy' (did you mean 'topology'?), which the space does not suggest; allow",
        ),
        ({"topology": "fnp"}, "baseline topology is 'fnp' (did you mean 'fpn'?); allowed are 'none', 'fpn', 'bifpn'"),
        ({"factor": 1.35}, "baseline factor is 1.35; allowed are 1.2, 1.3, 1.4"),
        ({"factor": "1.35"}, "baseline factor is '1.35'; allowed are 1.2, 1.3, 1.4"),
        ({"slope": 1.5}, "baseline slope is 1.5; allowed are numbers from 0.0 to 1.0"),
        ({"width": 7}, "26, 27, … 10000 (9993 in all)"),
        (
            {"topology": "none", "fusion": "sum"},
            "does not suggest at topology='none'; allowed are topology, factor, slope, width",
        ),
        ({"topology": "bifpn", "fusion": "sum"}, "the space has each of these values but no point with all of them"),
    ],
)
def test_a_baseline_outside_the_space_is_refused(tmp_path: Path, baseline: dict[str, Any], words: str) -> None:
    study = STUDY.replace("sampler='grid'", f"baseline={baseline!r}, sampler='tpe', trials=3")
    with pytest.raises(UserError) as error:
        load_study(write(tmp_path, HEAD + study, space=CONDITIONAL))
    assert "one.py: " in str(error.value)
    assert words in str(error.value)


@pytest.mark.parametrize(
    "baseline",
    [
        {"topology": "fpn"},
        {"fusion": "fast", "factor": 1.3},
        {"factor": "1.3"},
        {"slope": 0.123},
        {"width": 777, "topology": "none"},
    ],
)
def test_a_baseline_in_the_space_is_accepted(tmp_path: Path, baseline: dict[str, Any]) -> None:
    study = STUDY.replace("sampler='grid'", f"baseline={baseline!r}, sampler='tpe', trials=3")
    assert load_study(write(tmp_path, HEAD + study, space=CONDITIONAL)).study.baseline == baseline


def test_a_forms_baseline_is_looked_for_in_its_own_space(tmp_path: Path) -> None:
    forms = "forms={'small': {'space': small}, 'other': {'space': small, 'baseline': {'width': 9}}}"
    small = "import dataclasses\ndef small(trial):\n    return dataclasses.replace(space(trial), width=8)\n"
    study = STUDY.replace("sampler", f"baseline={{'width': 8}}, {forms}, sampler")
    path = write(tmp_path, HEAD + small + study)
    assert load_study(path).study.form("other").baseline == {"width": 9}
    path.write_text(HEAD + small + study.replace("9}", "10}"))
    with pytest.raises(UserError, match=r"one\.py: form 'other': baseline width is 10; allowed are 8, 9$"):
        load_study(path)


def test_the_baseline_of_a_space_that_fails_is_not_judged(tmp_path: Path) -> None:
    study = STUDY.replace("sampler", "baseline={'width': 3}, sampler")
    space = SPACE.replace("width=trial", "width=trial.number + trial")
    assert load_study(write(tmp_path, HEAD + study, space=space)).study.baseline == {"width": 3}


def test_data_in_words(tmp_path: Path) -> None:
    study = make_study()
    assert data_source("shapes", study) is study.data
    assert data_source("shapes", make_study(data=Coco(folder=str(tmp_path)))) == Shapes()
    assert data_source(f"coco:{tmp_path}", study).kind == "coco"
    with pytest.raises(UserError, match="kitti"):
        data_source("kitti:x", study)


def test_random_search_takes_over_the_number_of_a_grid(tmp_path: Path) -> None:
    """As many trials as the grid has: distinct architectures times seeds."""
    study = make_study(sampler="grid", trials=None, seeds=(0, 1))
    grid = {spec.digest for _, spec in enumerate_space(study.space)}
    chosen = choose(study, out=tmp_path, form=None, data=None, sampler="random").study
    assert (chosen.sampler, chosen.trials) == ("random", 2 * len(grid))
    limited = make_study(sampler="grid", trials=None, limits={"gmacs": 2.0})
    with pytest.raises(UserError, match="set trials=<number> in the study or a form"):
        choose(limited, out=tmp_path, form=None, data=None, sampler="random")
