"""What one call is to run: a study with its form, data and folder, checked against what the folder holds."""

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
    """A study with all choices made, before anything is written. The digest is None until the data are read."""

    study: Study
    name: str
    form: str | None
    file: str
    source: str
    folder: Path
    data_digest: str = ""

    @property
    def protocol(self) -> str:
        """The digest of data, recipe and shared weights. APs of the same protocol are comparable."""
        return protocol_digest(self.data_digest, self.study.recipe, self.study.shared)

    def meta(self) -> dict[str, Any]:
        """Return what the ledger stores about the study. Raises UserError."""
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
        """Return a 12-digit hexadecimal digest of the latency model's file. Raises UserError."""
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
    """Read the study, choose its form and data, and check the data. Raises UserError for errors in them."""
    return with_data(choose(study, out=out, form=form, data=data, sampler=sampler), was_told=data is not None)


def choose(
    study: Study | StudyFile | str | Path,
    *,
    out: str | Path | None,
    form: str | None,
    data: str | None,
    sampler: str | None = None,
) -> Job:
    """Read the study and choose its form, sampler and data, without reading the data. Raises UserError."""
    if isinstance(study, (str, Path)):
        study = load_study(study)
    if isinstance(study, Study):
        if out is None:
            raise UserError("a Study not loaded from a file has no name; give the run's folder with out=")
        check_baselines(study)
        study = StudyFile(study=study, name=Path(out).name, path=Path(), source="")
    if form is not None and not study.study.forms:
        raise UserError(f"the study {study.name} has no form {form!r}: it has no forms")
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
    """Return the study with another sampler; a grid becomes a search with as many trials. Raises UserError."""
    if study.trials is not None or sampler not in SAMPLERS or SAMPLERS[sampler].is_exhaustive:
        return dataclasses.replace(study, sampler=sampler)
    advice = f"for sampler {sampler!r} set trials=<number> in the study or a form"
    if study.limits:
        raise UserError(f"the number of grid points within the limits is unknown; {advice}")
    try:
        points = {spec.digest for _, spec in enumerate_space(study.space)}
    except TooMany as error:
        raise UserError(f"the grid gives no number of trials: {error}; {advice}") from None
    return dataclasses.replace(study, sampler=sampler, trials=max(1, len(points) * len(study.seeds)))


def with_data(job: Job, *, was_told: bool) -> Job:
    """Read the data of a job; `was_told`: the user named them in this call. Raises UserError where they fail."""
    source = job.study.data
    try:
        digest = source.digest()
        source.check_images("train", "val")
    except UserError as error:
        if not was_told and source.kind != "shapes":
            raise UserError(f"{error}; give their folder with --data {source.kind}:DIR") from None
        raise
    return dataclasses.replace(job, data_digest=digest)


def check_objectives(study: Study) -> None:
    """Raise UserError where the data have no object for an objective, or none to train on."""
    from scaling_lab.data.accuracies import check_measurable, check_trainable

    check_trainable(study.data)
    check_measurable(study.data, [name for name in study.objectives if name in ACCURACIES], "objective")


def make_folder(path: Path) -> RunFolder:
    """Make a run's folder. Raises UserError where it cannot be written or holds other files."""
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
    """Raise UserError for a folder that holds other files than a run's."""
    strange = _strange(folder)
    if strange:
        raise UserError(
            f"{folder.path} is not a run: it has {some_of(strange)} but no {folder.ledger.name}; "
            "choose a new or empty folder with --out"
        )


def _strange(folder: RunFolder) -> list[str]:
    """Return names in a folder without a ledger, other than the files that a killed driver may leave."""
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
    """Raise UserError where the folder's trials have another protocol or latency model."""
    if not before:
        return
    now = job.meta()
    if before["latency_model_digest"] != now["latency_model_digest"]:
        raise UserError(
            f"{folder.path} holds trials with the latency model {before['latency_model']} "
            f"({before['latency_model_digest']}); now it is {now['latency_model']} ({now['latency_model_digest']}). "
            f"Choose another folder with --out, or remove {folder.path}"
        )
    if before["protocol"] == job.protocol:
        return
    changes = [
        f"{what}.{name} was {before[what].get(name)!r} and is {now[what].get(name)!r}"
        for what in ("data", "recipe", "shared")
        for name in {**before.get(what, {}), **now.get(what, {})}
        if before.get(what, {}).get(name) != now.get(what, {}).get(name)
    ]
    if not changes:
        changes = ["the data's files have changed"]
    raise UserError(
        f"{folder.path} holds trials of another protocol: {'; '.join(changes)}. "
        f"Choose another folder with --out, or remove {folder.path}"
    )
