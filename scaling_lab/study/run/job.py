"""What one call is to run: a study with its form, its data and its folder, and whether they fit what the folder holds.

It starts nothing, and writes nothing but empty folders.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling_lab import files
from scaling_lab.errors import UserError
from scaling_lab.files import WriteError
from scaling_lab.metrics import ACCURACIES
from scaling_lab.runs.reader import RunFolder
from scaling_lab.study.samplers import SAMPLERS
from scaling_lab.study.space.baseline_check import check_baselines
from scaling_lab.study.space.enumeration import TooMany, enumerate_space
from scaling_lab.study.space.study_file import StudyFile, data_source, load_study, some_of
from scaling_lab.study.study import Study, protocol_digest


@dataclass(frozen=True, kw_only=True)
class Job:
    """A study with all that was chosen for it, before anything is written; no digest before its data were looked at."""

    study: Study
    name: str
    form: str | None
    file: str
    source: str
    folder: Path
    data_digest: str = ""

    @property
    def protocol(self) -> str:
        """The digest of data and recipe: APs of one protocol may be compared."""
        return protocol_digest(self.data_digest, self.study.recipe)

    def meta(self) -> dict[str, Any]:
        """Give what the ledger keeps about the study."""
        return {
            **self.study.to_dict(),
            "study": self.name,
            "form": self.form,
            "study_file": self.file,
            "study_source": self.source,
            "data_description": self.study.data.describe(),
            "data_digest": self.data_digest,
            "class_names": list(self.study.data.class_names),
            "protocol": self.protocol,
            "latency_model_digest": self._latency_model_digest(),
        }

    def _latency_model_digest(self) -> str | None:
        """Give 12 hexadecimal digits of the latency model's file."""
        if self.study.latency_model is None:
            return None
        try:
            return hashlib.sha256(Path(self.study.latency_model).read_bytes()).hexdigest()[:12]
        except OSError as error:
            raise UserError(f"the latency model {self.study.latency_model} cannot be read: {error.strerror}") from None


def prepare(
    study: Study | StudyFile | str | Path,
    *,
    out: str | Path | None,
    form: str | None,
    data: str | None,
    sampler: str | None = None,
) -> Job:
    """Read the study, choose its form and data, and look at the data. Raises UserError for what is wrong with them."""
    return with_data(choose(study, out=out, form=form, data=data, sampler=sampler), was_told=data is not None)


def choose(
    study: Study | StudyFile | str | Path,
    *,
    out: str | Path | None,
    form: str | None,
    data: str | None,
    sampler: str | None = None,
) -> Job:
    """Read the study, and choose its form, sampler and data, whether or not these are there."""
    if isinstance(study, (str, Path)):
        study = load_study(study)
    if isinstance(study, Study):
        if out is None:
            raise UserError("a Study that comes from no file has no name; give the run's folder with out=")
        check_baselines(study)
        study = StudyFile(study=study, name=Path(out).name, path=Path(), source="")
    if form is not None and not study.study.forms:
        raise UserError(f"the study {study.name} has no forms, so there is no form {form!r}")
    chosen = study.study.form(form)
    if data is not None:
        chosen = dataclasses.replace(chosen, data=data_source(data, chosen))
    if sampler is not None:
        chosen = _with_sampler(chosen, sampler)
    name = "-".join(part for part in (study.name, form, sampler) if part is not None)
    return Job(
        study=chosen,
        name=study.name,
        form=form,
        file=str(study.path),
        source=study.source,
        folder=Path("runs") / name if out is None else Path(out),
    )


def _with_sampler(study: Study, sampler: str) -> Study:
    """Give the study with another sampler, and in place of a whole grid with as many trials as the grid has."""
    if study.trials is not None or sampler not in SAMPLERS or SAMPLERS[sampler].is_exhaustive:
        return dataclasses.replace(study, sampler=sampler)
    advice = f"for the sampler {sampler!r} give the study, or a form of it, trials=<number>"
    if study.limits:
        raise UserError(f"how many points of the grid are within the limits is not known before; {advice}")
    try:
        points = {spec.digest for _, spec in enumerate_space(study.space)}
    except TooMany as error:
        raise UserError(f"the grid has no number of trials to take over: {error}; {advice}") from None
    return dataclasses.replace(study, sampler=sampler, trials=max(1, len(points) * len(study.seeds)))


def with_data(job: Job, *, was_told: bool) -> Job:
    """Look at the data of a job; `was_told`: the user has named them in this call. Raises UserError where they fail."""
    source = job.study.data
    try:
        digest = source.digest()
        source.check_images("train", "val")
    except UserError as error:
        if not was_told and source.kind != "shapes":
            raise UserError(f"{error}; --data {source.kind}:DIR says where the data are") from None
        raise
    return dataclasses.replace(job, data_digest=digest)


def check_objectives(study: Study) -> None:
    """Raise UserError where the data have no object for an objective, or none to learn from: it is known before training."""
    from scaling_lab.data.accuracies import check_measurable, check_trainable

    check_trainable(study.data)
    check_measurable(study.data, [name for name in study.objectives if name in ACCURACIES], "objective")


def make_folder(path: Path) -> RunFolder:
    """Make a run's folder. Raises UserError where it cannot be written or holds something else."""
    folder = RunFolder(path)
    try:
        check_folder(folder)
        for each in (folder.path, folder.specs, folder.trials, folder.samples):
            files.make_folder(each)
    except WriteError as error:
        raise UserError(f"{error}; give another --out") from None
    except OSError as error:
        raise UserError(f"{error.filename or path} cannot be read: {error.strerror}; give another --out") from None
    return folder


def check_folder(folder: RunFolder) -> None:
    """Raise UserError for a folder that holds something else than a run."""
    strange = _strange(folder)
    if strange:
        raise UserError(
            f"{folder.path} is no run: it has no {folder.ledger.name}, but {some_of(strange)}; "
            "give --out a folder that is new or empty"
        )


def _strange(folder: RunFolder) -> list[str]:
    """Name what a folder without a ledger holds beyond what a driver makes first and may have left, killed."""
    if not folder.path.is_dir() or folder.has_ledger:
        return []
    first = (folder.specs, folder.trials, folder.samples)
    return sorted(
        entry.name
        for entry in folder.path.iterdir()
        if entry not in (folder.lock, folder.ledger)
        and not (entry in first and entry.is_dir() and not any(entry.iterdir()))
    )


def check_same_protocol(before: Mapping[str, Any], job: Job, folder: RunFolder) -> None:
    """Refuse to mix trials whose APs may not be compared, or predictions of different latency models."""
    if not before:
        return
    now = job.meta()
    if before["latency_model_digest"] != now["latency_model_digest"]:
        raise UserError(
            f"{folder.path} holds trials with the latency model {before['latency_model']} "
            f"({before['latency_model_digest']}); now it is {now['latency_model']} ({now['latency_model_digest']}). "
            f"Give another folder with --out, or remove {folder.path}"
        )
    if before["protocol"] == job.protocol:
        return
    changes = [
        f"{what}.{name} was {before[what].get(name)!r} and is {now[what].get(name)!r}"
        for what in ("data", "recipe")
        for name in {**before[what], **now[what]}
        if before[what].get(name) != now[what].get(name)
    ]
    if not changes:
        changes = ["the data's files have changed"]
    raise UserError(
        f"{folder.path} holds trials of another protocol: {'; '.join(changes)}. "
        f"Give another folder with --out, or remove {folder.path}"
    )
