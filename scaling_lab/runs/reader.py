"""A run's folder as files: its layout, the ledger's tables, and a reader.

The study engine writes the folder and reports read it.

    runs/<study>/
        ledger.sqlite           all results; written only by the driver
        specs/<digest>.json     every architecture, resolved
        trials/<id>/            checkpoint.pt, weights.pt, best.pt, detections.json, epochs.jsonl, error.txt
        samples/                held-out images for pictures, and ground_truth.json
        provenance.json         the last session, for display
        optuna.journal          the same trials for optuna-dashboard; rebuilt from the ledger at every start
        driver.lock             the current writer
        report/
"""

from __future__ import annotations

import json
import math
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from scaling_lab.architecture.node_names import inputs_by_node
from scaling_lab.architecture.spec import DetectorSpec
from scaling_lab.architecture.topology import Topology
from scaling_lab.errors import UserError, first_line
from scaling_lab.metrics import ACCURACIES, BEFORE_A_TRIAL, COSTS

if TYPE_CHECKING:
    import pandas as pd

Kept = TypeVar("Kept")

SCHEMA_VERSION = 4
_MOST_DIGITS = 100
ROLES = ("search", "finalist", "baseline")
STATES = ("planned", "running", "complete", "stopped", "failed")
ENDED = ("complete", "stopped", "failed")  # final states of a trial
FAILURE_KINDS = (
    *("diverged", "out_of_memory", "time_limit", "bad_input", "bad_checkpoint"),
    *("lost_worker", "device_fault", "error"),
)
NO_KIND = "of no recorded kind"  # used for a failure without a kind

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sessions (
    id INTEGER PRIMARY KEY, started TEXT NOT NULL, ended TEXT, command TEXT NOT NULL, executor TEXT NOT NULL,
    git_commit TEXT, git_dirty INTEGER, versions TEXT NOT NULL, host TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS architectures (
    digest TEXT PRIMARY KEY, spec TEXT NOT NULL, description TEXT NOT NULL, topology TEXT NOT NULL,
    costs TEXT NOT NULL, parts TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS trials (
    id INTEGER PRIMARY KEY AUTOINCREMENT, architecture TEXT NOT NULL REFERENCES architectures (digest),
    protocol TEXT NOT NULL, seed INTEGER NOT NULL, params TEXT NOT NULL,
    role TEXT NOT NULL DEFAULT 'search' CHECK (role IN ('search', 'finalist', 'baseline')),
    epochs INTEGER NOT NULL, epochs_done INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL CHECK (state IN ('planned', 'running', 'complete', 'stopped', 'failed')),
    failure_kind TEXT, failure_message TEXT, session INTEGER REFERENCES sessions (id),
    started TEXT, ended TEXT, seconds REAL NOT NULL DEFAULT 0, device TEXT,
    {", ".join(f"{name} REAL" for name in ACCURACIES)}, metrics TEXT,
    UNIQUE (architecture, protocol, seed)
);
CREATE TABLE IF NOT EXISTS epochs (
    trial INTEGER NOT NULL REFERENCES trials (id), epoch INTEGER NOT NULL, metrics TEXT NOT NULL,
    PRIMARY KEY (trial, epoch)
);
CREATE TABLE IF NOT EXISTS rejections (
    id INTEGER PRIMARY KEY, architecture TEXT, params TEXT NOT NULL, reason TEXT NOT NULL,
    costs TEXT NOT NULL, time TEXT NOT NULL, UNIQUE (architecture, params)
);
CREATE TABLE IF NOT EXISTS latencies (
    architecture TEXT NOT NULL REFERENCES architectures (digest), device TEXT NOT NULL, dtype TEXT NOT NULL,
    batch INTEGER NOT NULL, threads INTEGER NOT NULL, backend TEXT NOT NULL, scope TEXT NOT NULL, method TEXT NOT NULL,
    median_ms REAL NOT NULL, p90_ms REAL NOT NULL, spread_ms REAL NOT NULL, runs INTEGER NOT NULL,
    processes INTEGER NOT NULL, process_spread REAL, anchor_ms REAL, anchor_drift REAL, peak_memory_mb REAL,
    versions TEXT NOT NULL, PRIMARY KEY (architecture, device, dtype, batch, threads, backend, scope, method)
);
"""

_TRIALS = f"""
SELECT trials.id AS trial, role, state, failure_kind, failure_message, architecture, description, topology, protocol, seed,
       epochs_done, epochs, {", ".join(ACCURACIES)}, costs, seconds, device, session,
       started, ended, params, parts
FROM trials JOIN architectures ON trials.architecture = architectures.digest ORDER BY trials.id
"""

# Columns of a latency that may be missing and are numbers.
_TIMES = ("process_spread", "anchor_ms", "anchor_drift", "peak_memory_mb")

_RECORDED = "SELECT trial, epoch, epochs.metrics, architecture FROM epochs JOIN trials ON trials.id = trial ORDER BY trial, epoch"


@dataclass(frozen=True)
class RunFolder:
    """The paths of one run."""

    path: Path

    @property
    def ledger(self) -> Path:
        """The database."""
        return self.path / "ledger.sqlite"

    @property
    def has_ledger(self) -> bool:
        """Whether there is a database. A driver killed at its start may leave an empty file."""
        return self.ledger.is_file() and self.ledger.stat().st_size > 0

    @property
    def specs(self) -> Path:
        """The folder of resolved specs."""
        return self.path / "specs"

    @property
    def trials(self) -> Path:
        """The folder of the trials' folders."""
        return self.path / "trials"

    @property
    def features(self) -> Path:
        """The folder of stored features of frozen backbones."""
        return self.path / "features"

    @property
    def samples(self) -> Path:
        """The folder of held-out images for pictures."""
        return self.path / "samples"

    def sample(self, image_id: int) -> Path:
        """Return the path of a sample image. A very long id is shortened to its last digits."""
        return self.samples / f"{str(image_id)[-_MOST_DIGITS:]}.png"

    @property
    def ground_truth(self) -> Path:
        """The objects on the sample images, in COCO's format."""
        return self.samples / "ground_truth.json"

    @property
    def provenance(self) -> Path:
        """The file on the last session, for display."""
        return self.path / "provenance.json"

    @property
    def lock(self) -> Path:
        """The lock file of the current writer."""
        return self.path / "driver.lock"

    @property
    def journal(self) -> Path:
        """Optuna's storage."""
        return self.path / "optuna.journal"

    @property
    def report(self) -> Path:
        """The folder of the report."""
        return self.path / "report"

    def trial(self, trial: int) -> Path:
        """Return one trial's folder."""
        return self.trials / str(trial)


class Runs:
    """A reader of a run's folder. Raises UserError where there is no run."""

    def __init__(self, path: str | Path) -> None:
        self.folder = RunFolder(Path(path))
        self._kept: dict[str, tuple[Any, Any]] = {}
        if not self.folder.has_ledger:
            raise UserError(f"{path} is not a run: its {self.folder.ledger.name} is missing or empty")
        version = self.meta.get("schema_version")
        if version != SCHEMA_VERSION:
            raise UserError(f"{self.folder.ledger} has schema version {version}; this program reads {SCHEMA_VERSION}")

    def __repr__(self) -> str:
        """Return the run's path and the numbers of its trials by state."""
        states = {
            row["state"]: row["n"] for row in self._rows("SELECT state, COUNT(*) AS n FROM trials GROUP BY state")
        }
        ended = ", ".join(f"{states[state]} {state}" for state in STATES if state in states)
        return f"Runs({str(self.path)!r}): {ended or 'no trials yet'}"

    @property
    def path(self) -> Path:
        """The folder."""
        return self.folder.path

    @cached_property
    def meta(self) -> dict[str, Any]:
        """Return the study's settings at the last start: question, data, recipe, objectives, limits, seeds, …"""
        return {row["key"]: json.loads(row["value"]) for row in self._rows("SELECT key, value FROM meta")}

    def table(self) -> pd.DataFrame:
        """Return one row for each trial, with its architecture's costs.

        Costs of a part are columns such as gmacs_heads, parameters of the space columns such as param_width. latency_ms is
        the median at batch 1, on the device and with the threads used for most architectures.
        """
        return self._once("table", self._read_table).copy()

    def _read_table(self) -> pd.DataFrame:
        rows = self._rows(_TRIALS)
        latencies = self._latency_ms()
        for row in rows:
            row.update(dict.fromkeys(BEFORE_A_TRIAL) | json.loads(row.pop("costs")))
            for part, costs in json.loads(row.pop("parts")).items():
                row.update({f"{name}_{part}": value for name, value in costs.items()})
            row["latency_ms"] = latencies.get(row["architecture"])
            row.update({f"param_{name}": value for name, value in json.loads(row.pop("params")).items()})
        return _frame(rows, columns=[*_column_names(_TRIALS), *COSTS], numbers=(*ACCURACIES, *COSTS, "seconds"))

    def epochs(self) -> pd.DataFrame:
        """Return one row for each epoch of each trial: trial, epoch, loss, ap, …, without APs by class."""
        return self._once("epochs", self._read_epochs).copy()

    def _read_epochs(self) -> pd.DataFrame:
        rows = self._rows("SELECT trial, epoch, metrics FROM epochs ORDER BY trial, epoch")
        for row in rows:
            metrics = json.loads(row.pop("metrics"))
            numbers = {name: value for name, value in metrics.items() if not isinstance(value, (dict, list))}
            row.update({name: math.nan if value is None else value for name, value in numbers.items()})
        return _frame(rows, columns=["trial", "epoch"])

    def stopped_aps(self) -> pd.DataFrame:
        """Return the last AP of each stopped trial, and its epoch: trial, epoch, ap."""
        rows = self._rows(
            "SELECT trial, MAX(epoch) AS epoch, json_extract(metrics, '$.ap') AS ap FROM epochs "
            "WHERE trial IN (SELECT id FROM trials WHERE state = 'stopped') AND json_extract(metrics, '$.ap') IS NOT NULL "
            "GROUP BY trial ORDER BY trial"
        )
        return _frame(rows, columns=["trial", "epoch", "ap"])

    def fusion_weights(self, trials: Sequence[int] | None = None) -> pd.DataFrame:
        """Return one row for each input of each node with learned fusion weights, by epoch of these trials (None: all).

        Columns: trial, epoch, cell (from 1), node and input (ids in the topology), level and input_level (of node and
        input), and weight, normalised, of the averaged model.
        """
        rows = self._rows(_RECORDED) if trials is None else []
        for trial in trials or ():
            rows += self._rows(_RECORDED.replace("ORDER", "WHERE trial = ? ORDER"), (int(trial),))
        specs = self.specs() if rows else {}
        known = {digest: inputs_by_node(specs[digest]) for digest in {row["architecture"] for row in rows}}
        found = []
        for row in rows:
            recorded = json.loads(row["metrics"]).get("fusion_weights", {})
            for name, places in known[row["architecture"]].items():
                for place, weight in zip(places, recorded.get(name) or (), strict=False):
                    value = math.nan if weight is None else float(weight)
                    found.append({"trial": row["trial"], "epoch": row["epoch"], **place, "weight": value})
        columns = ["trial", "epoch", "cell", "node", "level", "input", "input_level", "weight"]
        return _frame(found, columns=columns)

    def metrics(self, trial: int) -> dict[str, Any]:
        """Return a trial's final metrics, with ap_by_class; empty before its end."""
        rows = self._rows("SELECT metrics FROM trials WHERE id = ?", (trial,))
        return json.loads(rows[0]["metrics"]) if rows and rows[0]["metrics"] else {}

    def last_epoch(self, trial: int) -> dict[str, Any]:
        """Return the metrics of a trial's latest epoch; empty before its first."""
        rows = self._rows("SELECT metrics FROM epochs WHERE trial = ? ORDER BY epoch DESC LIMIT 1", (trial,))
        return json.loads(rows[0]["metrics"]) if rows else {}

    def specs(self) -> dict[str, DetectorSpec]:
        """Return every planned or tried architecture by digest."""
        return dict(self._once("specs", self._read_specs))

    def _read_specs(self) -> dict[str, DetectorSpec]:
        found: dict[str, DetectorSpec] = {}
        topologies: dict[str, Topology] = {}  # many specs share few; each is read and digested once
        for row in self._rows("SELECT digest, spec FROM architectures ORDER BY rowid"):
            values = json.loads(row["spec"])
            text = json.dumps(values["topology"])
            if text not in topologies:
                topologies[text] = Topology.from_dict(values["topology"])
            found[row["digest"]] = DetectorSpec.from_dict(values | {"topology": topologies[text]})
        return found

    def points(self) -> list[tuple[str, dict[str, Any]]]:
        """Return (architecture, parameters) of every distinct point tried, in the order of trials."""
        rows = self._rows("SELECT architecture, params FROM trials GROUP BY architecture, params ORDER BY MIN(id)")
        return [(row["architecture"], json.loads(row["params"])) for row in rows]

    def sessions(self) -> pd.DataFrame:
        """Return one row for each start of the study."""
        rows = self._rows("SELECT * FROM sessions ORDER BY id")
        return _frame([_parsed(row, "versions", "host") for row in rows], columns=["id", "started", "ended", "command"])

    def rejections(self) -> pd.DataFrame:
        """Return one row for each point of the space that a limit rejected."""
        rows = self._rows("SELECT * FROM rejections ORDER BY id")
        return _frame([_parsed(row, "params", "costs") for row in rows], columns=["id", "architecture", "reason"])

    def latencies(self) -> pd.DataFrame:
        """Return one row for each measured latency."""
        rows = self._rows("SELECT * FROM latencies ORDER BY rowid")
        parsed = [_parsed(row, "versions") for row in rows]
        return _frame(parsed, columns=["architecture", "device", "median_ms"], numbers=_TIMES)

    def samples(self) -> list[tuple[int, Path, list[dict[str, Any]]]]:
        """Return (image id, image path, objects as COCO annotations) for each sample image."""
        truth = self._ground_truth()
        found: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in truth["images"]}
        for annotation in truth["annotations"]:
            found.setdefault(annotation["image_id"], []).append(annotation)
        return [(image, self.folder.sample(image), objects) for image, objects in found.items()]

    def category_names(self) -> dict[int, str]:
        """Return the class names of the sample images' objects by id, in the data's order."""
        return {category["id"]: str(category["name"]) for category in self._ground_truth()["categories"]}

    def detections(self, trial: int) -> list[dict[str, Any]]:
        """Return the final weights' detections on the samples: image_id and detections; empty before the end."""
        path = self.folder.trial(trial) / "detections.json"
        return _read(path, _as_detections) if path.is_file() else []

    def _ground_truth(self) -> dict[str, list[dict[str, Any]]]:
        path = self.folder.ground_truth
        return _read(path, _as_truth) if path.is_file() else {"images": [], "annotations": [], "categories": []}

    # --- the database ------------------------------------------------------------------------------------------------

    def _once(self, what: str, read: Callable[[], Kept]) -> Kept:
        """Cache a result until the ledger changes, since each section of a report asks again."""
        state = self.folder.ledger.stat()
        key = (state.st_mtime_ns, state.st_size)
        if self._kept.get(what, (None, None))[0] != key:
            self._kept[what] = (key, read())
        kept: Kept = self._kept[what][1]
        return kept

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        try:
            with _reading(self.folder.ledger) as connection:
                return [dict(row) for row in connection.execute(query, values)]
        except sqlite3.DatabaseError as error:
            raise UserError(f"{self.folder.ledger} cannot be read: {error}{what_to_do(error)}") from None

    def _latency_ms(self) -> dict[str, float]:
        query = (
            "SELECT * FROM latencies WHERE batch = 1 AND dtype = 'float32' AND backend = 'eager' AND scope = 'network' "
            "ORDER BY rowid"
        )
        groups: dict[tuple[Any, ...], dict[str, float]] = {}
        for row in self._rows(query):
            group = groups.setdefault((row["device"], row["threads"], row["method"]), {})
            group[row["architecture"]] = row["median_ms"]
        # For equal numbers of architectures, prefer measurements of `scaling-lab measure` to those of trials.
        return max(groups.items(), key=lambda group: (len(group[1]), group[0][2] != "quick"), default=((), {}))[1]


def what_to_do(error: sqlite3.Error) -> str:
    """Return advice for a damaged ledger, or "" for other errors, such as a busy lock."""
    damaged = ("malformed", "not a database", "no such table", "no such column")
    if not any(words in str(error) for words in damaged):
        return ""
    return "; it is damaged: restore a copy, or run the study again in another folder"


@contextmanager
def _reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database for reading, even with a killed writer's journal in a read-only folder."""
    try:
        connection = _open(path)
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        with tempfile.TemporaryDirectory() as folder:
            for file in (path, path.with_name(path.name + "-journal")):
                if file.exists():
                    shutil.copy(file, folder)
            connection = sqlite3.connect(Path(folder) / path.name)
            connection.row_factory = sqlite3.Row
            yield connection
            connection.close()
        return
    try:
        yield connection
    finally:
        connection.close()


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(os.fsencode(path.resolve()))}?mode=ro", uri=True, timeout=30)
    connection.row_factory = sqlite3.Row
    return connection


def _read(path: Path, take: Callable[[Any], Kept]) -> Kept:
    """Read a JSON file of the run's folder. `take` returns the used part, and fails where it is missing.

    Raises UserError for a truncated, damaged or unrelated file.
    """
    try:
        return take(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        why = f"no {error}" if isinstance(error, KeyError) else first_line(error)
        raise UserError(f"{path} is damaged ({why}); remove it, and the report omits its pictures") from None


def _as_detections(read: Any) -> list[dict[str, Any]]:
    """Return the detections on each sample image: image_id, and detections with bbox, category_id and score."""
    return [
        {
            "image_id": int(image["image_id"]),
            "detections": [{**_as_box(box), "score": float(box["score"])} for box in image["detections"]],
        }
        for image in read
    ]


def _as_truth(read: Any) -> dict[str, list[dict[str, Any]]]:
    """Return the sample images and their objects in COCO's format."""
    return {
        "images": [{**image, "id": int(image["id"])} for image in read["images"]],
        "annotations": [{**_as_box(each), "image_id": int(each["image_id"])} for each in read["annotations"]],
        "categories": [{"id": int(each["id"]), "name": each["name"]} for each in read.get("categories", [])],
    }


def _as_box(read: Any) -> dict[str, Any]:
    x, y, width, height = (float(value) for value in read["bbox"])
    return {**read, "bbox": [x, y, width, height], "category_id": int(read["category_id"])}


def _parsed(row: Mapping[str, Any], *columns: str) -> dict[str, Any]:
    return {name: json.loads(value) if name in columns else value for name, value in row.items()}


def _column_names(query: str) -> list[str]:
    names = query.partition("SELECT")[2].partition("FROM")[0].split(",")
    return [name.split()[-1].split(".")[-1] for name in names if name.split()[-1] not in ("params", "parts", "costs")]


def _frame(rows: list[dict[str, Any]], *, columns: Sequence[str], numbers: Sequence[str] = ()) -> pd.DataFrame:
    """Return a table that has `columns` even without rows.

    Missing values are NaN in columns of numbers, including those in `numbers`, and None in others. pandas alone would use
    NaN in partly missing text columns, and None in entirely missing number columns.
    """
    import pandas as pd

    table = pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(columns))
    table = table.astype(dict.fromkeys([name for name in numbers if name in table], float))
    others = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    return table.assign(**{str(name): _or_none(table[name]) for name in others})


def _or_none(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column's values, with None for missing ones."""
    return values.astype(object).where(values.notna(), None)
