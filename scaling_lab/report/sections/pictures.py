"""Sample detections: the ground truth and each architecture's boxes on the same held-out images. It runs no model."""

from __future__ import annotations

import base64
import dataclasses
import functools
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as MatplotlibFigure
from matplotlib.patches import Rectangle
from PIL import Image

from scaling_lab.errors import UserError, first_line
from scaling_lab.report.figures import labels
from scaling_lab.report.figures.style import INK, NARROW, SERIES_DARK, WIDE, new_figure
from scaling_lab.report.page.blocks import Box, Figure, Label, Panel, Picture, Pictures, Section, Text

if TYPE_CHECKING:
    from scaling_lab.report.analysis.frontier import Frontier
    from scaling_lab.runs.reader import Runs

THRESHOLD = 0.3
MOST_IMAGES = 4
MOST_ARCHITECTURES = 7
LONGEST_SIDE = 480  # pixels; larger pictures go into the page as smaller JPEGs
LABEL_HEIGHT = 0.058  # of a picture's longer side
MOST_COVERED = 0.4  # of a label may lie on a box before it is shortened
TRUTH = "Ground truth"


def detections(runs: Runs, frontier: Frontier, *, threshold: float = THRESHOLD) -> Section:
    """Show what the lowest seed of each architecture detects on the sample images."""
    samples = [sample for sample in runs.samples() if sample[1].is_file()][:MOST_IMAGES]
    chosen = _chosen_trials(frontier)
    if chosen.empty:
        return Section(title="Detections", blocks=())
    if not samples:
        return Section(title="Detections", blocks=(Text(text="The run holds no sample images."),))
    table = boxes_table(runs, chosen, samples, threshold)
    rows = tuple(
        _picture(image, path, table[table["image"] == image], list(chosen["label"])) for image, path, _ in samples
    )
    left = len(frontier.architectures) - len(chosen)
    caption = (
        f"Boxes with a score of at least {threshold:.2f}, on held-out images, with class and score, or the score alone where "
        "there is little room. "
        "Of each architecture the complete trial with the lowest seed is shown, whatever its AP."
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
    """Give one trial of each of the best architectures: that with the lowest seed."""
    first = frontier.trials.sort_values(["seed", "trial"], kind="stable").drop_duplicates("architecture")
    best = [digest for digest, series in frontier.series.items() if series >= 0][:MOST_ARCHITECTURES]
    return first.set_index("architecture").reindex(best).reset_index()


def boxes_table(
    runs: Runs, trials: pd.DataFrame, samples: list[tuple[int, Path, list[dict[str, Any]]]], threshold: float
) -> pd.DataFrame:
    """List all boxes of the pictures: image, path in the run, panel, x, y, width, height, class, series, score."""
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
    panels, truth = [], _boxes(boxes[boxes["panel"] == TRUTH], scale)
    for panel in [TRUTH, *labels]:
        here = boxes[boxes["panel"] == panel]
        panels.append(Panel(title=panel, boxes=labelled(_boxes(here, scale), size, objects=truth)))
    return Picture(name=f"image {image}", href=data_uri(data), size=size, panels=tuple(panels))


def _boxes(rows: pd.DataFrame, scale: float = 1.0) -> list[Box]:
    boxes = []
    for row in rows.to_dict("records"):
        bbox = (row["x"] * scale, row["y"] * scale, row["width"] * scale, row["height"] * scale)
        score = None if pd.isna(row["score"]) else float(row["score"])
        boxes.append(Box(bbox=bbox, name=str(row["class"]), series=int(row["series"]), score=score))
    return boxes


def shrunk(path: Path) -> tuple[bytes, tuple[int, int], float]:
    """Give a picture's bytes, its size and its scale: as it is where it is small, a JPEG of LONGEST_SIDE where not."""
    try:
        data = path.read_bytes()
        image = Image.open(io.BytesIO(data))
        image.load()
    except (OSError, SyntaxError) as error:  # as Pillow calls what is wrong in a PNG
        why = f"is damaged ({first_line(error)}); remove it, and the report leaves it out"
        raise UserError(f"{path} {why}") from None
    scale = min(1.0, LONGEST_SIDE / max(image.size))
    if scale == 1.0:
        return data, image.size, scale
    size = (round(image.width * scale), round(image.height * scale))
    buffer = io.BytesIO()
    image.convert("RGB").resize(size, Image.Resampling.LANCZOS).save(buffer, format="JPEG", quality=85)
    return buffer.getvalue(), size, scale


def data_uri(data: bytes) -> str:
    """Give an image file's bytes, a JPEG or a PNG, as an address that holds them."""
    kind = "jpeg" if data[:2] == b"\xff\xd8" else "png"
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


# --- labels ----------------------------------------------------------------------------------------------------------


def labelled(
    boxes: Sequence[Box], size: tuple[int, int], height: float | None = None, *, objects: Sequence[Box] = ()
) -> tuple[Box, ...]:
    """Give each box a label in the picture that covers no other label, the highest scores first.

    It is the score alone where the words would cover much of other objects, and nothing where that has no room. `height` is
    the labels', in pixels of the picture; if not told, LABEL_HEIGHT says it. `objects` are further boxes that a label is not
    to hide: those of the ground truth, which a detector may have missed.
    """
    height = LABEL_HEIGHT * max(size) if height is None else height
    placed: dict[int, Label] = {}
    for index in sorted(range(len(boxes)), key=lambda index: -(boxes[index].score or 0.0)):
        label = _label(boxes[index], [*boxes, *objects], list(placed.values()), size, height)
        if label is not None:
            placed[index] = label
    return tuple(dataclasses.replace(box, label=placed.get(index)) for index, box in enumerate(boxes))


def _label(
    box: Box, boxes: Sequence[Box], taken: Sequence[Label], size: tuple[int, int], height: float
) -> Label | None:
    """Choose among the words and the score alone the first that covers little, or that which covers less."""
    best: tuple[float, Label] | None = None
    for text in [box.text] if box.score is None else [box.text, f"{box.score:.2f}"]:
        found = _place(box, text, boxes, taken, size, height)
        if found is not None and (best is None or found[0] < best[0]):
            best = found
        if best is not None and best[0] < MOST_COVERED:
            break
    return best[1] if best else None


def _place(
    box: Box, text: str, boxes: Sequence[Box], taken: Sequence[Label], size: tuple[int, int], height: float
) -> tuple[float, Label] | None:
    """Find the place beside or in a box that is free of labels and hides the least of boxes."""
    width = labels.text_size(text, 0.82 * height)[0] + 0.24 * height
    best: tuple[float, Label] | None = None
    for left, top in _places(box, width, height, size):
        place = (left, top, left + width, top + height)
        if any(labels.overlap(place, _corners(label.bbox)) > 0.0 for label in taken):
            continue
        covered = max(_hidden(place, other.bbox, width * height) for other in boxes)
        if best is None or covered < best[0] - 1e-6:
            best = (covered, Label(text=text, bbox=(left, top, width, height)))
    return best


def _hidden(place: labels.Box, bbox: tuple[float, float, float, float], area: float) -> float:
    """Give what share of a label of that area lies on a box, or of a smaller box lies under the label."""
    return labels.overlap(place, _corners(bbox)) / max(min(area, bbox[2] * bbox[3]), 1e-9)


def _places(box: Box, width: float, height: float, size: tuple[int, int]) -> list[tuple[float, float]]:
    """List where a label of that size may stand (left, top), the best first: above, below, beside, inside a box."""
    x, y, box_width, box_height = box.bbox
    right, bottom = x + box_width, y + box_height
    lefts = [min(max(0.0, left), size[0] - width) for left in (x, right - width)]
    places = [(left, top) for top in (y - height, bottom) for left in lefts]
    places += [(left, top) for top in (y, bottom - height) for left in (right, x - width)]
    places += [(left, top) for top in (y, bottom - height) for left in lefts]
    return [(a, b) for a, b in places if 0.0 <= a <= size[0] - width and 0.0 <= b <= size[1] - height]


def _corners(bbox: tuple[float, float, float, float]) -> labels.Box:
    return bbox[0], bbox[1], bbox[0] + bbox[2], bbox[1] + bbox[3]


# --- the figure for files --------------------------------------------------------------------------------------------


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
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for index, one in enumerate(axes[: len(paths) * len(panels)]):
        row, column = divmod(index, len(panels))
        here = boxes[(boxes["path"] == paths[row]) & (boxes["panel"] == panels[column])]
        truth = boxes[(boxes["path"] == paths[row]) & (boxes["panel"] == TRUTH)]
        _draw_boxes(one, labelled(_boxes(here), images[paths[row]].size, objects=_boxes(truth)))
    return figure


def _draw_boxes(axes: Axes, boxes: Sequence[Box]) -> None:
    """Draw boxes and, over them, their labels; the axes have their final size."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    low, high = axes.get_xlim()
    points = axes.get_window_extent().width * 72.0 / figure.dpi / (high - low)  # for one pixel of the picture
    for box in boxes:
        x, y, width, height = box.bbox
        colour = SERIES_DARK[box.series % len(SERIES_DARK)]
        axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=colour, linewidth=1.0, zorder=2))
    for box in boxes:
        if box.label is None:
            continue
        x, y, width, height = box.label.bbox
        colour = SERIES_DARK[box.series % len(SERIES_DARK)]
        axes.add_patch(Rectangle((x, y), width, height, facecolor=colour, linewidth=0, zorder=3))
        axes.text(
            x + 0.12 * height, y + 0.77 * height, box.label.text, fontsize=0.82 * height * points, color="#10151d",
            va="baseline", ha="left", zorder=4,
        )  # fmt: skip
