"""The proxy audit: pairing, ranks against a known truth, what is said of them, and every case in which nothing can be."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats

from scaling_lab.report import compute_frontier
from scaling_lab.report.analysis import proxy_judgement
from scaling_lab.report.analysis.predictors import Ceilings, Predictor
from scaling_lab.report.page.blocks import Bullets, Figure, Section, Table, Text
from scaling_lab.report.page.writer import figures_of, tables_of, write_page
from scaling_lab.report.sections import proxy, proxy_words
from scaling_lab.runs.reader import Runs
from scaling_lab.stats import ranks
from scaling_lab.stats.resampling import Ranked
from scaling_lab.user_files import import_file
from tests.report.fixture_run import GMACS, TRUE_AP, Fixture, Trial, write_run

ROOT = Path(__file__).parents[2]
WIDTHS = (16, 24, 32, 48)
POINTS = list(itertools.product(TRUE_AP, WIDTHS))


def made(
    spread: float, *, seeds: int = 2, seed: int = 0, size: float = 0.0, points: Any = POINTS, **more: Any
) -> list[Trial]:
    """Trials around one truth of each point, the same for each protocol; `spread` is the seed SD, `size` AP for each doubling."""
    truths = dict(zip(POINTS, np.random.default_rng(9).normal(45, 5, len(POINTS)), strict=True))
    draw = np.random.default_rng(seed)
    found = []
    for topology, width in points:
        truth = truths[topology, width] if not size else 45.0
        truth += size * math.log2(GMACS[topology] * (width / 32) ** 1.5 / 0.08)
        for number in range(seeds):
            ap = float(truth + draw.normal(0, spread)) if spread else float(truth)
            found.append(Trial(topology=topology, width=width, seed=number, ap=ap, **more))
    return found


def runs_of(folder: Path, name: str, trials: list[Trial], **meta: Any) -> Runs:
    meta = {"study": name, "data": {"kind": "coco"}, **meta}
    return Runs(write_run(folder / name, Fixture(trials=trials, samples=0, meta=meta)))


@pytest.fixture(scope="module", autouse=True)
def _few_repeats() -> Iterator[None]:
    """A ceiling from a tenth of the simulated repeats: what it is for is tested with its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranks, "REPEATS", 100)
        yield


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Runs, Runs]:
    folder = tmp_path_factory.mktemp("two")
    cheap = runs_of(folder, "few_epochs", made(3.0, seed=1, epochs=2))
    dear = runs_of(folder, "many_epochs", made(1.5, seed=2, epochs=12, protocol="bbbb", points=POINTS[:-1]))
    return cheap, dear


def only(section: Section, kind: type) -> Any:
    (block,) = (block for block in section.blocks if isinstance(block, kind))
    return block


def said(found: proxy_judgement.Proxy) -> dict[str, str]:
    """Give all bullets of the limits and of the evidence, and the answer."""
    blocks = (*proxy.limits(found).blocks, *proxy.evidence(found).blocks)
    bullets = {lead: text for block in blocks if isinstance(block, Bullets) for lead, text in block.items}
    return {"answer": proxy.answer(found), **bullets}


# --- pairing ---------------------------------------------------------------------------------------------------------


def test_architectures_are_paired_by_digest(two: tuple[Runs, Runs]) -> None:
    found = proxy_judgement.compute_proxy(*two)
    table = found.pairs.table
    assert len(table) == 23
    assert (found.pairs.by_point, found.pairs.only_cheap, found.pairs.only_dear) == (False, 1, 0)
    assert table["architecture"].is_monotonic_increasing
    for which, runs in zip(("cheap", "dear"), two, strict=True):
        means = runs.table().groupby("architecture")["ap"].mean()
        assert table[f"{which}_ap_mean"].tolist() == pytest.approx(means[table["architecture"]].tolist())
    assert found.pairs.how() == "by the digest of their specs"
    assert dict(proxy_words.limits(found))["Left out:"] == "1 only under the proxy."


def test_another_image_size_is_paired_by_the_point_of_the_space(tmp_path: Path) -> None:
    cheap = runs_of(tmp_path, "small", made(0.0, image_size=64))
    dear = runs_of(tmp_path, "large", made(0.0, protocol="bbbb", epochs=8))
    found = proxy_judgement.compute_proxy(cheap, dear)
    assert found.pairs.by_point
    assert len(found.pairs.table) == len(POINTS)
    assert found.pairs.table["cheap_ap_mean"].tolist() == found.pairs.table["dear_ap_mean"].tolist()
    assert found.pairs.how() == "by their point of the search space"
    assert "Left out:" not in dict(proxy_words.limits(found))
    assert found.judged["cheap_ap_mean"].tau.value == 1.0


def test_one_recipe_with_images_of_another_size_is_a_proxy(tmp_path: Path) -> None:
    cheap = runs_of(tmp_path, "small", made(0.0, image_size=64))
    assert not proxy_judgement.compute_proxy(cheap, runs_of(tmp_path, "large", made(0.0))).warning


# --- what it is worth ------------------------------------------------------------------------------------------------


def test_statistics_are_those_of_the_means(two: tuple[Runs, Runs]) -> None:
    found = proxy_judgement.compute_proxy(*two)
    table = found.pairs.table
    truth = table["dear_ap_mean"]
    for key, judged in found.judged.items():
        assert judged.tau.value == pytest.approx(scipy.stats.kendalltau(table[key], truth).statistic)
        assert judged.spearman.value == pytest.approx(scipy.stats.spearmanr(table[key], truth).statistic)
        assert judged.tau.low < judged.tau.value < judged.tau.high
        first = table.sort_values(key, ascending=False, kind="stable")["dear_ap_mean"]
        assert judged.regrets[3].value == pytest.approx(truth.max() - first.head(3).max())
    cheap, gmacs = found.judged["cheap_ap_mean"], found.judged["gmacs"]
    assert gmacs.ahead.value == pytest.approx(cheap.tau.value - gmacs.tau.value)
    assert math.isnan(gmacs.partial.value)
    assert math.isnan(cheap.ahead.value)
    assert cheap.tau.value < found.ceilings.dear < 1.0


def test_a_proxy_of_the_same_truth_beats_size(two: tuple[Runs, Runs]) -> None:
    """The truth has nothing to do with GMACs here."""
    found = said(proxy_judgement.compute_proxy(*two))
    assert "the proxy is significantly better, by" in found["Ranked by more GMACs:"]
    assert "Repeat of the proxy:" in found
    assert "times as long" in found["Cost of a trial:"]
    assert len([lead for lead in found if lead.startswith("AP lost by")]) == 4


def test_a_proxy_that_knows_size_alone_is_told_from_nothing(tmp_path: Path) -> None:
    """AP follows GMACs without noise under the full protocol, and with noise of its own under the proxy."""
    cheap = runs_of(tmp_path, "cheap", made(2.0, seed=3, size=2.0))
    dear = runs_of(tmp_path, "dear", made(0.1, seed=4, size=2.0, protocol="bbbb", epochs=8))
    found = proxy_judgement.compute_proxy(cheap, dear)
    assert found.judged["gmacs"].tau.value > 0.95
    assert found.judged["cheap_ap_mean"].tau.low > 0
    assert abs(found.judged["cheap_ap_mean"].partial.value) < found.judged["cheap_ap_mean"].tau.value
    assert "the proxy is significantly worse, by" in said(found)["Ranked by more GMACs:"]


def test_one_seed_has_ranks_and_no_ceiling(tmp_path: Path) -> None:
    cheap = runs_of(tmp_path, "cheap", made(1.0, seeds=1, seed=1))
    dear = runs_of(tmp_path, "dear", made(1.0, seeds=1, seed=2, protocol="bbbb", epochs=8))
    found = proxy_judgement.compute_proxy(cheap, dear)
    assert math.isnan(found.ceilings.dear)
    assert said(found)["Repeat of the full protocol:"].startswith("one seed each")
    assert found.judged["cheap_ap_mean"].tau.low > 0.3
    assert "Hollow marks have one seed" in only(proxy.evidence(found), Figure).caption


@pytest.mark.parametrize("width", [8.0, 3.7])
def test_the_figure_has_each_pair_and_its_intervals(two: tuple[Runs, Runs], width: float) -> None:
    figure = only(proxy.evidence(proxy_judgement.compute_proxy(*two)), Figure)
    (axes,) = figure.draw(figure.table, width).axes
    dots = np.concatenate([np.asarray(each.get_offsets()) for each in axes.collections if hasattr(each, "get_sizes")
                           and len(each.get_sizes())])  # fmt: skip
    expected = figure.table[["cheap_ap_mean", "dear_ap_mean"]].to_numpy()
    assert np.sort(dots, axis=0) == pytest.approx(np.sort(expected, axis=0))
    assert len({tuple(dot) for dot in dots.tolist()} & {tuple(pair) for pair in expected.tolist()}) == 23
    lines = [each for each in axes.collections if hasattr(each, "get_segments")]
    assert [len(each.get_segments()) for each in lines] == [23, 23]


# --- sentences -------------------------------------------------------------------------------------------------------


def value(mean: float, half: float = 0.1) -> Ranked:
    return Ranked(value=mean, low=mean - half, high=mean + half)


def judged(tau: Ranked, **more: Any) -> Predictor:
    nothing = Ranked(value=math.nan, low=math.nan, high=math.nan)
    rest = {
        "spearman": tau,
        "partial": nothing,
        "ahead": nothing,
        "regrets": {1: nothing},
        "key": "x",
        "name": "more GMACs",
    }
    return Predictor(tau=tau, **{**rest, **more})


@pytest.mark.parametrize(
    ("tau", "ceilings", "expected"),
    [
        (0.5, (0.8, 0.9), ["tau-b 0.90; the proxy is below that.", "tau-b 0.80; more proxy seeds would help."]),
        (0.5, (0.95, 0.9), ["tau-b 0.90; the proxy is below that.", "tau-b 0.95."]),
        (math.nan, (0.95, 0.9), ["tau-b 0.90; the proxy has no interval to compare.", "tau-b 0.95."]),
        (0.85, (0.95, 0.9), ["tau-b 0.90; the proxy is not significantly below that.", "tau-b 0.95."]),
        (0.95, (math.nan, 0.9), ["tau-b 0.90; the proxy ranks as well."]),
        (
            0.5,
            (0.9, 0.05),
            ["tau-b 0.05, so it does not rank these architectures and cannot judge a proxy; add seeds."],
        ),
        (0.5, (0.9, math.nan), ["one seed each, so its agreement with itself is unknown."]),
    ],
)
def test_tau_is_read_against_a_repeat(tau: float, ceilings: tuple[float, float], expected: list[str]) -> None:
    few = Ranked(value=0.5, low=math.nan, high=math.nan)
    found = proxy_words.against_repeat(
        judged(few if math.isnan(tau) else value(tau)), Ceilings(cheap=ceilings[0], dear=ceilings[1])
    )
    assert [text for _, text in found] == expected


@pytest.mark.parametrize(
    ("ahead", "expected"),
    [
        (value(0.2), "the proxy is significantly better, by 0.20 [0.10, 0.30]."),
        (value(-0.2), "the proxy is significantly worse, by 0.20 [0.10, 0.30], and not worth its cost."),
        (value(0.05), "the proxy does not differ significantly (0.05 [−0.05, 0.15])."),
    ],
)
def test_tau_is_read_against_size(ahead: Ranked, expected: str) -> None:
    assert expected in proxy_words.against_size(judged(value(0.4), ahead=ahead))[1]
    alike = judged(Ranked(value=math.nan, low=math.nan, high=math.nan), ahead=ahead)
    assert "it ranks nothing" in proxy_words.against_size(alike)[1]


# --- where nothing can be said ---------------------------------------------------------------------------------------

FEW = made(1.0, points=POINTS[:3])


@pytest.mark.parametrize(
    ("cheap", "dear", "expected"),
    [
        ([], [], "here 0 of 0 (proxy) and 0 (full) are paired."),
        (FEW, made(1.0, protocol="bbbb"), "here 3 of 3 (proxy) and 24 (full) are paired."),
        (FEW, made(1.0, points=POINTS[:1], protocol="bbbb"), "here 1 of 3 (proxy) and 1 (full) are paired."),
        ([Trial(topology="fpn", state="failed")], FEW, "here 0 of 0 (proxy) and 3 (full) are paired."),
    ],
)
def test_too_few_architectures_have_words_and_no_numbers(
    tmp_path: Path, cheap: list[Trial], dear: list[Trial], expected: str
) -> None:
    found = proxy_judgement.compute_proxy(runs_of(tmp_path, "cheap", cheap), runs_of(tmp_path, "dear", dear))
    assert proxy.answer(found).startswith("A rank correlation needs 4 architectures")
    assert proxy.answer(found).endswith(expected)
    assert set(said(found)) == {"answer"}


def test_few_architectures_have_no_interval_and_no_claim(tmp_path: Path) -> None:
    """Four pairs have correlations, and none of them an interval."""
    few = [runs_of(tmp_path, name, made(0.5, points=POINTS[:4], seed=seed, **more)) for name, seed, more in (
        ("cheap", 1, {}), ("dear", 2, {"protocol": "bbbb", "epochs": 8}))]  # fmt: skip
    found = proxy_judgement.compute_proxy(*few)
    sentences = said(found)
    assert "95 % CI" not in sentences["answer"]
    assert sentences["Ranked by more GMACs:"].endswith("without an interval.")
    assert sentences["At equal GMACs:"].endswith("without an interval.")
    assert sentences["Repeat of the full protocol:"].endswith("the proxy has no interval to compare.")
    agreement = next(block for block in proxy.evidence(found).blocks if isinstance(block, Table))
    assert not any("[" in text for text in agreement.frame["tau_text"])


def test_a_regret_is_given_no_interval_in_words(two: tuple[Runs, Runs]) -> None:
    section = proxy.evidence(proxy_judgement.compute_proxy(*two))
    agreement, regret, _ = (block for block in section.blocks if isinstance(block, Table))
    assert "95 % jackknife intervals over architectures" in agreement.caption
    assert "covers 95 to 98 %" in agreement.caption
    assert "middle 95 % over 1,000 resamples of the architectures, which is no 95 % interval" in regret.caption


@pytest.mark.parametrize(("count", "said_"), [(4, False), (8, True), (49, True), (50, False)])
def test_it_is_said_where_the_difference_is_not_quite_covered(count: int, said_: bool) -> None:
    assert bool(proxy_words.ahead_covers(count)) is said_


@pytest.mark.filterwarnings("error")
def test_equal_values_rank_nothing(tmp_path: Path) -> None:
    same = [Trial(topology=topology, width=width, seed=seed, ap=20.0) for topology, width in POINTS for seed in (0, 1)]
    dear = runs_of(tmp_path, "dear", made(1.0, protocol="bbbb", epochs=8))
    found = proxy_judgement.compute_proxy(runs_of(tmp_path, "cheap", same), dear)
    assert said(found)["answer"].endswith("so nothing can be ranked.")
    (_, predictors, *_) = [block for block in proxy.evidence(found).blocks if isinstance(block, (Figure, Table))]
    assert isinstance(predictors, Table)
    assert predictors.frame["tau_text"].iloc[0] == "–"


def test_the_same_run_twice_and_the_same_protocol_are_no_proxy(tmp_path: Path, two: tuple[Runs, Runs]) -> None:
    same = proxy_judgement.compute_proxy(two[0], two[0])
    assert proxy.answer(same) == "Both are the same run, so there is nothing to compare."
    assert set(said(same)) == {"answer"}
    again = runs_of(tmp_path, "again", made(3.0, seed=5, epochs=2))
    assert "this is a repeat, not a test of a proxy" in warning_of(two[0], again)
    swapped = warning_of(two[1], two[0])
    assert re.search(r"A trial took \d+ s as proxy and \d+ s in full: are the runs in the wrong order\?", swapped)


def warning_of(cheap: Runs, dear: Runs) -> str:
    (warning, *_) = proxy.limits(proxy_judgement.compute_proxy(cheap, dear)).blocks
    assert isinstance(warning, Text)
    assert warning.tone == "warning"
    return warning.text


def test_what_is_odd_is_said_above_too_few_architectures(tmp_path: Path) -> None:
    few, data = made(1.0, points=POINTS[:2]), {"kind": "coco", "train_images": 500}
    dear = runs_of(tmp_path, "dear", made(1.0, points=POINTS[:2], protocol="bbbb"), data=data)
    alike = runs_of(tmp_path, "alike", few, data=data)
    assert proxy_judgement.compute_proxy(alike, dear).warning == ""
    other = runs_of(tmp_path, "other", few, data={**data, "train_images": 900}, data_digest="0123456789abcdef")
    warning = warning_of(other, dear)
    assert "different images (digests 0123456789ab, 5f2c9d0e1a7b)" in warning
    assert re.search(r"trains on [\d,]+ images .*: are the runs in the wrong order\?", warning)
    assert proxy.answer(proxy_judgement.compute_proxy(other, dear)).endswith(
        "here 2 of 2 (proxy) and 2 (full) are paired."
    )


# --- one run, and the page -------------------------------------------------------------------------------------------


def test_within_one_run_fewer_epochs_are_the_proxy(tmp_path: Path, two: tuple[Runs, Runs]) -> None:
    trials = [*made(2.0, seed=1, epochs=12, protocol="bbbb", seeds=1), *made(3.0, seed=2, epochs=2)]
    runs = runs_of(tmp_path, "both", trials)
    frontier = compute_frontier(runs)
    assert len(frontier.excluded) == len(POINTS)
    found = proxy_judgement.within_proxy(frontier)
    assert found is not None
    assert (found.cheap_name, found.dear_name) == ("protocol aaaa00001111, 2 epochs", "protocol bbbb, 12 epochs")
    table = runs.table()
    for which, epochs in (("cheap", 2), ("dear", 12)):
        means = table[table["epochs"] == epochs].groupby("architecture")["ap"].mean()
        assert found.pairs.table[f"{which}_ap_mean"].tolist() == pytest.approx(
            means[found.pairs.table["architecture"]].tolist()
        )
    section = proxy.within(runs, frontier)
    assert only(section, Figure).name == "proxy_within_ap"
    assert proxy.within(two[0], compute_frontier(two[0])).blocks == ()
    empty = runs_of(tmp_path, "empty", [])
    assert proxy.within(empty, compute_frontier(empty)).blocks == ()


def test_the_report_is_one_page(two: tuple[Runs, Runs], tmp_path: Path) -> None:
    report = import_file(ROOT / "reports" / "proxy.py").report
    page = report(*two)
    for names in ([each.name for each in figures_of(page)], [each.name for each in tables_of(page)]):
        assert len(set(names)) == len(names)
    assert len({section.title for section in page.sections}) == len(page.sections)
    assert b"Proxy audit" in write_page(page, tmp_path / "a", "proxy", compact=True).read_bytes()
    frame = {each.name: each.frame for each in tables_of(page)}["proxy_predictors"]
    assert frame["predictor"].tolist()[:3] == ["the proxy", "more parameters", "more GMACs"]


@pytest.mark.slow
def test_the_report_is_always_the_same(two: tuple[Runs, Runs], tmp_path: Path) -> None:
    report = import_file(ROOT / "reports" / "proxy.py").report
    first, second = (write_page(report(*two), tmp_path / name, "proxy").read_bytes() for name in ("a", "b"))
    assert first == second


def test_the_report_of_empty_runs_is_a_page(tmp_path: Path) -> None:
    report = import_file(ROOT / "reports" / "proxy.py").report
    page = report(runs_of(tmp_path, "cheap", []), runs_of(tmp_path, "dear", []))
    text = write_page(page, tmp_path / "out", "proxy").read_text()
    assert "A rank correlation needs 4 architectures" in text
