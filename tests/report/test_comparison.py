"""Several runs on one page: fronts, what both trained, bands of cost, searches; and every sentence's cases."""

from __future__ import annotations

import dataclasses
import math
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from scaling_lab.errors import UserError
from scaling_lab.report import write_report
from scaling_lab.report.analysis.comparison import Comparison, compare
from scaling_lab.report.analysis.repeats import offsets, same_seeds
from scaling_lab.report.figures.style import NARROW, WIDE
from scaling_lab.report.page.blocks import Bullets, Details, Figure, Table, Text
from scaling_lab.report.page.writer import tables_of
from scaling_lab.report.sections import comparison_fronts, comparison_sections, comparison_words
from scaling_lab.report.sections.provenance import provenance
from scaling_lab.report.writing import load_report
from scaling_lab.runs.reader import Runs
from scaling_lab.stats.fronts import front_of
from tests.report.conftest import EVIL, ROOT
from tests.report.fixture_run import TRUE_AP, Fixture, Latency, Trial, topology_trials, write_run

COMPARISON = ROOT / "reports" / "comparison.py"
PROTOCOL = "aaaa00001111"
META = {"protocol": PROTOCOL, "sampler": "ehvi", "space": "search_spaces.topology.space"}
Make = Callable[..., Runs]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def write(name: str, trials: Sequence[Trial], latencies: Sequence[Latency] = (), **meta: Any) -> Runs:
        values = {**META, **meta}
        return Runs(write_run(tmp_path / name, Fixture(trials=trials, samples=0, latencies=latencies, meta=values)))

    return write


def trained(
    seed: int, *, seeds: Sequence[int] = (0, 1, 2), shift: float = 0.0, widths: Sequence[int] = (16, 32, 64)
) -> list[Trial]:
    """Every topology at every width, with made-up noise of SD 1."""
    draw = np.random.default_rng(seed)
    return [
        Trial(topology=name, width=width, seed=each, ap=float(ap + math.log2(width) + shift + draw.normal()))
        for name, ap in TRUE_AP.items()
        for width in widths
        for each in seeds
    ]


def words_of(comparison: Comparison) -> str:
    """The answer, and all sentences of limits and fronts."""
    found = [comparison_sections.answer(comparison)]
    for block in (*comparison_sections.limits(comparison).blocks, *comparison_fronts.fronts(comparison).blocks):
        found += [block.text] if isinstance(block, Text) else []
        found += [f"{lead} {text}" for lead, text in block.items] if isinstance(block, Bullets) else []
    return "\n".join(found)


# --- fronts ----------------------------------------------------------------------------------------------------------


def test_volumes_are_measured_to_one_point_and_by_hand(make: Make) -> None:
    one = make("one", [Trial(topology="fpn", ap=40.0), Trial(topology="bifpn", ap=50.0)])
    two = make("two", [Trial(topology="fpn", ap=44.0, width=64)])
    found = compare(one, two)
    lowest, middle = 0.071, 0.085
    highest = 0.071 * 2**1.5
    assert found.reference == (pytest.approx(2 * highest), 0.0)
    values = found.volumes.set_index("run")["value"]
    area = 40 * math.log2(middle / lowest) + 50 * math.log2(2 * highest / middle)
    assert values["one"] == pytest.approx(area)
    assert values["two"] == pytest.approx(44.0)
    (row,) = found.volume_differences.to_dict("records")
    assert row["value"] == pytest.approx(area - 44.0)
    assert math.isnan(row["lead_value"])  # there is no range of costs that both cover
    assert row["verdict"] == "not tested"


def test_the_lead_is_the_mean_distance_where_both_have_architectures(make: Make) -> None:
    """The first goes down to a cheaper detector; from where both have one, it is 6 AP below."""
    one = make("one", [Trial(topology="fpn", ap=44.0, width=8), Trial(topology="fpn", ap=44.0, width=64)])
    two = make("two", [Trial(topology="fpn", ap=50.0, width=16), Trial(topology="fpn", ap=50.0, width=64)])
    (row,) = compare(one, two).volume_differences.to_dict("records")
    assert row["lead_value"] == pytest.approx(-6.0)
    assert row["value"] == pytest.approx(44.0 * (1.5 * 3 + 1) - 50.0 * (1.5 * 2 + 1))


def test_a_real_difference_is_claimed_and_none_is_not(make: Make) -> None:
    base = make("base", trained(1))
    same, better = make("same", trained(2)), make("better", trained(3, shift=4.0))
    found = compare(base, same, better)
    alike, apart = found.volume_differences.to_dict("records")
    assert (alike["verdict"], alike["lead_verdict"]) == ("not significant", "not significant")
    assert (apart["verdict"], apart["lead_verdict"]) == ("significant", "significant")
    assert apart["lead_low"] < -4.0 < apart["lead_high"] < 0
    text = words_of(found)
    assert re.search(r"The front of base is [34]\.\d AP on average below that of better, significant", text)
    assert ", not significant (95 % CI " in text


def test_fronts_that_are_alike_are_neither_higher_nor_lower(make: Make) -> None:
    text = words_of(compare(*(make(name, trials) for name, trials in zip("ab", CASES["all equal"], strict=True))))
    assert "The front of a is on average as high as that of b, not significant (95 % CI +0.0 to +0.0)" in text
    assert "the front of a dominates as much as that of b" in text
    assert "0.0 AP" not in text


def test_intervals_of_one_seed_are_none_and_nothing_is_claimed(make: Make) -> None:
    found = compare(make("many", trained(1)), make("single", trained(2, seeds=(0,), shift=10.0)))
    volumes = found.volumes.set_index("run")
    assert volumes.loc["many", "low"] < volumes.loc["many", "median"]
    assert math.isnan(volumes.loc["single", "median"])
    assert set(found.band()["run"]) == {"many"}
    text = words_of(found)
    assert "One seed each: single; differences between fronts cannot be tested." in text
    assert ", significant" not in text
    assert found.best_by_cost()["chance"].isna().all()


def test_fronts_of_all_runs_are_one_figure_with_a_colour_each(make: Make) -> None:
    found = compare(make("x", trained(1)), make("x-random", trained(2, widths=(16, 48)), sampler="random"))
    section = comparison_fronts.fronts(found)
    figures = [block for block in section.blocks if isinstance(block, Figure)]
    assert [figure.name for figure in figures] == ["fronts_gmacs", "fronts_params_m"]
    table = figures[0].table
    assert table.groupby("run")["series"].unique().map(list).to_dict() == {"x": [0], "x-random": [1]}
    assert table.groupby("run")["architecture"].nunique().to_dict() == {"x": 18, "x-random": 12}
    for figure in figures:
        for width in (WIDE, NARROW):
            drawn = figure.draw(figure.table, width)
            assert len({line.get_color() for line in drawn.axes[0].lines}) == 2
            assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["x", "x-random"]


def test_bands_have_the_best_of_each_run_and_chances_that_sum_to_one(make: Make) -> None:
    found = compare(make("a", trained(1)), make("b", trained(2, shift=8.0)), make("c", trained(3)))
    table = found.best_by_cost()
    points = found.points()
    for (band, run), rows in table.groupby(["band", "run"]):
        inside = points[(points["run"] == run) & (points["gmacs"] > band[0]) & (points["gmacs"] <= band[1])]
        assert rows["ap_mean"].tolist() == [inside["ap_mean"].max()]
        assert rows["architectures"].tolist() == [len(inside)]
    assert table.groupby("run")["architectures"].sum().tolist() == [18, 18, 18]
    assert table.groupby("band")["chance"].sum().tolist() == pytest.approx([1.0] * table["band"].nunique())
    assert (table.loc[table["run"] == "b", "chance"] > 0.95).all()


# --- what both trained -----------------------------------------------------------------------------------------------


def test_the_same_architectures_are_tested_as_scipy_does(make: Make) -> None:
    first, other = trained(1, widths=(32,)), trained(2, widths=(32,), shift=6.0)
    table = compare(make("a", first), make("b", other)).repeats
    assert len(table) == len(TRUE_AP)
    raw = []
    for name in TRUE_AP:
        one, two = ([trial.ap for trial in trials if trial.topology == name] for trials in (first, other))
        raw.append(float(stats.ttest_ind(one, two, equal_var=False).pvalue))
    assert sorted(table["p"]) == pytest.approx(sorted(raw))
    assert sorted(table["p_holm"])[0] == pytest.approx(min(1.0, len(raw) * min(raw)))
    assert (table["difference"] < 0).all()


def test_a_shift_of_all_architectures_is_seen_though_none_alone_is(make: Make) -> None:
    """One seed each: no architecture can be claimed to differ, but over 18 of them a shift of 1.5 AP shows."""
    a, b = trained(1, seeds=(0,)), trained(2, seeds=(1,), shift=1.5)
    found = compare(make("a", a), make("b", b))
    assert set(found.repeats["verdict"]) == {"not tested"}
    (row,) = offsets(found.repeats).to_dict("records")
    reference = stats.ttest_rel([trial.ap for trial in a], [trial.ap for trial in b])
    interval = reference.confidence_interval(0.95)
    assert (row["low"], row["high"]) == (pytest.approx(interval.low), pytest.approx(interval.high))
    assert row["verdict"] == "significant"
    (bullets,) = (block for block in comparison_sections.same_architectures(found).blocks if isinstance(block, Bullets))
    text = " ".join(text for _, text in bullets.items)
    assert "18 with one seed on a side not tested" in text
    assert ", significant: seeds, device, library or code differ." in text


@pytest.mark.slow
def test_chance_alone_is_claimed_as_rarely_as_it_should_be(make: Make) -> None:
    """Eighty pairs of runs without any difference: Holm's correction and the lead's interval hold their 5 %."""
    draw = np.random.default_rng(8)
    base = compare(make("a", trained(1, widths=(32, 64))), make("b", trained(2, widths=(32, 64))))
    claims = {"lead_verdict": 0, "verdict": 0, "repeats": 0}
    for _ in range(80):
        sides = []
        for side in base.sides:
            trials = side.frontier.trials.drop(columns=["ap_mean", "ap_low", "ap_high", "n", "on_front", "series"])
            truth = trials["label"].map(lambda label: 40.0 + (hash_of(label) % 10))
            trials = trials.assign(ap=truth + draw.normal(0, 1.0, len(trials)))
            sides.append(dataclasses.replace(side, frontier=summarised(trials, base)))
        found = dataclasses.replace(base, sides=tuple(sides))
        (row,) = found.volume_differences.to_dict("records")
        claims["lead_verdict"] += row["lead_verdict"] == "significant"
        claims["verdict"] += row["verdict"] == "significant"
        claims["repeats"] += (found.repeats["verdict"] == "significant").any()
    assert all(count <= 10 for count in claims.values()), claims  # 80 times 5 % is 4; beyond 10 one time in 500


def hash_of(text: str) -> int:
    return sum(map(ord, text))


def summarised(trials: pd.DataFrame, comparison: Comparison) -> Any:
    from scaling_lab.report.analysis.frontier import summarise

    return summarise(trials, comparison.labels, excluded=trials.iloc[:0])


def test_equal_seeds_with_equal_aps_are_no_repeats(make: Make) -> None:
    """The same training again, to the last digit: what a deterministic program gives for x and x-random."""
    shared = trained(1, widths=(32,))
    found = compare(make("x", shared), make("x-random", [*shared, *trained(2, widths=(64,))], sampler="random"))
    assert found.copies == 18  # the fixture's trials all have one time, as a copied folder's have
    moved = found.sides[1].frontier.trials.assign(ended="2025-03-02T10:00:00.000+00:00")
    again = dataclasses.replace(found.sides[1], frontier=dataclasses.replace(found.sides[1].frontier, trials=moved))
    found = dataclasses.replace(found, sides=(found.sides[0], again))
    assert found.copies == 0
    assert set(found.repeats["verdict"]) == {"the same training runs"}
    assert found.repeats["p"].isna().all()
    assert same_seeds(found.trials)[["training_runs", "identical"]].to_numpy().tolist() == [[18, 18]]
    assert comparison_words.same_seed_sentences(found)[0].endswith("equal APs, so they are not independent repeats.")
    assert found.pooled[1] == 12 + 12  # each training once


def test_a_copied_run_shows_that_it_is_one(make: Make, tmp_path: Path) -> None:
    first = make("x", trained(1, widths=(32,)))
    shutil.copytree(first.path, tmp_path / "copy")
    found = compare(first, Runs(tmp_path / "copy"))
    assert found.copies == 18
    assert found.repeats.empty
    assert "Copies: 18 trials of a later run" in words_of(found)


# --- the page --------------------------------------------------------------------------------------------------------


def test_a_search_and_its_random_baseline_read_as_such(make: Make) -> None:
    x = make("x", trained(1), latencies=[Latency(), Latency(device="NVIDIA H200")])
    random = make("x-random", trained(2, widths=(16, 64)), latencies=[Latency()], sampler="random")
    page = load_report(COMPARISON, takes=2)(x, random)
    assert page.title == "x and x-random compared"
    assert page.question == x.meta["question"]
    found = compare(x, random)
    text = words_of(found)
    assert "Samplers: one search of each" in text
    assert "Budgets differ: x 54 trials, 324 epochs; x-random" in text.replace(" and x-random", "; x-random")
    differs = comparison_sections.differences(found).set_index("what")
    assert list(differs.loc["Sampler"]) == ["ehvi", "random"]
    assert "Trained on" not in differs.index
    (figure,) = comparison_sections.search(found).blocks
    assert isinstance(figure, Figure)
    assert figure.table.groupby("sampler")["series"].first().to_dict() == {"x": 0, "x-random": 1}
    notes = [block for block in comparison_fronts.fronts(found).blocks if isinstance(block, Text)]
    assert "NVIDIA H200" in notes[-1].text
    assert notes[-1].text.startswith("Latencies measured in one run only are not compared: ")
    names = [block.name for block in comparison_fronts.fronts(found).blocks if isinstance(block, Figure)]
    assert "fronts_latency" in names


def test_searches_with_other_objectives_have_no_common_progress(make: Make) -> None:
    one, two = make("a", trained(1)), make("b", trained(2), objectives={"ap": "maximize"})
    (note,) = comparison_sections.search(compare(one, two)).blocks
    assert note.text == "The progress of the searches is not compared: their objectives differ."  # type: ignore[union-attr]
    grids = compare(make("c", trained(1), sampler="grid"), make("d", trained(2), sampler="grid"))
    assert comparison_sections.search(grids).blocks == ()


def test_a_run_that_is_not_comparable_is_named_and_not_shown(make: Make) -> None:
    a, b = make("a", trained(1)), make("b", trained(2))
    long = [dataclasses.replace(trial, protocol="other", epochs=36) for trial in trained(3)]
    recipe = {**a.meta["recipe"], "epochs": 36, "lr": 0.01}
    c = make("c", long, protocol="other", recipe=recipe)
    found = compare(a, c, b)
    assert [side.name for side in found.sides] == ["a", "b"]
    assert set(found.points()["run"]) == {"a", "b"}
    warnings = [block.text for block in comparison_sections.limits(found).blocks if isinstance(block, Text)]
    assert warnings[0] == ("c is not compared with a: a different recipe: epochs 36 against 6, lr 0.01 against 0.004.")
    with pytest.raises(UserError, match=r"nothing can be compared with a; c: a different recipe"):
        compare(a, c)


CASES: dict[str, tuple[list[Trial], list[Trial]]] = {
    "no trial": ([], []),
    "no trial in one": (trained(1), []),
    "only failures": ([Trial(topology="fpn", state="failed")], [Trial(topology="bifpn", state="failed")]),
    "one trial each": ([Trial(topology="fpn")], [Trial(topology="fpn", seed=1)]),
    "all equal": (
        [Trial(topology="fpn", width=width, seed=seed, ap=40.0) for width in (16, 32) for seed in (0, 1)],
        [Trial(topology="fpn", width=width, seed=seed, ap=40.0) for width in (16, 32) for seed in (2, 3)],
    ),
    "nan": ([Trial(topology="fpn", ap=math.nan), Trial(topology="bifpn")], topology_trials()),
}


@pytest.mark.parametrize(
    "case",
    [each if each in ("no trial in one", "nan") else pytest.param(each, marks=pytest.mark.slow) for each in CASES],
)
def test_every_case_gives_a_page(case: str, make: Make, tmp_path: Path) -> None:
    one, two = (make(name, trials, question=EVIL) for name, trials in zip("ab", CASES[case], strict=True))
    page = write_report([one.path, two.path], COMPARISON, tmp_path / "out", compact=True)
    shown = page.read_text()
    assert EVIL not in shown
    assert "no AP to compare" in shown or "Highest AP in" in shown


@pytest.mark.slow
def test_the_same_runs_give_the_same_bytes(make: Make, tmp_path: Path) -> None:
    paths = [make("a", trained(1)).path, make("b", trained(2)).path]
    first = write_report(paths, COMPARISON, tmp_path / "one", compact=True)
    assert first.read_bytes() == write_report(paths, COMPARISON, tmp_path / "two", compact=True).read_bytes()


def test_tables_have_names_of_their_own(make: Make) -> None:
    paths = [make("a", trained(1)).path, make("b", trained(2)).path]
    page = load_report(COMPARISON, takes=2)(*map(Runs, paths))
    names = [table.name for table in tables_of(page)]
    assert len(names) == len(set(names))
    assert {"sessions_1", "sessions_2", "hypervolumes", "same_architectures", "best_by_cost"} <= set(names)
    assert [block.title for block in page.sections[-1].blocks if isinstance(block, Details)] == ["a", "b"]


def test_a_front_of_two_objectives_is_that_of_the_plain_rule() -> None:
    draw = np.random.default_rng(2)
    for _ in range(50):
        points = draw.integers(0, 8, (30, 2)).astype(float).tolist()
        different = [list(point) for point in dict.fromkeys(map(tuple, points))]
        plain = [
            one
            for one in different
            if not any(all(a <= b for a, b in zip(two, one, strict=True)) and two != one for two in different)
        ]
        assert front_of(points) == plain


# --- provenance ------------------------------------------------------------------------------------------------------


def test_provenance_carries_all_that_a_rerun_and_a_reader_need(make: Make) -> None:
    trials = trained(1, widths=(32,), seeds=(0, 1, 2, 5))
    trials += [Trial(topology="bifpn", seed=seed, role="finalist") for seed in (10, 11)]
    trials += [Trial(topology="panet", width=48, seed=7, state="failed")]
    trials += [
        Trial(topology="fpn", width=width, state="failed", failure=("out_of_memory", "x")) for width in (96, 128)
    ]
    run = make("run", trials, latencies=[Latency(device="NVIDIA H200")])
    facts = dict(provenance(run).blocks[0].items)  # type: ignore[union-attr]
    assert facts["Question"] == run.meta["question"]
    assert facts["Study file"] == "studies/topology_ablation.py"
    assert facts["Last command"] == "scaling-lab run studies/topology_ablation.py"
    assert facts["Commit"] == "b8c25855d1 with uncommitted changes"
    assert facts["Seeds"] == "0 to 2, 5, 7 (search); 10, 11 (finalist)"
    assert facts["Digest of the data"] == "5f2c9d0e1a7b"
    assert facts["Trained on"] == "CPU"
    assert facts["Latency measured on"] == "NVIDIA H200"
    assert facts["First started"] == "2025-03-01 10:00 UTC"
    assert facts["Last ended"] == "2025-03-01 10:05 UTC"
    assert facts["Failures"] == "2 out of memory, 1 diverged"
    titles = [block.title for block in provenance(run).blocks if isinstance(block, Details)]
    assert titles == ["1 session", "Versions and host", "Training recipe", "Source of the study file"]
    empty = dict(provenance(make("empty", [], seeds=[3, 4])).blocks[0].items)  # type: ignore[union-attr]
    assert (empty["Seeds"], empty["Failures"], empty["Trained on"]) == ("3, 4", "none", "not recorded")
    assert "sessions" in {block.name for block in tables_in(provenance(run).blocks)}


def tables_in(blocks: Sequence[Any]) -> list[Table]:
    found = [block for block in blocks if isinstance(block, Table)]
    return found + [each for block in blocks if isinstance(block, Details) for each in tables_in(block.blocks)]


def test_other_spaces_are_compared_at_matched_cost(make: Make) -> None:
    runs = [
        make("x", trained(1), space="a", sampler="tpe"),
        make("y", trained(2, shift=3.0), space="b", sampler="random"),
    ]
    found = comparison_sections.spaces(compare(*runs))
    assert isinstance(found.blocks[0], Text)
    assert found.blocks[0].tone == "warning"
    assert "The samplers of x chose architectures" in str(found.blocks[0])
    assert any(isinstance(block, Figure) for block in found.blocks)
    same = [make("v", trained(1)), make("w", trained(2))]
    assert comparison_sections.spaces(compare(*same)).blocks == ()
