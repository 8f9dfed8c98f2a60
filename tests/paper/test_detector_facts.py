"""The published detectors: each has a source that can be looked up, and own counts beside the printed ones."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections import Counter
from functools import lru_cache

import pytest

from scaling_lab.architecture.naming import spec_by_name
from scaling_lab.cost import count
from scaling_lab.paper.published_costs import RELEASED_MACS, table_2
from scaling_lab.paper.recounts import MOST_PERCENT, OTHERS, detector_spec, differences, recount
from scaling_lab.report.analysis import published_tables
from scaling_lab.report.analysis.detector_facts import (
    APS,
    Latency,
    PublishedDetector,
    Source,
    published_detectors,
    raw_rows,
    sources,
)

ROWS = {row.detector: row for row in published_detectors()}
CONDITIONS = {
    "flops_count": {"", "once", "twice"},
    "suppression": {"", "NMS", "soft-NMS", "none"},
    "test_time_augmentation": {"", "yes", "no"},
    "precision": {"", "fp32", "fp16"},
    "covers": {"", "network", "end to end"},
    "unit": {"ms", "s", "fps"},
}


def test_reading_needs_neither_pandas_nor_torch() -> None:
    code = (
        "import sys; from scaling_lab.report.analysis.detector_facts import published_detectors; published_detectors(); "
        "sys.exit(len({'torch', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- the tables --------------------------------------------------------------------------------------------------------


def test_there_are_many_families_with_val_and_test_dev_named() -> None:
    assert len(ROWS) == len(published_detectors()) >= 400
    assert len({row.family for row in ROWS.values()}) >= 40
    for row in ROWS.values():
        assert row.ap_val is not None or row.ap_test is not None, row.detector
        assert row.split == ("test-dev" if row.ap_val is None else "val")
    assert sum(row.ap_small_val is not None or row.ap_small_test is not None for row in ROWS.values()) >= 50
    assert sum(row.gmacs is not None for row in ROWS.values()) >= 250
    assert sum(bool(row.latencies) for row in ROWS.values()) >= 250


def test_each_row_has_a_source_that_can_be_looked_up() -> None:
    for source in sources().values():
        is_paper = source.repository.startswith(("arXiv:", "CVPR"))
        assert source.title
        assert source.path
        assert bool(re.fullmatch("[0-9a-f]{40}", source.commit)) != is_paper, source
        assert bool(source.licence) != is_paper
        assert bool(re.fullmatch(r"[\w.-]+/[\w.-]+", source.repository)) != is_paper
        assert bool(source.flops_count) <= bool(source.flops_basis)
    used = {row.source.source for row in ROWS.values()} | {
        each.source.source for row in ROWS.values() for each in row.latencies
    }
    assert used == set(sources())


def test_all_of_effdets_pretrained_models_are_in() -> None:
    names = {row.model for row in ROWS.values() if row.source.source == "effdet"}
    assert len(names) == 32
    assert names >= {f"tf_efficientdet_{name}" for name in ("d0", "d7x", "d5_ap", "lite3x")}


@pytest.mark.parametrize("name", ["published_detectors", "published_latencies", "published_sources"])
def test_the_dictionary_describes_every_column_and_the_reader_has_it(name: str) -> None:
    described = [row for row in raw_rows("published_columns") if row["table"] == name]
    assert all(row["meaning"] for row in described)
    assert [row["column"] for row in described] == list(raw_rows(name)[0])
    kind = {"published_detectors": PublishedDetector, "published_latencies": Latency, "published_sources": Source}[name]
    fields = [field.name for field in dataclasses.fields(kind)]
    assert [field for field in fields if field != "latencies"] == [row["column"] for row in described]


def test_cells_hold_what_the_dictionary_allows() -> None:
    kinds = {row["column"]: row["kind"] for row in raw_rows("published_columns")}
    forms = {"number": r"[0-9]+(\.[0-9]+)?", "whole": "[0-9]+", "size": "[0-9]+(x[0-9]+)?", "text": "(?s).+"}
    for name in ("published_detectors", "published_latencies", "published_sources"):
        for row in raw_rows(name):
            for column, text in row.items():
                assert not text or re.fullmatch(forms[kinds[column]], text), (row, column)
                assert text in CONDITIONS.get(column, {text}), (row, column)
                assert text == text.strip()
    for row in raw_rows("published_detectors"):
        assert all(0 < float(row[column]) < 100 for column in APS if row[column])


def test_latencies_are_of_known_detectors_and_each_is_given_once() -> None:
    rows = raw_rows("published_latencies")
    assert {row["detector"] for row in rows} <= set(ROWS)
    assert max(Counter(tuple(row.values()) for row in rows).values()) == 1


# --- conversions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("detector", "gmacs"),
    [
        ("efficientdet-paper:efficientdet-d0", 2.5),  # multiply-adds
        ("ultralytics-yolov8:yolov8n", 8.7 / 2),  # two operations each
        ("yolov5:yolov5n6", 4.6 / 2 * 4),  # printed at 640 px, used at 1280
        ("torchvision:retinanet-resnet50-fpn", 151.54),  # at 800 x 800; images are not square
        ("automl:efficientdet-d6-640", None),  # none printed: counted at 640 px
        ("paddle-picodet:picodet-s@320", float("nan")),  # not resolved
    ],
)
def test_multiply_adds_follow_the_sources_convention(detector: str, gmacs: float | None) -> None:
    row = ROWS[detector]
    if gmacs is None:
        assert row.printed_gmacs is None
        assert row.gmacs == row.counted_gmacs == pytest.approx(56.03, abs=0.01)
    elif gmacs != gmacs:
        assert row.gmacs is None
        assert row.source.flops_basis.startswith("not resolved")
    else:
        assert row.gmacs == pytest.approx(gmacs)


def test_yolov5s_operations_at_1280_px_are_those_printed_by_another_source() -> None:
    """The paper of YOLOv7 prints YOLOv5-N6 to X6 at 1280 px: 18.4, 67.2, 200.0, 445.6 and 839.2 billion operations."""
    for size, operations in zip("nsmlx", (18.4, 67.2, 200.0, 445.6, 839.2), strict=True):
        assert 2 * (ROWS[f"yolov5:yolov5{size}6"].gmacs or 0) == pytest.approx(operations, rel=0.001)


def test_latencies_are_in_milliseconds_for_one_image() -> None:
    d0, rtdetr = ROWS["efficientdet-paper:efficientdet-d0"], ROWS["rt-detr:rt-detr-r50"]
    assert {each.device: each.ms for each in d0.latencies} == {"Titan V": 12, "V100": 10.2, "Xeon CPU (1 thread)": 320}
    assert rtdetr.latencies[0].ms == pytest.approx(1000 / 108)
    yolov5 = ROWS["yolov5:yolov5n"]
    fastest = yolov5.fastest("V100")
    assert fastest is not None
    assert (fastest.ms, fastest.batch) == (6.3, 1)  # not the 0.6 ms of 32 images
    assert yolov5.fastest("T4") is None


def test_the_table_for_reports_has_every_row() -> None:
    table = published_tables.detectors().set_index("detector")
    assert list(table.index) == list(ROWS)
    assert table.loc["ultralytics-yolov8:yolov8n", "gmacs"] == 4.35
    assert table.loc["automl:efficientdet-d0", "where"] == "google/automl@6a54c87, efficientdet/README.md"
    assert table["licence"].isin({"", "Apache-2.0", "BSD-3-Clause", "GPL-3.0", "AGPL-3.0"}).all()
    assert list(table_2()) == [*RELEASED_MACS, "d7x"]


# --- own counts --------------------------------------------------------------------------------------------------------


def test_own_counts_are_within_two_percent_or_the_row_says_why() -> None:
    built = [row for row in ROWS.values() if row.counted_as]
    assert len(built) >= 80
    compared = {row.detector: differences(row) for row in built}
    assert sum("gmacs" in each for each in compared.values()) >= 30
    assert sum("params_m" in each for each in compared.values()) >= 70
    apart = {name for name, each in compared.items() if max(map(abs, each.values()), default=0) > MOST_PERCENT}
    assert apart == {"automl:efficientdet-d5", "automl-advprop:efficientdet-d5-+-det-advprop-+-aa"}
    assert all("135.7" in ROWS[name].note for name in apart)
    assert all(row.counted_gmacs and row.counted_params_m for row in built)
    assert not any(row.counted_gmacs or row.counted_params_m for row in ROWS.values() if not row.counted_as)


def test_a_published_detector_has_the_spec_of_its_costs() -> None:
    d6 = ROWS["automl:efficientdet-d6-640"]
    assert detector_spec(d6) == dataclasses.replace(spec_by_name("d6"), image_size=(640, 640))
    assert detector_spec(ROWS["torchvision:retinanet-resnet50-fpn"]) == dataclasses.replace(
        OTHERS["retinanet_resnet50"], image_size=(800, 800)
    )
    assert detector_spec(ROWS["yolox:yolox-s"]) is None
    assert recount(ROWS["yolox:yolox-s"]) is None


@pytest.mark.parametrize("detector", ["efficientdet-paper:efficientdet-d0", "tf-tpu:retinanet-r50-nas-fpn@640-350ep"])
def test_stored_counts_are_fresh_ones(detector: str) -> None:
    row, cost = ROWS[detector], recount(ROWS[detector])
    assert cost is not None
    assert (row.counted_params_m, row.counted_gmacs) == (round(cost.params_m, 3), round(cost.gmacs, 3))


@pytest.mark.slow
def test_all_stored_counts_are_fresh_ones() -> None:
    """If not: python tools/recounts.py"""
    counted = lru_cache(maxsize=None)(count)
    for row in ROWS.values():
        spec = detector_spec(row)
        if spec is not None:
            cost = counted(spec)
            assert (row.counted_params_m, row.counted_gmacs) == (round(cost.params_m, 3), round(cost.gmacs, 3)), row
