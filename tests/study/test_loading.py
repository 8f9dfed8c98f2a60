"""Study files: what is found in them, and where an error is said to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scaling_lab import Coco, Shapes
from scaling_lab.errors import UserError
from scaling_lab.study.loading import call_space, data_source, load_study
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
            "one.py:3: TypeError: Study.__init__() got an unexpected keyword",
        ),
        ("import nowhere\n", "one.py:1: ModuleNotFoundError: No module named 'nowhere'"),
    ],
)
def test_errors_name_file_and_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UserError) as error:
        load_study(write(tmp_path, text))
    assert words in str(error.value)


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
    with pytest.raises(UserError, match="gave a int; it must give a DetectorSpec"):
        call_space(lambda trial: 3, Trial())  # type: ignore[arg-type, return-value]


def test_data_in_words(tmp_path: Path) -> None:
    study = make_study()
    assert data_source("shapes", study) is study.data
    assert data_source("shapes", make_study(data=Coco(folder=str(tmp_path)))) == Shapes()
    assert data_source(f"coco:{tmp_path}", study).kind == "coco"
    with pytest.raises(UserError, match="voc"):
        data_source("voc:x", study)
