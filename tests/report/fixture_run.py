"""Writes a run's folder as the study engine would, with made-up results: what reports are tested on."""

from __future__ import annotations

import functools
import json
import math
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from scaling_lab.architecture import Anchors, DetectorSpec, Topology, topologies
from scaling_lab.report import Frontier, compute_frontier
from scaling_lab.report.analysis.published_tables import COCO_CLASSES
from scaling_lab.runs.reader import SCHEMA, SCHEMA_VERSION, RunFolder, Runs

CLASSES = ("square in red frame", "disc in red frame", "square in blue frame", "disc in blue frame")
TRUE_AP = {"none": 31.1, "fpn": 43.6, "panet": 47.4, "nas_fpn": 48.4, "fully_connected": 46.0, "bifpn": 53.0}
GMACS = {"none": 0.061, "fpn": 0.071, "panet": 0.083, "nas_fpn": 0.088, "fully_connected": 0.117, "bifpn": 0.085}
SIZE = 160
COCO_META: dict[str, Any] = {
    "data": {"kind": "coco", "folder": "coco", "train": "train2017", "val": "val2017"},
    "data_description": "COCO-format set coco: 118287 images of train2017 and 5000 of val2017, 80 classes",
    "class_names": list(COCO_CLASSES),
}
TIME = "2025-03-01T10:{:02d}:00.000+00:00"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial to write; `ap` None means that the fixture draws it around the topology's made-up truth."""

    topology: str
    seed: int = 0
    state: str = "complete"
    ap: float | None = None
    epochs: int = 6
    width: int = 32
    protocol: str = "aaaa00001111"
    role: str = "search"
    fusion: str | None = None  # None: the topology's own
    backbone: str = "resnet10t"
    failure: tuple[str, str] = ("diverged", "the loss is nan in epoch 2")
    image_size: int = 128
    head: str = "anchors"
    early: Mapping[int, float] = field(default_factory=dict)  # AP at epochs, in place of a curve towards `ap`


@dataclass(frozen=True, kw_only=True)
class Latency:
    """A condition under which all complete architectures were measured."""

    device: str = "AMD EPYC 7B13, 2 cores"
    dtype: str = "float32"
    batch: int = 1
    threads: int = 2


@dataclass(frozen=True, kw_only=True)
class Fixture:
    """What to write."""

    trials: Sequence[Trial]
    spread: float = 2.0
    latencies: Sequence[Latency] = ()
    samples: int = 3
    meta: Mapping[str, Any] = field(default_factory=dict)
    rejections: int = 0


def topology_trials(seeds: Sequence[int] = (0, 1, 2), names: Sequence[str] = tuple(TRUE_AP)) -> list[Trial]:
    """Give a complete trial for each topology and seed."""
    return [Trial(topology=name, seed=seed) for name in names for seed in seeds]


def opened(folder: Path, trials: Sequence[Trial], **meta: Any) -> tuple[Runs, Frontier]:
    """Write a run without pictures and read it."""
    runs = Runs(write_run(folder / "run", Fixture(trials=trials, samples=0, meta=meta)))
    return runs, compute_frontier(runs)


def with_aps(**aps: tuple[float, ...]) -> list[Trial]:
    """Give trials of topologies with these APs, a seed for each."""
    return [Trial(topology=name, seed=seed, ap=ap) for name, values in aps.items() for seed, ap in enumerate(values)]


def spec_of(trial: Trial) -> DetectorSpec:
    return _spec(trial.topology, trial.fusion, trial.backbone, trial.width, trial.image_size, trial.head)


def digest_of(trial: Trial) -> str:
    return str(_architecture(spec_of(trial))["digest"])


@functools.cache
def _spec(topology: str, fusion: str | None, backbone: str, width: int, image_size: int, head: str) -> DetectorSpec:
    chosen = {} if fusion is None else {"fusion": fusion}
    connections: Topology = getattr(topologies, topology)(3, 7, **chosen)
    return DetectorSpec(
        backbone=backbone, topology=connections, width=width, repeats=2, head_repeats=1,
        image_size=(image_size, image_size), num_classes=len(CLASSES), anchors=Anchors(scale=2.0), head=head,
    )  # fmt: skip


@functools.cache
def _architecture(spec: DetectorSpec) -> dict[str, str]:
    """What a ledger holds of an architecture, but for its costs."""
    return {
        "digest": spec.digest, "spec": spec.to_json(), "description": spec.describe(),
        "topology": spec.topology.describe(),
    }  # fmt: skip


def write_run(path: Path, fixture: Fixture) -> Path:
    """Write a whole run folder and give its path."""
    folder = RunFolder(path)
    folder.samples.mkdir(parents=True)
    connection = sqlite3.connect(folder.ledger)
    connection.executescript(SCHEMA)
    _write_meta(connection, fixture)
    _write_session(connection)
    random = np.random.default_rng(7)
    truth = _write_samples(folder, fixture.samples)
    for number, trial in enumerate(fixture.trials, start=1):
        _write_architecture(connection, spec_of(trial), trial)
        _write_trial(connection, folder, number, trial, random, fixture, truth)
    _write_latencies(connection, fixture)
    for index in range(fixture.rejections):
        row = (None, json.dumps({"width": 64 + index}), "gmacs is above the limit 0.2", "{}", TIME.format(0))
        connection.execute(
            "INSERT INTO rejections (architecture, params, reason, costs, time) VALUES (?, ?, ?, ?, ?)", row
        )
    connection.commit()
    connection.close()
    return path


def _write_meta(connection: sqlite3.Connection, fixture: Fixture) -> None:
    meta: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "study": "topology_ablation",
        "question": "Which cross-scale connections does a detector need, at equal backbone and heads?",
        "study_file": "studies/topology_ablation.py",
        "study_source": '"""Question."""\nSTUDY = Study(question="a < b & c", space=space)\n',
        "data": {"kind": "shapes", "train_images": 4096, "val_images": 256, "seed": 0},
        "data_description": "Shapes: 4096 training and 256 held-out images made with seed 0",
        "data_digest": "5f2c9d0e1a7b",
        "class_names": list(CLASSES),
        "recipe": {"epochs": 6, "batch_size": 16, "optimizer": "adamw", "lr": 0.004, "jitter": [1.0, 1.0]},
        "objectives": {"ap": "maximize", "gmacs": "minimize"},
        "limits": {"gmacs": 0.2},
        "seeds": sorted({trial.seed for trial in fixture.trials if trial.role == "search"}),
        "form": None,
        "baseline": {"topology": "panet"},
        "report": "reports/topology_ablation.py",
        "planned_trials": len(fixture.trials),
    }
    rows = [(key, json.dumps(value)) for key, value in {**meta, **fixture.meta}.items()]
    connection.executemany("INSERT INTO meta VALUES (?, ?)", rows)


def _write_session(connection: sqlite3.Connection) -> None:
    versions = json.dumps({"python": "3.11.9", "torch": "2.15.0", "ray": "2.60.0", "optuna": "5.0.0"})
    host = json.dumps({"name": "lab-1", "cpu": "AMD EPYC 7B13", "cores": 2, "memory_gb": 15.6, "gpus": []})
    row = (
        TIME.format(0),
        TIME.format(5),
        "scaling-lab run studies/topology_ablation.py",
        "ray",
        "b8c25855d1",
        1,
        versions,
        host,
    )
    connection.execute(
        "INSERT INTO sessions (started, ended, command, executor, git_commit, git_dirty, versions, host)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row,
    )  # fmt: skip


def _write_architecture(connection: sqlite3.Connection, spec: DetectorSpec, trial: Trial) -> None:
    gmacs = GMACS[trial.topology] * (trial.width / 32) ** 1.5
    parts = {
        "backbone": {"params_m": 4.9, "gmacs": 0.055},
        "feature_network": {"params_m": 0.02 + 0.4 * (gmacs - 0.06), "gmacs": gmacs - 0.06},
        "heads": {"params_m": 0.02, "gmacs": 0.005},
    }
    params = sum(part["params_m"] for part in parts.values())
    costs = {"params_m": params, "gmacs": gmacs, "memory_mb": 20 * gmacs}
    row = {**_architecture(spec), "costs": json.dumps(costs), "parts": json.dumps(parts)}
    names, places = ", ".join(row), ", ".join(f":{name}" for name in row)
    connection.execute(f"INSERT OR IGNORE INTO architectures ({names}) VALUES ({places})", row)


def _write_trial(
    connection: sqlite3.Connection,
    folder: RunFolder,
    number: int,
    trial: Trial,
    random: np.random.Generator,
    fixture: Fixture,
    truth: list[dict[str, Any]],
) -> None:
    ap = float(TRUE_AP[trial.topology] + random.normal(0, fixture.spread)) if trial.ap is None else trial.ap
    complete = trial.state == "complete"
    done = trial.epochs if complete else {"planned": 0, "failed": 1}.get(trial.state, trial.epochs // 2)
    failure = trial.failure if trial.state == "failed" else (None, None)
    final = {
        "ap": ap,
        "ap50": min(99.0, 1.5 * ap),
        "ap75": 0.9 * ap,
        "ap_small": 0.7 * ap,
        "ap_medium": ap,
        "ap_large": None,
    }
    metrics = {**final, "ap_by_class": {name: ap + shift for name, shift in zip(CLASSES, (-4, -1, 1, 4), strict=True)}}
    row = {
        "id": number, "architecture": digest_of(trial), "protocol": trial.protocol, "seed": trial.seed, "role": trial.role,
        "params": json.dumps({"topology": trial.topology, "width": trial.width}), "epochs": trial.epochs,
        "epochs_done": done, "state": trial.state, "failure_kind": failure[0], "failure_message": failure[1],
        "session": 1,
        "started": TIME.format(1), "ended": TIME.format(2) if complete else None, "seconds": 8.0 * done + number % 3,
        "device": "cpu" if done else None, "metrics": json.dumps(metrics) if complete else None,
        **(final if complete else {}),
    }  # fmt: skip
    names = ", ".join(row)
    connection.execute(f"INSERT INTO trials ({names}) VALUES ({', '.join('?' * len(row))})", list(row.values()))
    for epoch in range(1, done + 1):
        progress = 1 - math.exp(-2.5 * epoch / trial.epochs)
        values = {"epoch": epoch, "epochs": trial.epochs, "loss": 4.0 - 2.6 * progress + 0.1 * random.random()}
        values |= {"ap": ap * progress / (1 - math.exp(-2.5)), "seconds": 8.0} if epoch % 2 == 0 else {"seconds": 8.0}
        values |= {"ap": trial.early[epoch]} if epoch in trial.early else {}
        connection.execute("INSERT INTO epochs VALUES (?, ?, ?)", (number, epoch, json.dumps(values)))
    if complete:
        _write_detections(folder.trial(number), truth, random)


def _write_samples(folder: RunFolder, count: int) -> list[dict[str, Any]]:
    """Write pictures with squares and discs, and give their objects."""
    random = np.random.default_rng(3)
    annotations: list[dict[str, Any]] = []
    for image_id in range(1, count + 1):
        picture = Image.new("RGB", (SIZE, SIZE), (206, 210, 204))
        draw = ImageDraw.Draw(picture)
        draw.rectangle((2, 2, SIZE - 3, SIZE - 3), outline=(196, 50, 46) if image_id % 2 else (48, 84, 196), width=4)
        for index in range(3):
            side = int(random.integers(14, 44))
            x = int(random.integers(8 + 46 * index, 14 + 46 * index))
            y = int(random.integers(12, SIZE - 12 - side))
            shape = draw.rectangle if index % 2 else draw.ellipse
            shape((x, y, x + side, y + side), fill=tuple(int(value) for value in random.integers(40, 170, size=3)))
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image_id, "category_id": index % len(CLASSES) + 1,
                 "iscrowd": 0, "bbox": [x, y, side, side], "area": side * side}
            )  # fmt: skip
        picture.save(folder.samples / f"{image_id}.png")
    images = [{"id": i + 1, "width": SIZE, "height": SIZE, "file_name": f"{i + 1}.png"} for i in range(count)]
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(CLASSES)]
    truth = {"images": images, "annotations": annotations, "categories": categories}
    if count:
        folder.ground_truth.write_text(json.dumps(truth))
    return annotations


def _write_detections(folder: Path, truth: list[dict[str, Any]], random: np.random.Generator) -> None:
    folder.mkdir(parents=True)
    found: dict[int, list[dict[str, Any]]] = {}
    for annotation in truth:
        bbox = [float(value + random.normal(0, 2)) for value in annotation["bbox"]]
        score = float(np.clip(random.normal(0.6, 0.25), 0.01, 0.99))
        box = {"bbox": bbox, "category_id": annotation["category_id"], "score": score}
        found.setdefault(annotation["image_id"], []).append(box)
    rows = [{"image_id": image, "detections": boxes} for image, boxes in found.items()]
    (folder / "detections.json").write_text(json.dumps(rows))


def _write_latencies(connection: sqlite3.Connection, fixture: Fixture) -> None:
    complete = {digest_of(trial): trial for trial in fixture.trials if trial.state == "complete"}
    for number, latency in enumerate(fixture.latencies):
        for digest, trial in complete.items():
            median = (9.0 + 140 * (GMACS[trial.topology] - 0.06)) * latency.batch**0.8 * (1 + number)
            row = (digest, latency.device, latency.dtype, latency.batch, latency.threads, "eager", "network", "quick",
                   median, 1.08 * median, 0.3, 60, 1, None, None, None, None, "{}")  # fmt: skip
            connection.execute(f"INSERT INTO latencies VALUES ({', '.join('?' * len(row))})", row)
