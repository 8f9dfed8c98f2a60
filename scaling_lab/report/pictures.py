"""Sample detections: the ground truth and each architecture's boxes on the same held-out images. It runs no model."""

from __future__ import annotations

import functools
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.figure import Figure as MatplotlibFigure
from matplotlib.patches import Rectangle
from PIL import Image

from scaling_lab.report.blocks import Box, Figure, Panel, Picture, Pictures, Section, Text
from scaling_lab.report.style import INK, NARROW, SERIES_DARK, WIDE, new_figure

if TYPE_CHECKING:
    from scaling_lab.report.frontier import Frontier
    from scaling_lab.runs import Runs

THRESHOLD = 0.3
MOST_IMAGES = 6
MOST_ARCHITECTURES = 7
LONGEST_SIDE = 480  # pixels; larger pictures go into the page as smaller JPEGs
TRUTH = "Ground truth"


def detections(runs: Runs, frontier: Frontier, *, threshold: float = THRESHOLD) -> Section:
    """Show what the lowest seed of each architecture detects on the sample images."""
    samples = [sample for sample in runs.samples() if sample[1].is_file()][:MOST_IMAGES]
    chosen = _chosen_trials(frontier)
    if not samples or chosen.empty:
        why = (
            "The run holds no sample images."
            if not samples
            else "No trial is complete, so there are no detections to show."
        )
        return Section(title="Detections", blocks=(Text(text=why),))
    table = boxes_table(runs, chosen, samples, threshold)
    rows = tuple(
        _picture(image, path, table[table["image"] == image], list(chosen["label"])) for image, path, _ in samples
    )
    left = len(frontier.architectures) - len(chosen)
    caption = (
        f"Boxes with a score of at least {threshold:.2f}, on held-out images. Of each architecture the complete trial "
        f"with the lowest seed is shown, whatever its AP.{f' {left} more architectures are not shown.' if left else ''}"
    )
    figure = Figure(
        name="sample_detections",
        table=table,
        draw=functools.partial(detections_figure, folder=runs.path, panels=[TRUTH, *chosen["label"]]),
        title="",
        caption=caption,
        alt="Held-out images with ground truth and detections",
    )
    return Section(title="Detections", blocks=(Pictures(rows=rows, figure=figure),))


def _chosen_trials(frontier: Frontier) -> pd.DataFrame:
    """Give one trial of each of the best architectures: that with the lowest seed."""
    first = frontier.trials.sort_values(["seed", "trial"], kind="stable").drop_duplicates("architecture")
    best = [digest for digest, series in frontier.series.items() if series >= 0][:MOST_ARCHITECTURES]
    return first.set_index("architecture").reindex(best).reset_index()


def boxes_table(
    runs: Runs, trials: pd.DataFrame, samples: list[tuple[int, Path, list[dict[str, Any]]]], threshold: float
) -> pd.DataFrame:
    """List all boxes of the pictures: image, path in the run, panel, x, y, width, height, class, series, score."""
    names = _category_names(runs)
    series = {category: index for index, category in enumerate(names)}
    rows: list[dict[str, Any]] = []

    def add(image: int, panel: str, box: dict[str, Any], score: float | None) -> None:
        x, y, width, height = (float(value) for value in box["bbox"])
        category = box["category_id"]
        place = {
            "image": image,
            "path": f"samples/{image}.png",
            "panel": panel,
            "x": x,
            "y": y,
            "width": width,
            "height": height,
        }
        rows.append(
            {**place, "class": names.get(category, str(category)), "series": series.get(category, 0), "score": score}
        )

    for image, _, objects in samples:
        for box in objects:
            add(image, TRUTH, box, None)
    shown = {image for image, _, _ in samples}
    for trial, label in zip(trials["trial"], trials["label"], strict=True):
        for found in runs.detections(int(trial)):
            for box in sorted(found["detections"], key=lambda box: float(box["score"])):
                if found["image_id"] in shown and box["score"] >= threshold:
                    add(found["image_id"], str(label), box, float(box["score"]))
    columns = ["image", "path", "panel", "x", "y", "width", "height", "class", "series", "score"]
    return pd.DataFrame(rows, columns=columns).astype({"score": float})


def _category_names(runs: Runs) -> dict[int, str]:
    truth = json.loads(runs.folder.ground_truth.read_text(encoding="utf-8"))
    return {category["id"]: str(category["name"]) for category in truth.get("categories", [])}


def _picture(image: int, path: Path, boxes: pd.DataFrame, labels: list[str]) -> Picture:
    data, size, scale = _shrunk(path)
    panels = []
    for panel in [TRUTH, *labels]:
        here = boxes[boxes["panel"] == panel]
        panels.append(Panel(title=panel, boxes=tuple(_box(row, scale) for row in here.to_dict("records"))))
    return Picture(name=f"image {image}", data=data, size=size, panels=tuple(panels))


def _box(row: dict[Any, Any], scale: float) -> Box:
    bbox = (row["x"] * scale, row["y"] * scale, row["width"] * scale, row["height"] * scale)
    score = None if pd.isna(row["score"]) else float(row["score"])
    return Box(bbox=bbox, name=str(row["class"]), series=int(row["series"]), score=score)


def _shrunk(path: Path) -> tuple[bytes, tuple[int, int], float]:
    """Give a picture's bytes, its size and its scale: as it is where it is small, a JPEG of LONGEST_SIDE where not."""
    data = path.read_bytes()
    image = Image.open(io.BytesIO(data))
    scale = min(1.0, LONGEST_SIDE / max(image.size))
    if scale == 1.0:
        return data, image.size, scale
    size = (round(image.width * scale), round(image.height * scale))
    buffer = io.BytesIO()
    image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(buffer, format="JPEG", quality=85)
    return buffer.getvalue(), size, scale


def detections_figure(boxes: pd.DataFrame, width: float = WIDE, *, folder: Path, panels: list[str]) -> MatplotlibFigure:
    """Draw the pictures as a grid, images down and panels across, from the table of boxes_table."""
    paths = list(dict.fromkeys(boxes["path"])) if len(boxes) else []
    images = {path: Image.open(folder / path).convert("RGB") for path in paths}
    width = width if width <= NARROW else max(width, 1.35 * len(panels))
    side = width / len(panels)
    heights = [side * image.height / image.width for image in images.values()] or [side]
    figure, axes = new_figure(width, sum(heights) + 0.35, len(panels), max(1, len(paths)))
    for index, one in enumerate(axes):
        one.set_axis_off()
        row, column = divmod(index, len(panels))
        if row == 0:
            one.set_title(panels[column], fontsize=7, color=INK, wrap=True)
        if row < len(paths):
            one.imshow(images[paths[row]], interpolation="nearest")
            here = boxes[(boxes["path"] == paths[row]) & (boxes["panel"] == panels[column])]
            _draw_boxes(one, here, images[paths[row]].width)
    return figure


def _draw_boxes(axes: Any, boxes: pd.DataFrame, width: int) -> None:
    """Draw boxes with their words above, which grow towards the middle of the picture."""
    for row in boxes.to_dict("records"):
        colour = SERIES_DARK[int(row["series"]) % len(SERIES_DARK)]
        axes.add_patch(
            Rectangle((row["x"], row["y"]), row["width"], row["height"], fill=False, edgecolor=colour, linewidth=1.0)
        )
        text = str(row["class"]) if pd.isna(row["score"]) else f"{row['class']} {row['score']:.2f}"
        x, side = (row["x"], "left") if row["x"] < 0.45 * width else (row["x"] + row["width"], "right")
        axes.text(
            x, row["y"], text, fontsize=4.0, color="#10151d", va="bottom", ha=side, clip_on=True,
            bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.6},
        )  # fmt: skip
