"""The report of 10,000 trials: seconds to write it, its size, and its response times in a real browser.

python benchmarks/large_report.py [--trials 10000] [--folder runs/large_report]

The run is simulated (a ledger with random results of a space of about 7,000 architectures); the report is
reports/frontier.py. The second part needs chromium. Goals: 20 s, 12 MB, and fast responses (0.1 s for pointing, 1 s for
redrawing all points).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from scaling_lab.architecture import Anchors, DetectorSpec, topologies
from scaling_lab.report import write_report
from scaling_lab.runs.reader import SCHEMA, SCHEMA_VERSION, RunFolder

NAMES = ("fpn", "panet", "bifpn", "nas_fpn", "fully_connected")
PROTOCOL, TIME, EPOCHS = "0123456789ab", "2026-01-01T10:00:00.000+00:00", 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=Path("runs/large_report"))
    options = parser.parse_args()
    make_run(options.folder, options.trials)
    start = time.perf_counter()
    page = write_report(options.folder, Path(__file__).parents[1] / "reports" / "frontier.py")
    seconds = time.perf_counter() - start
    print(f"{options.trials:,} trials: written in {seconds:.1f} s, {page.stat().st_size / 1e6:.1f} MB, {page}")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("no chromium: response times were not measured")
    else:
        for what, taken in answers(page, chromium).items():
            print(f"{what:<44} {taken:6.2f} s")


def make_run(path: Path, trials: int) -> None:
    """Write a ledger with `trials` simulated trials, a tenth of them failed."""
    shutil.rmtree(path, ignore_errors=True)
    folder = RunFolder(path)
    folder.path.mkdir(parents=True)
    random = np.random.default_rng(0)
    with sqlite3.connect(folder.ledger) as connection:
        connection.executescript(SCHEMA)
        meta = {
            "schema_version": SCHEMA_VERSION, "study": "large_report", "question": "How does a large report behave?",
            "study_file": "none", "sampler": "tpe", "protocol": PROTOCOL, "planned_trials": trials, "seeds": [0],
            "objectives": {"ap": "maximize", "gmacs": "minimize"}, "limits": {}, "space": "made up",
        }  # fmt: skip
        connection.executemany("INSERT INTO meta VALUES (?, ?)", [(k, json.dumps(v)) for k, v in meta.items()])
        for trial in range(1, trials + 1):
            _add_trial(connection, trial, random)
    connection.close()


def _add_trial(connection: sqlite3.Connection, trial: int, random: np.random.Generator) -> None:
    place, width, repeats = (
        int(random.integers(len(NAMES))),
        8 * int(random.integers(4, 40)),
        int(random.integers(1, 6)),
    )
    head_repeats, size = int(random.integers(1, 5)), 128 * int(random.integers(1, 5))
    spec = DetectorSpec(
        backbone="resnet10t", topology=getattr(topologies, NAMES[place])(3, 7), width=width, repeats=repeats,
        head_repeats=head_repeats, image_size=(size, size), num_classes=4, anchors=Anchors(scale=2.0),
    )  # fmt: skip
    gmacs = 0.05 * (width / 64) ** 1.5 * repeats**0.6 * head_repeats**0.2 * (size / 128) ** 2
    parts = {part: {"params_m": 0.2, "gmacs": gmacs / 3} for part in ("backbone", "feature_network", "heads")}
    costs = {"params_m": 5 + width / 100, "gmacs": gmacs, "memory_mb": 20 * gmacs}
    row = {
        "digest": spec.digest, "spec": spec.to_json(), "description": spec.describe(),
        "topology": spec.topology.describe(), "costs": json.dumps(costs), "parts": json.dumps(parts),
    }  # fmt: skip
    names, marks = ", ".join(row), ", ".join(f":{name}" for name in row)
    connection.execute(f"INSERT OR IGNORE INTO architectures ({names}) VALUES ({marks})", row)
    ap = float(np.clip(30 + 4 * np.log2(gmacs) + place + random.normal(0, 2), 0.1, 99.0))
    complete = bool(random.random() < 0.9)
    point = {"topology": NAMES[place], "width": width, "repeats": repeats, "head_repeats": head_repeats, "size": size}
    values = {
        "id": trial, "architecture": spec.digest, "protocol": PROTOCOL, "seed": trial, "role": "search",
        "params": json.dumps(point), "epochs": EPOCHS, "epochs_done": EPOCHS if complete else 1, "started": TIME,
        "ended": TIME, "seconds": 30.0 + trial % 7, "device": "cpu", "state": "complete" if complete else "failed",
    }  # fmt: skip
    if complete:
        values |= {"ap": ap, "ap50": min(99.0, 1.5 * ap), "ap75": 0.9 * ap, "ap_small": 0.7 * ap}
    else:
        values |= {"failure_kind": "diverged", "failure_message": "the loss is nan in epoch 2"}
    places = ", ".join("?" * len(values))
    connection.execute(f"INSERT INTO trials ({', '.join(values)}) VALUES ({places})", list(values.values()))
    for epoch in range(1, values["epochs_done"] + 1):
        metrics = json.dumps({"epoch": epoch, "loss": 4.0 - 0.3 * epoch, "ap": ap * epoch / EPOCHS})
        connection.execute("INSERT INTO epochs VALUES (?, ?, ?)", (trial, epoch, metrics))


def answers(page: Path, chromium: str) -> dict[str, float]:
    """Open the page and return the response times of a reader's actions, in seconds."""
    from playwright.sync_api import sync_playwright

    found: dict[str, float] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        start = time.perf_counter()
        tab.goto(page.resolve().as_uri())
        tab.wait_for_selector(".chosen h3")
        found["opening, until all is drawn"] = time.perf_counter() - start
        tab.locator(".plot").scroll_into_view_if_needed()
        box = tab.locator(".plot .nsewdrag").first.bounding_box()
        assert box is not None
        start = time.perf_counter()
        for step in range(20):
            tab.mouse.move(box["x"] + box["width"] * (0.3 + 0.02 * step), box["y"] + box["height"] * 0.5)
            tab.evaluate("() => new Promise(requestAnimationFrame)")
        found["pointing, each move"] = (time.perf_counter() - start) / 20
        # Each returns after the browser has painted the result.
        painted = "await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));"
        filtering = (
            "async (text) => { const input = document.querySelector('.controls .filter input'); input.value = text; "
            "input.dispatchEvent(new Event('input')); " + painted + " }"
        )
        for what, text in (
            ("filtering by a word", "bifpn"),
            ("filtering by a bound", "bifpn gmacs<0.5"),
            ("all again", ""),
        ):
            found[what] = _seconds(lambda text=text: tab.evaluate(filtering, text))
        heading = (
            "async () => { document.querySelector('#table-architectures th:nth-child(3) button').click(); "
            + painted
            + " }"
        )
        found["sorting the table"] = _seconds(lambda: tab.evaluate(heading))
        row = (
            "async () => { document.querySelector('#table-architectures tbody tr:nth-child(3)').click(); "
            + painted
            + " }"
        )
        found["selecting an architecture"] = _seconds(lambda: tab.evaluate(row))
        theme = "async () => { document.getElementById('theme').click(); " + painted + " }"
        found["changing the theme"] = _seconds(lambda: tab.evaluate(theme))
        browser.close()
    return found


def _seconds(act) -> float:  # type: ignore[no-untyped-def]
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
