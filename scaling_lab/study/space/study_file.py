"""Study files: finding and loading them, and calling their spaces."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scaling_lab.checks import nearest
from scaling_lab.errors import UserError
from scaling_lab.study.space.baseline_check import check_baselines
from scaling_lab.study.study import Study
from scaling_lab.user_files import import_file, locate

if TYPE_CHECKING:
    from scaling_lab.data import Source


# The most files that an error message names.
MOST_NAMED = 4


@dataclass(frozen=True, kw_only=True)
class StudyFile:
    """A study and its file."""

    study: Study
    name: str
    path: Path
    source: str


def load_study(path: str | Path) -> StudyFile:
    """Import a study file. Raises UserError with file and line for errors in it, its baseline included."""
    path = Path(path)
    _check_is_file(path)
    try:
        source = path.read_text(encoding="utf-8")
        module = import_file(path)
    except Exception as error:
        raise UserError(locate(error, otherwise=path)) from None
    study = getattr(module, "STUDY", None)
    if not isinstance(study, Study):
        what = "has no STUDY" if study is None else f"has a STUDY that is a {type(study).__name__}"
        raise UserError(f"{path} {what}; a study file ends with STUDY = Study(question=..., space=..., ...)")
    if study.baseline or any("baseline" in changes for changes in study.forms.values()):
        try:
            check_baselines(study)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
    return StudyFile(study=study, name=path.stem, path=path, source=source)


def data_source(words: str, study: Study) -> Source:
    """Parse a data source such as "shapes" or "coco:DIR". Shapes keep the study's own settings, if any. Raises UserError."""
    from scaling_lab.data import parse_source

    source = parse_source(words)
    return study.data if source.kind == study.data.kind == "shapes" else source


def _check_is_file(path: Path) -> None:
    """Raise UserError where there is no study file, naming some that exist."""
    if path.is_file():
        return
    is_folder = path.is_dir()
    what = f"{path} is a folder; give a study file" if is_folder else f"there is no study file {path}"
    found = _studies(path if is_folder else path.parent) or _studies(Path("studies"))
    stems = {Path(each).stem: each for each in found}
    closest = None if is_folder else nearest(path.stem, stems)
    meant = "" if closest is None else f" (did you mean {stems[closest]}?)"
    raise UserError(what + meant + (f"; there are {some_of(found)}" if found else ""))


def _studies(folder: Path) -> list[str]:
    files = sorted(file for file in folder.glob("*.py") if file.is_file()) if folder.is_dir() else []
    texts = {file: file.read_text(encoding="utf-8", errors="replace") for file in files}
    return [str(file) for file, text in texts.items() if re.search(r"^STUDY\b", text, re.MULTILINE)]


def some_of(names: list[str]) -> str:
    """Name a few files and count the others."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
