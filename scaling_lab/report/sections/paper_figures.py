"""The page of the paper's Figures 1 and 4 from published numbers, with later detectors beside the paper's."""

from __future__ import annotations

import functools

import pandas as pd

from scaling_lab.metrics import METRICS
from scaling_lab.report.analysis.detector_facts import published_detectors
from scaling_lab.report.analysis.published_fronts import GROUPS, LATER, overtaken, points
from scaling_lab.report.analysis.published_tables import detectors
from scaling_lab.report.figures.published_fronts_figure import published_fronts_figure
from scaling_lab.report.figures.style import NARROW, WIDE
from scaling_lab.report.page.blocks import (
    Block,
    Bullets,
    Column,
    Details,
    Figure,
    Gallery,
    Page,
    Section,
    Table,
    metric_column,
)
from scaling_lab.report.tables import records
from scaling_lab.text import listed, number, plural

MAIN = "figure_1_ap_against_gmacs"
PAPERS_DEVICES = ("Titan V", "Xeon CPU (1 thread)")  # Figure 4; no later detector has latencies on them
OTHER_DEVICES = ("V100", "T4")


def figures_page() -> Page:
    """Build the page: Figure 1, Figure 4, EfficientDet beside the later front, own counts, all rows and sources."""
    by_gmacs = points("gmacs")
    compared = overtaken(by_gmacs, "gmacs")
    return Page(
        title="Published detectors",
        question="Where do the paper's detectors stand among those published since?",
        subtitle=_subtitle(),
        answer=answer(compared),
        main=(MAIN,),
        sections=(
            Section(title="Figure 1: AP against multiply-adds", blocks=(figure_1(by_gmacs), overtaken_table(compared))),
            Section(title="Figure 4: model size and latency", blocks=figure_4()),
            Section(title="What limits the comparison", blocks=(_limits(),)),
            Section(title="Own counts beside printed costs", blocks=(_counts(),)),
            Section(title="All rows and sources", blocks=(_rows(), _sources())),
        ),
    )


def answer(compared: pd.DataFrame) -> str:
    """Answer by how much later detectors pass EfficientDet at no more multiply-adds; `compared` is that of `overtaken`."""
    found = compared[compared["gain"].notna()]
    if found.empty:
        return "No later detector has a published cost as low as an EfficientDet's."
    passed = found[found["gain"] > 0]
    if len(passed) < len(found):
        return f"Later detectors trained on COCO alone pass {len(passed)} of {len(found)} EfficientDets at no more multiply-adds."
    ordered = records(found.sort_values("gain"))
    least, most = ordered[0], ordered[-1]
    return (
        f"At no more multiply-adds, later detectors trained on COCO alone have {number(least['gain'], 1)} "
        f"({_short(least['label'])}) to {number(most['gain'], 1)} ({_short(most['label'])}) more published AP than "
        "EfficientDet."
    )


def _short(label: str) -> str:
    return str(label).removeprefix("EfficientDet-")


def _subtitle() -> str:
    rows = published_detectors()
    families, sources = {row.family for row in rows}, {row.source.repository for row in rows}
    return (
        f"{plural(len(rows), 'published row')} of {plural(len(families), 'family', 'families')} from {len(sources)} "
        "repositories and papers; nothing here was measured by this package"
    )


# --- figures -----------------------------------------------------------------------------------------------------------


def figure_1(table: pd.DataFrame) -> Figure:
    """Return the paper's Figure 1 from `points("gmacs")`."""
    return _figure(
        MAIN,
        table,
        "gmacs",
        title="AP against multiply-adds",
        caption=(
            "As the paper's Figure 1, with later detectors in grey. AP is on val if published, else on test-dev (hollow). "
            "Multiply-adds are at each model's own image size; FLOPs that count a multiply-add twice are halved."
        ),
    )


def figure_4() -> tuple[Block, ...]:
    """Return the paper's Figure 4: size, then latency on its devices, then on those where later ones were measured."""
    size = _figure(
        "figure_4_ap_against_parameters",
        points("params_m"),
        "params_m",
        title="AP against parameters",
        caption="As the paper's Figure 4 (a), with later detectors in grey.",
    )
    small = tuple(
        _figure(
            f"figure_4_latency_{_slug(device)}",
            points(f"latency_ms:{device}"),
            "latency_ms",
            title=f"Latency on a {device}",
            axis=f"latency on a {device}, ms",
            caption="The paper's own measurements; no later detector has been published on it.",
            width=NARROW,
        )
        for device in PAPERS_DEVICES
    )
    return (size, Gallery(figures=small), *(_on_device(device) for device in OTHER_DEVICES))


def _on_device(device: str) -> Figure:
    table = points(f"latency_ms:{device}")
    papers = table["group"] == GROUPS[0]
    beside = "" if papers.any() else " The paper's detectors have no published latency on it."
    return _figure(
        f"figure_4_latency_{_slug(device)}",
        table,
        "latency_ms",
        title=f"Latency on a {device}",
        axis=f"latency on a {device}, ms",
        caption=(
            "One image; the fastest published condition of each detector. Runtime, precision and what is timed differ "
            f"between sources, so only points of one source are comparable.{beside}"
        ),
    )


def _figure(
    name: str, table: pd.DataFrame, cost: str, *, title: str, caption: str, axis: str = "", width: float = WIDE
) -> Figure:
    paper = int((table["group"] == GROUPS[0]).sum())
    return Figure(
        name=name,
        table=table,
        draw=functools.partial(published_fronts_figure, cost=cost, axis=axis or METRICS[cost].axis),
        title=title,
        caption=caption,
        alt=f"{title}: {plural(paper, 'detector')} of the paper, {plural(len(table) - paper, 'later one')}",
        width=width,
    )


def _slug(device: str) -> str:
    return "_".join("".join(letter if letter.isalnum() else " " for letter in device.lower()).split())


# --- tables ------------------------------------------------------------------------------------------------------------


def overtaken_table(compared: pd.DataFrame) -> Table:
    """Return the table of EfficientDet beside the later front."""
    return Table(
        name="efficientdet_and_later",
        frame=compared,
        columns=(
            Column(key="label", label="EfficientDet"),
            metric_column("gmacs"),
            Column(key="ap", label="AP val", digits=1),
            Column(key="best", label="Best later at no more GMACs"),
            Column(key="best_ap", label="Its AP", digits=1),
            Column(key="gain", label="Gain", digits=1, signed=True),
            Column(key="cheapest", label="Cheapest later at no less AP"),
            Column(key="cheapest_cost", label="Its GMACs", digits=3, significant=True),
            Column(key="ratio", label="Times fewer", digits=1),
        ),
        caption="Later detectors on the front of those trained on COCO alone, without test-time augmentation.",
    )


def _counts() -> Table:
    table = detectors()
    table = table[table["counted_as"] != ""].assign(
        params_percent=lambda rows: 100 * (rows["counted_params_m"] / rows["params_m"] - 1),
        gmacs_percent=lambda rows: 100 * (rows["counted_gmacs"] / rows["printed_gmacs"] - 1),
    )
    return Table(
        name="own_counts",
        frame=table,
        columns=(
            Column(key="model", label="Detector"),
            Column(key="image_size", label="Pixels"),
            Column(key="params_m", label="Params printed, M", digits=2),
            Column(key="counted_params_m", label="Counted", digits=3),
            Column(key="params_percent", label="%", digits=1, signed=True),
            Column(key="printed_gmacs", label="GMACs printed", digits=4, significant=True),
            Column(key="counted_gmacs", label="Counted", digits=4, significant=True),
            Column(key="gmacs_percent", label="%", digits=1, signed=True),
            Column(key="where", label="Source"),
            Column(key="note", label="Note"),
        ),
        caption="Every published detector that scaling_lab builds. A difference above 2 % is explained in its note.",
    )


def _rows() -> Table:
    return Table(
        name="published_detectors",
        frame=detectors(),
        columns=(
            Column(key="model", label="Detector"),
            Column(key="family", label="Family"),
            Column(key="image_size", label="Pixels"),
            Column(key="ap_val", label="AP val", digits=1),
            Column(key="ap_test", label="AP test-dev", digits=1),
            metric_column("params_m"),
            metric_column("gmacs"),
            Column(key="extra_data", label="More data"),
            Column(key="where", label="Source"),
            Column(key="licence", label="Licence"),
        ),
        caption="GMACs as printed, or else counted. The CSV has AP by size, suppression, notes and own counts.",
        most_rows=40,
    )


def _sources() -> Details:
    table = pd.DataFrame(
        [
            {
                "title": source.title,
                "repository": source.repository,
                "path": source.path,
                "commit": source.commit,
                "licence": source.licence,
                "flops": {"once": "one", "twice": "two"}.get(source.flops_count, ""),
                "basis": source.flops_basis,
            }
            for source in dict.fromkeys(row.source for row in published_detectors())
        ]
    )
    own = Table(
        name="published_sources",
        frame=table,
        columns=(
            Column(key="title", label="Source"),
            Column(key="repository", label="Repository or paper"),
            Column(key="path", label="File or table"),
            Column(key="commit", label="Commit"),
            Column(key="licence", label="Licence"),
            Column(key="flops", label="Operations per multiply-add"),
            Column(key="basis", label="Known from"),
        ),
        caption="Numbers were read at these commits.",
    )
    return Details(title="Where the numbers are from, and how each source counts FLOPs", blocks=(own,))


def _limits() -> Bullets:
    later = [row for row in published_detectors() if row.source.source in LATER]
    costed = {row.family for row in later if row.gmacs is not None}
    unresolved = {row.family for row in later if row.gflops_printed and row.printed_gmacs is None}
    none = {row.family for row in later} - costed - unresolved
    return Bullets(
        items=(
            (
                "Training. ",
                "Schedules and augmentation differ, and some later detectors are trained with distillation.",
            ),
            (
                "Suppression. ",
                "EfficientDet's AP in the paper is with soft-NMS; some later detectors need no suppression.",
            ),
            ("Image size. ", "EfficientDet's grows from 512 to 1,536 px; most later detectors use 640 px."),
            (
                "Left out of Figure 1. ",
                f"{listed(sorted(none))} print no FLOPs. {listed(sorted(unresolved))} do not say how they count them.",
            ),
        )
    )
