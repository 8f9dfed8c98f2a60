"""The section Detections: ground truth and each architecture's boxes on the same held-out images."""

from __future__ import annotations

import base64
import functools
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from PIL import Image

from scaling_lab.errors import UserError, first_line
from scaling_lab.report.figures.detections_figure import TRUTH, boxes_of, detections_figure, labelled
from scaling_lab.report.page.blocks import Figure, Panel, Picture, Pictures, Section, Text

if TYPE_CHECKING:
    from scaling_lab.report.analysis.frontier import Frontier
    from scaling_lab.runs.reader import Runs

THRESHOLD = 0.3
MOST_IMAGES = 4
MOST_ARCHITECTURES = 7
LONGEST_SIDE = 480  # pixels; larger pictures are downscaled to JPEGs


def detections(runs: Runs, frontier: Frontier, *, threshold: float = THRESHOLD) -> Section:
    """Show the detections of each architecture's lowest seed on the sample images."""
    samples = [sample for sample in runs.samples() if sample[1].is_file()][:MOST_IMAGES]
    chosen = _chosen_trials(frontier)
    if chosen.empty:
        return Section(title="Detections", blocks=())
    if not samples:
        return Section(title="Detections", blocks=(Text(text="The run has no sample images."),))
    table = boxes_table(runs, chosen, samples, threshold)
    rows = tuple(
        _picture(image, path, table[table["image"] == image], list(chosen["label"])) for image, path, _ in samples
    )
    left = len(frontier.architectures) - len(chosen)
    caption = (
        f"Boxes with a score of at least {threshold:.2f}, on held-out images, with class and score, or the score alone if "
        "there is little room. "
        "The trial shown for each architecture is the complete one with the lowest seed, whatever its AP."
        f"{f' {left} more architectures are not shown.' if left else ''}"
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
    """Return the trial with the lowest seed of each of the best architectures."""
    first = frontier.trials.sort_values(["seed", "trial"], kind="stable").drop_duplicates("architecture")
    best = [digest for digest, series in frontier.series.items() if series >= 0][:MOST_ARCHITECTURES]
    return first.set_index("architecture").reindex(best).reset_index()


def boxes_table(
    runs: Runs, trials: pd.DataFrame, samples: list[tuple[int, Path, list[dict[str, Any]]]], threshold: float
) -> pd.DataFrame:
    """Return all boxes of the pictures: image, path in the run, panel, x, y, width, height, class, series, score."""
    names = runs.category_names()
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


def _picture(image: int, path: Path, boxes: pd.DataFrame, labels: list[str]) -> Picture:
    data, size, scale = shrunk(path)
    panels, truth = [], boxes_of(boxes[boxes["panel"] == TRUTH], scale)
    for panel in [TRUTH, *labels]:
        here = boxes[boxes["panel"] == panel]
        panels.append(Panel(title=panel, boxes=labelled(boxes_of(here, scale), size, objects=truth)))
    return Picture(name=f"image {image}", href=data_uri(data), size=size, panels=tuple(panels))


def shrunk(path: Path) -> tuple[bytes, tuple[int, int], float]:
    """Return a picture's bytes, size and scale: unchanged if small, else a JPEG of LONGEST_SIDE."""
    try:
        data = path.read_bytes()
        image = Image.open(io.BytesIO(data))
        image.load()
    except (OSError, SyntaxError) as error:  # Pillow's error for a damaged PNG
        why = f"is damaged ({first_line(error)}); remove it, and the report omits it"
        raise UserError(f"{path} {why}") from None
    scale = min(1.0, LONGEST_SIDE / max(image.size))
    if scale == 1.0:
        return data, image.size, scale
    size = (round(image.width * scale), round(image.height * scale))
    buffer = io.BytesIO()
    image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(buffer, format="JPEG", quality=85)
    return buffer.getvalue(), size, scale


def data_uri(data: bytes) -> str:
    """Return the bytes of a JPEG or PNG as a data URI."""
    kind = "jpeg" if data[:2] == b"\xff\xd8" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


# --- labels ----------------------------------------------------------------------------------------------------------


# --- the figure for files --------------------------------------------------------------------------------------------
