"""Time and memory of reading annotations of COCO's size, each in a process of its own.

    python benchmarks/coco_annotations.py                       # 118,000 images and 860,000 boxes, some 450 MB
    python benchmarks/coco_annotations.py --scale 0.05 --careful

It makes up a file with polygons as long as COCO's, in a temporary folder, and reads it as typed columns, then from the cache
(and with --careful record by record, as irregular files are). Memory is the peak of the process's resident set; the part
beyond that of its imports is in brackets.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

IMAGES, BOXES, CLASSES = 118_000, 860_000, 80
# Numbers of a polygon, two for each corner: as many as make 450 MB.
LEAST_NUMBERS, MOST_NUMBERS = 12, 84
POLYGONS, WIDTH, HEIGHT = 2000, 640, 480
MODES = ("typed", "cached", "careful")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="this share of COCO's images and boxes")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--careful", action="store_true", help="also the reading of irregular files")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--read", choices=MODES, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        print(json.dumps(read(options.file, options.read)))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "instances_train2017.json")
        write(path, round(options.scale * IMAGES), round(options.scale * BOXES))
        found = {"megabytes": path.stat().st_size / 1e6}
        for mode in MODES if options.careful else MODES[:-1]:
            found[mode] = [in_process(path, mode, Path(folder, "cache")) for _ in range(options.repeats)]
    if options.json:
        print(json.dumps(found))
        return
    print(f"a file of {found['megabytes']:.0f} MB, the best of {options.repeats} readings:")
    for mode in MODES:
        if runs := found.get(mode):
            best = min(runs, key=lambda run: run["seconds"])
            peak, before = max(run["peak_mb"] for run in runs), best["before_mb"]
            times = f"{best['seconds']:6.2f} s ({best['cpu_seconds']:.2f} s of a core)"
            print(f"  {mode:8} {times}, {peak:6.0f} MB at most ({peak - before:.0f} MB of the reading)")


def write(path: Path, images: int, boxes: int, seed: int = 0) -> None:
    """Write a file in COCO's format, in the form of json.dump: images, then annotations, then categories."""
    chance = np.random.default_rng(seed)
    polygons = [_polygon(chance) for _ in range(POLYGONS)]
    with path.open("w", encoding="ascii") as file:
        file.write('{"info": {"description": "made up"}, "licenses": [{"id": 1, "name": "none"}], "images": [')
        for number in range(images):
            url = f"http://images.cocodataset.org/train2017/{number:012d}.jpg"
            image = {"license": 1, "file_name": f"{number:012d}.jpg", "coco_url": url, "height": HEIGHT, "width": WIDTH}
            image |= {"date_captured": "2013-11-14 11:18:45", "flickr_url": url, "id": 3 * number + 9}
            file.write(", " * (number > 0) + json.dumps(image))
        file.write('], "annotations": [')
        owners, classes, picks = (chance.integers(0, most, boxes) for most in (images, CLASSES, POLYGONS))
        corners = chance.uniform(0, 0.5, (boxes, 2)) * (WIDTH, HEIGHT)
        sides = np.exp(chance.uniform(1.5, 5.3, (boxes, 2))).clip(max=(WIDTH / 2, HEIGHT / 2))
        for number, (x, y, width, height) in enumerate(np.hstack([corners, sides]).round(2).tolist()):
            file.write(
                f'{", " * (number > 0)}{{"segmentation": [[{polygons[picks[number]]}]], "area": {0.6 * width * height:.5f}, '
                f'"iscrowd": {int(number % 90 == 0)}, "image_id": {3 * owners[number] + 9}, "bbox": [{x}, {y}, {width}, '
                f'{height}], "category_id": {classes[number] + 1}, "id": {1000 + number}}}'
            )
        names = [
            {"supercategory": "thing", "id": number, "name": f"class {number}"} for number in range(1, CLASSES + 1)
        ]
        file.write(f'], "categories": {json.dumps(names)}}}')


def _polygon(chance: np.random.Generator) -> str:
    count = 2 * chance.integers(LEAST_NUMBERS // 2, MOST_NUMBERS // 2)
    return ", ".join(f"{value:.2f}" for value in chance.uniform(0, HEIGHT, count))


def read(path: Path, mode: str) -> dict[str, float]:
    """Read the file once, in this process. Return seconds, and MB before and at the peak."""
    from scaling_lab.data.annotation_cache import read_cached
    from scaling_lab.data.annotations import read_annotations, read_carefully

    before = _peak_mb()
    began, began_cpu = time.perf_counter(), time.process_time()
    how = {"typed": read_annotations, "cached": read_cached, "careful": read_carefully}[mode]
    found = how(path)
    boxes = len(found.entries.boxes)  # what training needs
    seconds, cpu = time.perf_counter() - began, time.process_time() - began_cpu
    assert boxes
    return {"seconds": seconds, "cpu_seconds": cpu, "before_mb": before, "peak_mb": _peak_mb(), "boxes": boxes}


def _peak_mb() -> float:
    """Return this program's peak. Linux's getrusage would include the parent's before it started this."""
    status = Path("/proc/self/status")
    if status.is_file():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return float(line.split()[1]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def in_process(path: Path, mode: str, cache: Path) -> dict[str, float]:
    """Read the file once, in a process of its own. Return what `read` does."""
    command = [sys.executable, __file__, "--read", mode, "--file", str(path)]
    root = str(Path(__file__).resolve().parent.parent)
    environment = {**os.environ, "SCALING_LAB_CACHE": str(cache), "PYTHONPATH": root}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


if __name__ == "__main__":
    main()
