"""The command line as a user meets it: output, JSON, exit codes, and one line for what is wrong."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from scaling_lab import DetectorSpec, Runs, build, efficientdet, topologies
from scaling_lab.architecture.published import PUBLISHED
from scaling_lab.cli import main
from scaling_lab.cli.console import WIDTH
from scaling_lab.starter import FOLDERS, starter_folder
from scaling_lab.study.run.runner import run_study
from scaling_lab.training.evaluation import SUMMARY
from search_spaces.compound import SMALL
from tests.coco_files import write_coco
from tests.report.fixture_run import Fixture, Trial, write_run
from tests.study.engine import Replayed, count, make_study, spec
from tests.tensorboard_files import scalars_in
from tests.tiny_study import write_tiny

ROOT = Path(__file__).parents[1]
# Those that are shipped, whatever a user has added.
NAMES = (
    "backbone_and_network",
    "compound_scaling",
    "fusion",
    "proxy",
    "topology_ablation",
    "topology_search",
    "width_factor",
)
STUDIES = [ROOT / "studies" / f"{name}.py" for name in NAMES]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run the tiny study, with changes of its fields, in a project's folder of its own."""
    monkeypatch.chdir(tmp_path)
    write_tiny(tmp_path)

    def run(*arguments: str, changes: str = "") -> int:
        write_tiny(tmp_path, changes)
        return main(["run", "studies/tiny.py", "--executor", "local", *arguments])

    return run


def _fails(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run what must fail; give its one line."""
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.out + captured.err
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    return lines[0]


def test_show_draws_a_topology_and_its_json_is_a_spec(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "bifpn"]) == 0
    shown = capsys.readouterr().out
    assert "8 nodes, 19 edges" in shown
    assert re.search(r"^P5  2  6<2,5 +10<2,6,9\*$", shown, re.MULTILINE)
    assert main(["show", "d3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == efficientdet("d3").to_dict()


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_drawings_legend_is_of_the_drawing(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", name]) == 0
    shown = capsys.readouterr().out
    legend = re.search(r"^\(((\d+)<(\d+)[\d,]*): node \2 reads \3", shown, re.MULTILINE)
    assert legend is not None
    assert re.search(rf"^P\d .*  {legend[1]}(\*| |$)", shown, re.MULTILINE)


def test_small_detectors_are_counted_with_three_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = ["--width", "8", "--image-size", "64", "--repeats", "1", "--topology", "none"]
    assert main(["count", "d0", *changes]) == 0
    assert re.search(r"feature_network +[\d,]+ +0\.0*[1-9]\d\d", capsys.readouterr().out)


def test_count_prints_the_parts_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["count", "d0"]) == 0
    assert re.search(r"d0 +all +3,880,067 +2\.492", capsys.readouterr().out)
    assert main(["count", "d0", "--topology", "quad_fpn", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["d0"]["params"] == 4_131_418


def test_a_spec_file_can_be_changed_on_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.json"
    path.write_text(efficientdet("d0").to_json())
    changes = ["--width", "32", "--image-size", "256", "--max-level", "6", "--fusion", "sum", "--repeats", "1"]
    assert main(["show", str(path), "--json", *changes]) == 0
    spec = json.loads(capsys.readouterr().out)
    assert (spec["width"], spec["image_size"], spec["repeats"]) == (32, [256, 256], 1)
    assert spec["topology"]["max_level"] == 6
    assert spec["topology"]["nodes"][0][2] == "sum"


def test_the_head_can_be_changed_on_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "d0", "--head", "points"]) == 0
    shown = capsys.readouterr().out
    assert "width 64, points, 512 px\n" in shown
    assert re.search(r"^head +points$", shown, re.MULTILINE)
    assert not re.search(r"^anchors ", shown, re.MULTILINE)
    assert main(["show", "d0", "--head", "boxes"]) == 2
    assert "head is 'boxes'; allowed are anchors, points" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "d9"], "detector 'd9' is unknown"),
        (
            ["evaluate", "--weights", "x.pth", "--data", "voc"],
            "--data is 'voc', which is not a folder; allowed are shapes, a folder, coco:DIR",
        ),
        (["evaluate", "--weights", "x.pth", "--data", "shapes"], "the weights x.pth do not exist"),
        (
            ["evaluate", "--weights", "x.pth", "--data", "shapes", "--device", "tpu"],
            "--device is 'tpu', which cannot be used: ",
        ),
        (["export", "x.tflite", "--model", "d0"], "x.tflite ends in '.tflite'; allowed are .onnx and .pt2"),
        (["evaluate", "--weights", "x.pth", "--data", "shapes", "--device", "meta"], "allowed are cpu, cuda and mps"),
        (["export", "/proc/x.onnx", "--model", "d0"], "/proc/x.onnx cannot be written: "),
        (["export", "x.onnx"], "nothing to export; give --weights, or --model"),
        (["export", "nowhere/x.pt2", "--model", "d0"], "nowhere/x.pt2 cannot be written: there is no folder nowhere"),
        (["count", "d0", "--topology", "bipfn"], "topology 'bipfn' is unknown; allowed are none, bifpn"),
        (["count", "missing.json"], "missing.json cannot be read: No such file or directory"),
        (["count", "d0", "--width", "-3"], "width is -3; allowed are whole numbers from 1"),
        (["count", "d0", "--min-level", "0"], "levels P0 to P7"),
        (["show", "studies", "--width", "3"], "--width changes a detector, but studies is a folder"),
        (["run", "studies/missing.py"], "there is no study file studies/missing.py; there are studies/"),
        (
            ["run", "studies/topolgy_search.py"],
            "topolgy_search.py (did you mean studies/topology_search.py?); there are studies/",
        ),
        (["run", "nowhere/missing.py"], "there is no study file nowhere/missing.py; there are studies/"),
        (["run", "studies"], "studies is a folder; give a study file; there are studies/"),
        (["run", "tests/data"], "tests/data is a folder; give a study file; there are studies/"),
        (["run", "studies/width_factor.py", "--cpus", "0"], "--cpus is 0; allowed are 1 to "),
        (["run", "studies/width_factor.py", "--form", "paper"], "the folder coco does not exist"),
        (["run", "studies/width_factor.py", "--form", "paper"], "give their folder with --data coco:DIR"),
        (["run", "studies/width_factor.py", "--out", "studies"], "studies is not a run: it has "),
        (
            ["run", "studies/width_factor.py", "--out", "/proc/x"],
            "/proc/x cannot be written: No such file or directory",
        ),
        (["run", "studies/width_factor.py", "--out", "x" * 300], "xxx cannot be read: File name too long"),
        (["init", "/proc/x"], "/proc/x cannot be written: No such file or directory"),
        (["init", "x" * 300], "xxx cannot be read: File name too long"),
        (["init", "README.md/x"], "README.md/x cannot be written: Not a directory"),
        (["run", "studies/topology_ablation.py", "--form", "huge"], "form 'huge' is unknown; allowed are smoke, seeds"),
        (
            ["run", "studies/topology_ablation.py", "--form", "sedes"],
            "form 'sedes' is unknown (did you mean 'seeds'?); allowed",
        ),
        (["run", "studies/topology_ablation.py", "--data", "kitti:x"], "kitti:x"),
        (["report", "runs/missing"], "runs/missing"),
        (["report", "runs/missing", "runs/gone"], "runs/missing is not a run: its ledger.sqlite is missing"),
        (
            ["report", "runs/missing", "runs/../runs/missing"],
            "is named twice (as runs/missing and runs/../runs/missing)",
        ),
        (
            ["report", "x.csv", "runs/missing"],
            "x.csv is a file of latencies; allowed is this file alone, or run folders",
        ),
    ],
)
def test_bad_input_gets_one_line_and_exit_code_two(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert message in _fails(arguments, capsys)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights of a small detector of three classes, as training writes them."""
    detector = build(dataclasses.replace(SMALL.base, num_classes=3, repeats=1, image_size=(64, 64)))
    torch.save({"spec": detector.spec.to_dict(), "state": detector.state_dict()}, tmp_path / "weights.pt")
    return tmp_path / "weights.pt"


def test_evaluate_prints_the_twelve_numbers(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_coco(weights.parent / "coco")
    (weights.parent / "coco" / "annotations" / "instances_train2017.json").unlink()  # nothing is trained
    arguments = ["evaluate", "--weights", str(weights), "--data", f"coco:{weights.parent / 'coco'}", "--workers", "0"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    for name in (*SUMMARY, "disc", "small", "square"):
        assert re.search(rf"^{name} +(\d+\.\d\d|-)$", shown, re.MULTILINE), name
    assert main([*arguments, "--json", "--image-size", "64x96"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {*SUMMARY, "ap_by_class"} <= set(result)
    assert list(result["ap_by_class"]) == ["small", "square", "disc"]


def test_an_unknown_option_is_told_with_its_verbs_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train", "d0", "--data", "shapes", "--epochs", "1"])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert "--set NAME=VALUE" in said
    assert said.endswith("scaling-lab train: error: unrecognized arguments: --epochs 1\n")


@pytest.mark.parametrize("size", ["abc", "512x", "5_12", "0", "64x16", "-5"])
def test_an_image_size_is_pixels(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["export", "x.onnx", "--model", "d0", f"--image-size={size}"])
    assert stopped.value.code == 2
    assert f"argument --image-size: '{size}'; allowed are " in capsys.readouterr().err


def test_evaluate_refuses_data_of_other_classes(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--weights", str(weights), "--data", "shapes"]) == 2
    assert "the detector has 3 classes, but the data have 8 categories" in capsys.readouterr().err


@pytest.mark.slow
def test_export_writes_what_torch_can_load(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = weights.parent / "detector.pt2"
    assert main(["export", str(out), "--weights", str(weights), "--image-size", "64x96", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["spec"]["num_classes"], said["spec"]["image_size"]) == (3, [64, 96])
    class_logits, _ = torch.export.load(out).module()(torch.zeros(1, 3, 64, 96))
    assert class_logits[0].shape == (1, 27, 8, 12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("STUDY = (", "broken.py:1: SyntaxError"),
        ("x = 1", "STUDY"),
        ("STUDY = 3", "STUDY"),
        ("from scaling_lab import Study\nSTUDY = Study(questoin='x')", "questoin"),
        ("1 / 0", "division by zero"),
    ],
)
def test_a_broken_study_file_is_named(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text(text)
    line = _fails(["run", "broken.py"], capsys)
    assert "broken.py" in line
    assert message in line
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    study = str(ROOT / "studies" / "topology_ablation.py")
    line = _fails(["run", study, "--form", "smoke", "--out", str(tmp_path / "file" / "run")], capsys)
    assert str(tmp_path / "file") in line


def test_a_script_sees_that_a_trial_has_failed_and_can_have_it_run_again(
    tiny: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert tiny(changes="'trials': 1") == 0
    assert (
        "the only trial is done\nmeasuring the latency of 1 architecture\nwriting the report\n"
        in capsys.readouterr().out
    )
    assert list(scalars_in("runs/tiny/trials/1")["val/ap"]) == [1]
    in_the_way = Path("runs/tiny/trials/2")
    in_the_way.write_text("")
    assert tiny() == 1
    shown = capsys.readouterr().out
    assert "all 2 trials are done, 1 of them failed (1 error); --retry-failed runs those again\n" in shown
    assert re.search(r"^trial 2 failed: error: FileExistsError: ", shown, re.MULTILINE)
    assert "\nreport: runs/tiny/report/tiny.html\n" in shown
    assert tiny() == 1
    capsys.readouterr()
    assert tiny("--retry-failed") == 0
    shown = capsys.readouterr().out
    assert "all 2 trials are done\n" in shown
    heading, *trials = [line.split() for line in shown.splitlines() if line.split()[1:2] in (["width"], ["8"], ["16"])]
    assert " ".join(heading) == "trial width topology seed state epochs AP AP50 params M GMACs MB ms seconds"
    assert sorted(line[:2] for line in trials) == [["1", "8"], ["2", "16"]]
    assert "one seed each: differences may be due to chance\n" in shown


def test_random_search_is_the_same_study_in_a_folder_beside_its_own(
    tiny: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    """With finalists and a limit of latency, as they really are."""
    rules = "'finalists': Finalists(count=1, seeds=(7,)), 'limits': {'latency_ms': 60_000, 'memory_mb': 50}"
    assert tiny("--sampler", "random", changes=f"'sampler': 'tpe', 'trials': 2, {rules}") == 0
    runs = Runs("runs/tiny-random")
    assert (runs.meta["sampler"], runs.meta["study"]) == ("random", "tiny")
    table = runs.table()
    assert table["role"].tolist() == ["search", "search", "finalist"]
    assert (table["latency_ms"] > 0).all()
    assert (table["memory_mb"] < 50).all()
    latencies = runs.latencies()
    assert (len(latencies), set(latencies["threads"])) == (2, {1})
    shown = capsys.readouterr().out
    assert "finalists, retrained with fresh seeds 7: " in shown
    assert re.search(r"^ *trial .*\brole\b", shown, re.MULTILINE)
    assert "one seed each in the search: differences may be due to chance\n" in shown
    assert "measuring the latency" not in shown
    assert not Path("runs/tiny").exists()
    assert tiny("--sampler", "random", changes="'limits': {'gmacs': 2.0}") == 2
    assert "for sampler 'random' set trials=<number> in the study or a form" in capsys.readouterr().err


def test_a_script_sees_that_no_trial_is_complete(tiny: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert tiny(changes="'limits': {'gmacs': 1e-6}") == 1
    shown = capsys.readouterr().out
    assert "no trial: the limits reject all of 2 points; the least gmacs is " in shown
    assert "runs/tiny: no trials\n" in shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "the report file reports/tiny.py does not exist"),
        ("def report(", "reports/tiny.py:1: SyntaxError"),
        ("x = 1", "reports/tiny.py has no function report(runs)"),
    ],
)
def test_a_report_file_is_checked_before_anything_is_trained(
    text: str | None, message: str, tiny: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("reports/tiny.py").unlink()
    if text is not None:
        Path("reports/tiny.py").write_text(text)
    assert tiny() == 2
    assert message in capsys.readouterr().err
    assert list(Path("runs/tiny/trials").iterdir()) == []


def test_report_compares_several_runs_and_refuses_what_is_not_comparable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = {"epochs": 6, "batch_size": 16, "lr": 0.004}
    for name, protocol, changes in (("x", "p", {}), ("x-random", "p", {}), ("long", "q", {"epochs": 36, "lr": 0.01})):
        trials = [Trial(topology="fpn", seed=seed, protocol=protocol) for seed in (0, 1)]
        meta = {"protocol": protocol, "recipe": {**recipe, **changes}}
        write_run(Path("runs", name), Fixture(trials=trials, samples=0, meta=meta))
    assert main(["report", "runs/x", "runs/x-random"]) == 0
    page = Path("runs/comparison_x_x-random/comparison.html")
    assert capsys.readouterr().out == f"report: {page}\n"
    assert "<h1>x and x-random compared</h1>" in page.read_text()
    assert main(["report", "runs/x", "runs/long", "runs/x-random", "--out", "three", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": "three/comparison.html"}
    why = "a different recipe: epochs 36 against 6, lr 0.01 against 0.004"
    assert f"long is not compared with x: {why}." in Path("three/comparison.html").read_text()
    message = _fails(["report", "runs/x", "runs/long"], capsys)
    assert f"nothing can be compared with x; long: {why}." in message
    assert not Path("runs/comparison_x_long").exists()
    message = _fails(["report", "runs/x", "runs/x-random", "--report", str(ROOT / "reports" / "frontier.py")], capsys)
    assert "reports/frontier.py takes 1 run, not 2: its function is report(runs); allowed for several is" in message


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.stem)
@pytest.mark.slow
def test_every_shipped_study_runs_in_its_smoke_form_and_reports(
    study: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    executor = "ray" if study.stem == "topology_ablation" else "local"
    arguments = ["run", str(study), "--form", "smoke", "--executor", executor, "--out", str(tmp_path / "run")]
    assert main([*arguments, "--json"]) == 0
    captured = capfd.readouterr()
    count = len(json.loads(captured.out)["trials"])
    assert 2 <= count <= 4
    assert captured.err.startswith(f"study:  {study.stem} (form smoke)\n")
    assert captured.err.endswith("writing the report\n")
    table = Runs(tmp_path / "run").table()
    assert list(table["state"]) == ["complete"] * len(table)
    assert table["latency_ms"].notna().all()
    trained = sorted((tmp_path / "run" / "trials").rglob("weights.pt"))
    stamps = [path.stat().st_mtime_ns for path in trained]
    assert main(arguments) == 0
    shown = capfd.readouterr().out
    assert f"all {count} trials are done\n" in shown
    page = Path(re.search(r"^report: (.+)$", shown, re.MULTILINE)[1])  # type: ignore[index]
    assert "<html" in page.read_text()
    assert [path.stat().st_mtime_ns for path in trained] == stamps


def test_a_study_runs_on_a_folder_in_cocos_layout(tiny: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    write_coco(Path("coco"), train=8, val=4)
    assert tiny("--data", "coco:coco") == 0
    assert "report: " in capsys.readouterr().out
    runs = Runs("runs/tiny")
    assert list(runs.table()["state"]) == ["complete", "complete"]
    assert runs.meta["data"]["kind"] == "coco"
    Path("coco/annotations/instances_val2017.json").write_text("{")
    assert tiny("--data", "coco:coco") == 2
    assert "instances_val2017.json" in capsys.readouterr().err


def _many(trial: Any) -> DetectorSpec:
    """Twelve parameters with long names, of which one has one value and one is not always there."""
    values = [trial.suggest_int(f"a_parameter_{number}", 1, 2) for number in range(10)]
    trial.suggest_categorical("always_the_same", ["x"])
    if values[0] == 1:
        trial.suggest_categorical("sometimes", [3])
    return spec(topologies.fpn(3, 7), width=sum(2**place * value for place, value in enumerate(values)))


def test_trials_are_told_apart_by_their_parameters(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_study(make_study(), out=tmp_path, executor="local", objective=Replayed(), count=count, stream=None)
    assert main(["show", str(tmp_path)]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split()[:4] == ["trial", "topology", "width", "seed"]
    assert len({tuple(line.split()[1:3]) for line in lines[:6]}) == 6
    assert lines[6:] == ["one seed each: differences may be due to chance"]


def test_a_table_fits_the_screen_and_says_what_it_leaves_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = make_study(space=_many, sampler="random", trials=6, seeds=(0, 1))
    run_study(study, out=tmp_path, executor="local", objective=Replayed(), count=count, stream=None)
    assert main(["show", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines[:7]) <= WIDTH
    assert lines[0].split()[:3] == ["trial", "a_parameter_0", "a_parameter_1"]
    assert lines[-1].startswith("not shown (table too wide): ")
    assert "a_parameter_9" in lines[-1]
    assert "always_the_same" not in lines[-1]
    assert "state" not in lines[-1]


def test_init_copies_the_three_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "mine")]) == 0
    assert "studies/topology_ablation.py" in capsys.readouterr().out
    for folder in FOLDERS:
        shipped = {path.name for path in (starter_folder() / folder).glob("*.py")}
        assert {path.name for path in (tmp_path / "mine" / folder).iterdir()} == shipped
        assert shipped
    clusters = {path.name: path.read_text() for path in (tmp_path / "mine" / "clusters").iterdir()}
    assert clusters.keys() == {"slurm.sh", "kuberay-rayjob.yaml", "ray-cluster.yaml"}
    assert "is not empty" in _fails(["init", str(tmp_path / "mine")], capsys)


@pytest.mark.slow
def test_a_study_that_init_copied_runs_without_the_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["init", str(tmp_path / "mine")]) == 0
    monkeypatch.chdir(tmp_path / "mine")
    shutil.rmtree(tmp_path / "mine" / "reports")
    assert main(["run", "studies/topology_ablation.py", "--form", "smoke", "--executor", "local"]) == 0
