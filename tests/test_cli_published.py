"""`scaling-lab published`: what it lists, filters, sorts and refuses."""

from __future__ import annotations

import csv
import io
import json

import pytest

from scaling_lab.cli import main
from scaling_lab.report.analysis.detector_facts import published_detectors, sources


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, str]]:
    assert main(["published", *arguments, "--csv"]) == 0
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def test_the_csv_has_every_row_with_its_source(capsys: pytest.CaptureFixture[str]) -> None:
    rows = listed(capsys)
    assert [row["detector"] for row in rows] == [row.detector for row in published_detectors()]
    assert all(row["repository"] and row["path"] for row in rows)
    d0 = next(row for row in rows if row["detector"] == "automl:efficientdet-d0")
    assert (d0["ap_val"], d0["gmacs"], d0["counted_gmacs"], d0["licence"]) == ("34.3", "2.54", "2.492", "Apache-2.0")


def test_rows_are_filtered_by_words_family_costs_and_ap(capsys: pytest.CaptureFixture[str]) -> None:
    assert {row["family"] for row in listed(capsys, "--family", "YOLO11", "--family", "RTMDet")} == {"YOLO11", "RTMDet"}
    assert {row["source"] for row in listed(capsys, "nanodet", "PicoDet")} == {"nanodet", "paddle-picodet"}
    small = listed(capsys, "--gmacs", "10", "--params", "5", "--ap", "42")
    assert {row["model"] for row in small} == {"D-FINE-N", "DEIM-D-FINE-N"}
    assert all(row["counted_as"] for row in listed(capsys, "--built"))


def test_latencies_are_of_one_device_and_sort_by_it(capsys: pytest.CaptureFixture[str]) -> None:
    rows = listed(capsys, "--device", "v100", "--ms", "12", "--sort", "ms")
    times = [float(row["ms"]) for row in rows]
    assert times == sorted(times)
    assert times[-1] <= 12
    assert "efficientdet-paper:efficientdet-d0" in {row["detector"] for row in rows}
    latencies = listed(capsys, "--show", "latencies", "--device", "Titan V")
    assert {row["device"] for row in latencies} == {"Titan V"}
    assert len(latencies) == 16


@pytest.mark.parametrize(
    ("order", "column", "sign"), [("ap", "ap_val", -1), ("gmacs", "gmacs", 1), ("params", "params_m", 1)]
)
def test_rows_are_sorted(capsys: pytest.CaptureFixture[str], order: str, column: str, sign: int) -> None:
    values = [sign * float(row[column]) for row in listed(capsys, "yolo11", "rtmdet", "--sort", order)]
    assert len(values) == 10
    assert values == sorted(values)


def test_the_table_fits_and_shows_own_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["published", "--device", "V100", "--built"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 130
    (d0,) = (line.split() for line in lines if line.startswith("EfficientDet-D0 ") and line.endswith("-paper"))
    assert d0 == ["EfficientDet-D0", "512", "34.3", "34.6", "3.9", "3.88", "2.5", "2.492", "10.2", "efficientdet-paper"]
    (d6,) = (line.split() for line in lines if line.startswith("EfficientDet-D6 (640)"))
    assert d6[6:10] == ["51.87", "-", "56.04", "33.8"]  # costs are not printed there


def test_sources_families_devices_and_columns_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert {row["source"] for row in listed(capsys, "--show", "sources")} == set(sources())
    assert {"device": "T4", "rows": "77"} in listed(capsys, "--show", "devices")
    assert {"family": "EfficientDet-Q", "rows": "3"} in listed(capsys, "--show", "families")
    assert "gflops_size" in {row["column"] for row in listed(capsys, "--show", "columns")}
    assert main(["published", "--show", "families", "yolox"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["YOLOX             5", "YOLOX, 416 px     2"]


def test_json_has_plain_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["published", "retinanet_resnet50_fpn", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["gmacs"], first["gflops_size"], first["ap_test"]) == (151.54, "800", None)
    assert {first["model"], second["model"]} == {"retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--family", "YOLO1"], "--family 'YOLO1' is unknown (did you mean 'YOLO11'?); allowed are ATSS, "),
        (["--device", "V10"], "--device 'V10' is unknown (did you mean 'V100'?); allowed are A100, "),
        (["--ms", "3"], "latencies are compared on one device; give --device, one of A100, "),
        (["--sort", "ms"], "latencies are compared on one device; give --device"),
        (["--ap", "99"], "no published detector fits these options; `scaling-lab published --show families` lists all"),
        (["--csv", "--json"], "--csv and --json are two forms of the same rows; allowed is one of them"),
    ],
)
def test_what_cannot_be_listed_is_refused(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert main(["published", *arguments]) == 2
    assert said in capsys.readouterr().err
