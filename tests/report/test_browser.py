"""The page in a real browser: nothing fetched, nothing wrong in the console, tables, the explorer, themes, a phone, paper."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from scaling_lab.report.page.writer import render_page
from scaling_lab.report.writing import make_page
from scaling_lab.runs.reader import Runs
from tests.report.conftest import ABLATION, CHROMIUM, FRONTIER
from tests.report.fixture_run import Fixture, Trial, write_run

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
slow = pytest.mark.slow

PATIENCE = 300_000  # milliseconds: for a test that fails, far beyond what a stalled machine takes
expect.set_options(timeout=PATIENCE)
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@dataclasses.dataclass
class Opened:
    """A page in the browser, with what it asked for and what went wrong."""

    page: Page
    requests: list[str]
    wrong: list[str]

    def drawn(self) -> Opened:
        """Wait until the explorer has its points."""
        self.page.locator(".plot .main-svg").first.wait_for()
        return self

    def table(self, name: str) -> Locator:
        return self.page.locator(f"#table-{name}")

    def column(self, table: str, heading: str) -> list[str]:
        """Give the cells of a column that are shown."""
        headings = [text.strip() for text in self.table(table).locator("thead th").all_inner_texts()]
        place = [" ".join(text.split()) for text in headings].index(heading)
        return [
            text.strip() for text in self.table(table).locator(f"tbody td:nth-child({place + 1})").all_text_contents()
        ]

    def point(self, label: str) -> tuple[float, float]:
        """Give where an architecture's mean is drawn on the screen."""
        place = self.page.evaluate(
            """(label) => {
                const plot = document.querySelector(".plot"), layout = plot._fullLayout;
                for (const trace of plot._fullData) for (const [i, text] of [trace.text ?? []].flat().entries()) {
                    if (!text.startsWith(`<b>${label}</b>`)) continue;
                    const box = plot.getBoundingClientRect();
                    return [box.left + layout.xaxis._offset + layout.xaxis.d2p(trace.x[i]),
                            box.top + layout.yaxis._offset + layout.yaxis.d2p(trace.y[i])];
                }
            }""",
            label,
        )
        assert place is not None, label
        return place[0], place[1]

    def points(self) -> list[str]:
        """Give the architectures whose means are drawn."""
        names = self.page.evaluate(
            """() => document.querySelector(".plot")._fullData
                .flatMap((trace) => trace.text ?? []).filter((text) => text.startsWith("<b>"))"""
        )
        return sorted(re.sub(r"^<b>(.*?)</b>.*", r"\1", name) for name in names)

    def show(self, selector: str) -> None:
        self.page.locator(selector).first.scroll_into_view_if_needed()


def opened(browser: Browser, path: Path, *, size: dict[str, int], scheme: str = "light", script: bool = True) -> Opened:
    context = browser.new_context(viewport=size, color_scheme=scheme, java_script_enabled=script)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    found = Opened(page=page, requests=[], wrong=[])
    page.on("request", lambda request: found.requests.append(request.url))
    page.on("console", lambda message: found.wrong.append(message.text))
    page.on("pageerror", lambda error: found.wrong.append(str(error)))
    page.goto(path.as_uri())
    return found


def page_alone(run: Path, report: Path) -> Path:
    """Write a run's page without the figures and tables beside it."""
    path = run / f"{report.stem}.html"
    path.write_text(render_page(make_page([Runs(run)], report)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def page(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ablation's page, without the files beside it."""
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(render_page(make_page([Runs(run)], ABLATION)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def desk(browser: Browser, page: Path) -> Iterator[Opened]:
    """The page on a desk, shared: a test leaves filters, the theme and the axes' range as they were."""
    found = opened(browser, page, size=DESK).drawn()
    yield found
    assert found.wrong == []
    found.page.context.close()


@pytest.fixture(scope="module")
def phone(browser: Browser, page: Path) -> Iterator[Opened]:
    """The page on a phone, shared in the same way."""
    found = opened(browser, page, size=PHONE, scheme="dark").drawn()
    yield found
    assert found.wrong == []
    found.page.context.close()


@pytest.fixture
def fresh(browser: Browser, page: Path) -> Iterator[Opened]:
    """The page on a desk, for one test alone."""
    found = opened(browser, page, size=DESK).drawn()
    yield found
    assert found.wrong == []
    found.page.context.close()


# --- the page --------------------------------------------------------------------------------------------------------


def test_nothing_is_fetched(desk: Opened, phone: Opened, page: Path) -> None:
    for found in (desk, phone):
        assert [url for url in found.requests if not url.startswith("data:")] == [page.as_uri()]


def test_no_button_sends_the_data_anywhere(desk: Opened) -> None:
    buttons = desk.page.locator(".modebar-btn").evaluate_all("(all) => all.map((each) => each.dataset.title)")
    assert len(buttons) == 7
    assert not [title for title in buttons if re.search("share|cloud|upload|edit", title, re.IGNORECASE)]
    assert desk.page.evaluate("document.querySelector('.plot')._context.plotlyServerURL") == ""


def test_hostile_text_is_text(desk: Opened) -> None:
    assert '<script>alert("x")</script>' in desk.page.locator("h1 + .question").inner_text()


def test_both_themes_reach_into_the_figures(desk: Opened, phone: Opened) -> None:
    def colours(found: Opened) -> list[str]:
        return found.page.evaluate(
            """() => [getComputedStyle(document.body).backgroundColor,
                getComputedStyle(document.querySelector("#figure-ap-against-gmacs text")).fill,
                document.querySelector(".plot")._fullLayout.font.color,
                document.querySelector(".plot .xtick text").style.fill]"""
        )

    system = {"light": colours(desk), "dark": colours(phone)}
    assert all(a != b for a, b in zip(system["light"], system["dark"], strict=True))
    for found in (desk, phone):
        for theme in ("light", "dark"):
            found.page.locator("#theme").click()
            expect(found.page.locator("#theme")).to_have_text(f"Theme: {theme}")
            assert colours(found) == system[theme]
        found.page.locator("#theme").click()  # the system's again


def test_a_desk_and_a_phone_have_their_own_figures(desk: Opened, phone: Opened) -> None:
    for found, shown, hidden in ((desk, "wide", "narrow"), (phone, "narrow", "wide")):
        expect(found.page.locator(f"#figure-ap-against-gmacs .{shown}")).to_be_visible()
        expect(found.page.locator(f"#figure-ap-against-gmacs .{hidden}")).to_be_hidden()
        assert found.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_all_fits_a_desk(desk: Opened) -> None:
    wide = "(boxes) => boxes.filter((box) => box.scrollWidth > box.clientWidth).map((box) => box.parentElement.id)"
    assert desk.page.locator(".scroll").evaluate_all(wide) == []
    assert desk.page.locator("nav").evaluate("(nav) => nav.getBoundingClientRect().height") < 50  # one line of links


def test_pictures_are_shown(desk: Opened, phone: Opened) -> None:
    for found in (desk, phone):
        widths = found.page.locator(".pictures .panel svg").evaluate_all("(all) => all.map((svg) => svg.clientWidth)")
        assert len(widths) == 4
        assert min(widths) > 50


@slow
def test_without_scripts_and_on_paper_the_page_is_whole(browser: Browser, page: Path) -> None:
    still = opened(browser, page, size=DESK, script=False)
    expect(still.page.locator(".live")).to_be_hidden()
    assert len(still.column("architectures", "AP")) == 3
    still.page.context.close()
    paper = opened(browser, page, size=DESK).drawn()
    paper.page.emulate_media(media="print")
    expect(paper.page.locator(".live")).to_be_hidden()
    expect(paper.table("architectures").locator("table")).to_be_visible()
    expect(paper.page.locator("#figure-ap-against-gmacs .wide")).to_be_visible()
    paper.page.context.close()


# --- tables ----------------------------------------------------------------------------------------------------------


def test_a_click_on_a_heading_sorts(desk: Opened) -> None:
    desk.page.locator("details:has(#table-trials)").evaluate("(details) => { details.open = true; }")
    heading = desk.table("trials").locator("th:has(button:text-is('AP'))")
    heading.locator("button").click()
    assert heading.get_attribute("aria-sort") == "descending"
    down = desk.column("trials", "AP")
    numbers = [float(text) for text in down if text != "–"]
    assert len(numbers) == 9
    assert numbers == sorted(numbers, reverse=True)
    heading.locator("button").click()
    up = desk.column("trials", "AP")
    assert [float(text) for text in up if text != "–"] == sorted(numbers)
    assert down[-3:] == up[-3:] == ["–"] * 3  # what is missing stays last
    desk.table("trials").locator("th button:text-is('Architecture')").click()
    names = desk.column("trials", "Architecture")
    assert names == sorted(names)


def test_words_and_bounds_filter(desk: Opened) -> None:
    desk.page.locator("details:has(#table-trials)").evaluate("(details) => { details.open = true; }")
    box = desk.table("trials").locator("input")
    box.fill("bifpn complete")
    assert desk.column("trials", "Architecture") == ["BiFPN"] * 3
    expect(desk.table("trials").locator("output")).to_have_text("3 rows")
    box.fill("seed>=1 seed<2 complete")
    assert desk.column("trials", "Seed") == ["1"] * 3
    box.fill("bifpn seed >= 1")  # spaces around a sign
    assert sorted(desk.column("trials", "Seed")) == ["1", "2"]
    box.fill("nothing such")
    expect(desk.table("trials").locator("output")).to_have_text("0 rows")
    box.fill("seed>")  # not yet a bound: a word that no row has
    expect(desk.table("trials").locator("output")).to_have_text("0 rows")
    box.fill("")
    expect(desk.table("trials").locator("output")).to_have_text("12 rows")


# --- the explorer ----------------------------------------------------------------------------------------------------


def test_pointing_at_a_point_tells_it(desk: Opened) -> None:
    desk.show(".plot")
    desk.page.mouse.move(*desk.point("PANet"))
    told = desk.page.locator(".plot .hoverlayer .hovertext")
    told.wait_for()
    text = "".join(told.all_text_contents())
    mean = dict(zip(desk.column("architectures", "Architecture"), desk.column("architectures", "AP"), strict=True))[
        "PANet"
    ]
    assert "PANet" in text
    assert f"AP {mean} [" in text
    assert "3 seeds" in text


def test_a_point_and_a_row_select(desk: Opened) -> None:
    chosen = desk.page.locator(".chosen h3")
    desk.show(".plot")
    desk.page.mouse.click(*desk.point("FPN"))
    expect(chosen).to_have_text("FPN")
    expect(desk.table("architectures").locator("tr[aria-current] td").first).to_have_text("FPN")
    assert desk.page.locator(".chosen .drawing circle").count() >= 10
    assert desk.page.locator(".chosen .curves .scatterlayer .js-line").count() == 6  # loss and AP of three seeds
    assert desk.page.locator(".chosen .panel rect").count() > 3
    assert '"backbone": "resnet10t"' in desk.page.locator(".chosen pre").text_content()  # type: ignore[operator]
    desk.table("architectures").locator("tbody tr", has_text="PANet").click()
    expect(chosen).to_have_text("PANet")


@slow
def test_the_filter_and_a_frame_leave_points_out(browser: Browser, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", Fixture(trials=_many(12)))
    found = opened(browser, page_alone(run, FRONTIER), size=DESK).drawn()
    everything = found.points()
    assert len(everything) == 12
    box = found.page.locator(".controls .filter input")
    box.fill("panet")
    assert found.points() == [name for name in everything if "PANet" in name]
    box.fill("gmacs<0.05")
    costs = [float(text) for text in found.column("architectures", "GMACs")]
    assert 0 < len(found.points()) == len(costs) < 12
    assert max(costs) < 0.05
    box.fill("width >= 24 panet")  # a number that no column has
    assert found.points() == [name for name in everything if name in ("PANet, width 24", "PANet, width 28")]
    box.fill("wdith>=24")
    expect(found.page.locator(".controls output")).to_have_text("0 rows; no column of numbers is called wdith")
    box.fill("")
    small = [float(text) for text in found.column("architectures", "AP small")]
    box.fill(f"gmacs<0.05 panet ap small > {min(small):.1f}")  # a heading of two words, beside a word
    shown = dict(zip(found.points(), found.column("architectures", "AP small"), strict=True))
    assert shown
    assert all("PANet" in name for name in shown)
    box.fill("")
    assert found.points() == everything
    found.show(".plot")
    found.page.locator('.modebar-btn[data-val="select"]').click()
    x, y = found.point(found.column("architectures", "Architecture")[0])
    for move, place in (("move", (x - 15, y - 15)), ("down", ()), ("move", (x + 15, y + 15)), ("up", ())):
        getattr(found.page.mouse, move)(*place)
    expect(found.page.locator(".controls output")).not_to_have_text("12 rows")
    assert 1 <= len(found.points()) < 12
    opacities = found.page.locator(".plot .scatterlayer .point").evaluate_all(
        "(all) => all.map((p) => getComputedStyle(p).opacity)"
    )
    assert min(map(float, opacities)) > 0.7  # what was chosen is seen as before
    assert found.page.locator(".chosen h3").inner_text() in found.points()
    found.page.get_by_role("button", name="Show all").click()
    expect(found.page.locator(".controls .all")).to_be_hidden()
    expect(found.page.locator(".controls output")).to_have_text("12 rows")
    assert found.wrong == []
    found.page.context.close()


@slow
def test_the_keyboard_reaches_and_selects_rows(fresh: Opened) -> None:
    rows = fresh.table("architectures").locator("tbody tr")
    names = fresh.column("architectures", "Architecture")
    fresh.table("architectures").locator("th button").last.focus()
    fresh.page.keyboard.press("Tab")  # one row takes part: the selected one, at first the best
    expect(rows.nth(0)).to_be_focused()
    expect(fresh.page.locator(".chosen h3")).to_have_text(names[0])
    fresh.page.keyboard.press("ArrowDown")
    expect(rows.nth(1)).to_be_focused()
    assert rows.nth(1).locator("td").first.evaluate("(cell) => getComputedStyle(cell).outlineStyle") == "solid"
    fresh.page.keyboard.press("Enter")
    expect(fresh.page.locator(".chosen h3")).to_have_text(names[1])
    expect(fresh.page.locator(".live [role=status]")).to_contain_text(f"{names[1]}, AP ")
    fresh.page.keyboard.press("ArrowUp")
    fresh.page.keyboard.press("Space")
    expect(fresh.page.locator(".chosen h3")).to_have_text(names[0])
    fresh.page.keyboard.press("ArrowDown")
    fresh.table("architectures").locator("th button:text-is('AP')").click()
    assert rows.evaluate_all("(all) => all.map((row) => row.tabIndex)").count(0) == 1


@slow
def test_what_the_legend_hides_stays_hidden_under_a_filter(browser: Browser, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", Fixture(trials=_many(12), samples=0))
    found = opened(browser, page_alone(run, FRONTIER), size=DESK).drawn()
    found.page.locator("select[name=colour]").select_option(label="Topology")
    hidden = "document.querySelector('.plot')._fullData.filter((t) => t.visible === 'legendonly').map((t) => t.name)"
    found.page.locator(".legendtoggle").nth(1).click()
    expect(found.page.locator(".plot .legend .traces[style*='opacity: 0.5']")).to_have_count(1)
    (name,) = found.page.evaluate(hidden)
    first = next(each for each in ("BiFPN", "PANet", "FPN") if each != name)
    found.page.locator(".controls .filter input").fill(name)
    assert found.page.evaluate(hidden) == [name]
    found.page.locator(".controls .filter input").fill(first)
    assert found.page.evaluate(hidden) == []
    assert found.wrong == []
    found.page.context.close()


@slow
def test_what_is_hidden_in_the_legend_is_on_no_front(browser: Browser, tmp_path: Path) -> None:
    found = opened(browser, page_alone(write_run(tmp_path / "run", Fixture(trials=_many(12))), FRONTIER), size=DESK)
    found.drawn().page.locator(".plot .legend .traces").first.wait_for()
    found.show(".plot")
    front = "document.querySelector('.plot').data.find((trace) => trace.uid === 'front').y"
    before = found.page.evaluate(front)
    found.page.locator(".plot .legend .traces", has_text="BiFPN").locator(".legendtoggle").click()
    found.page.wait_for_function(f"(before) => String({front}) !== String(before)", arg=before)
    best = max(float(ap) for name, ap in zip(found.column("architectures", "Architecture"),
               found.column("architectures", "AP"), strict=True) if "BiFPN" not in name)  # fmt: skip
    assert max(found.page.evaluate(front)) == pytest.approx(best, abs=0.06)
    assert found.wrong == []
    found.page.context.close()


def test_axes_and_colours_are_the_readers(desk: Opened) -> None:
    desk.page.locator("select[name=across]").select_option(label="parameters, million")
    desk.page.locator("select[name=up]").select_option(label="AP50")
    title = desk.page.evaluate("document.querySelector('.plot')._fullLayout.xaxis.title.text")
    assert title == "parameters, million (log scale)"
    values = desk.page.evaluate("document.querySelector('.plot')._fullData.filter((t) => t.name === 'FPN')[0].y[0]")
    rows = dict(zip(desk.column("architectures", "Architecture"), desk.column("architectures", "AP50"), strict=True))
    assert f"{values:.1f}" == rows["FPN"]


@slow
def test_a_frame_looks_closer(fresh: Opened) -> None:
    fresh.show(".plot")
    reach = "(() => { const [a, b] = document.querySelector('.plot')._fullLayout.yaxis.range; return b - a; })()"
    before = fresh.page.evaluate(reach)
    x, y = fresh.point("PANet")
    fresh.page.mouse.move(x - 60, y - 60)
    fresh.page.mouse.down()
    fresh.page.mouse.move(x + 60, y + 60, steps=4)
    fresh.page.mouse.up()
    fresh.page.wait_for_function(f"{reach} < {before}")
    assert fresh.page.evaluate(reach) < 0.8 * before


@slow
def test_the_rows_beyond_the_first_are_reached(browser: Browser, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", Fixture(trials=_many(230), samples=0))
    found = opened(browser, page_alone(run, FRONTIER), size=PHONE).drawn()
    assert len(found.column("architectures", "AP")) == 200
    assert "first 200 of 230" in found.table("architectures").locator(".more").inner_text()
    found.table("architectures").locator("tbody tr").nth(4).click()  # as the page came, before any sorting
    fifth = found.table("architectures").locator("tbody tr").nth(4)
    expect(found.page.locator(".chosen h3")).to_have_text(fifth.locator("td").first.inner_text())
    expect(fifth).to_have_attribute("aria-current", "true")
    for _ in "down", "up":
        found.table("architectures").locator("th button:text-is('AP')").click()
    lowest = [float(text) for text in found.column("architectures", "AP")]
    assert lowest == sorted(lowest)
    found.page.locator(".controls .filter input").fill(f"ap<={lowest[5]:.1f}")
    assert 6 <= len(found.column("architectures", "AP")) < 30
    row = found.table("architectures").locator("tbody tr", has_not_text="●").first  # the front is told in full
    row.click()
    expect(found.page.locator(".chosen h3")).to_have_text(row.locator("td").first.inner_text())
    expect(found.page.locator(".chosen")).to_contain_text("for the 200 best")
    assert found.page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert found.wrong == []
    found.page.context.close()


@pytest.mark.parametrize("trials", [
    pytest.param([], id="none", marks=slow),
    pytest.param([Trial(topology="fpn")], id="one", marks=slow),
    pytest.param([Trial(topology="fpn", state="failed")], id="failed"),
])  # fmt: skip
def test_a_run_with_little_in_it_opens(browser: Browser, tmp_path: Path, trials: list[Trial]) -> None:
    run = write_run(tmp_path / "run", Fixture(trials=trials))
    for report in (ABLATION, FRONTIER):
        found = opened(browser, page_alone(run, report), size=DESK)
        assert found.page.locator("section").count() >= 2
        assert found.wrong == []
        found.page.context.close()


def _many(count: int) -> list[Trial]:
    """Give so many architectures of one seed each, with an AP that grows with their cost."""
    names = ("fpn", "panet", "bifpn")
    return [
        Trial(topology=names[i % 3], width=16 + 4 * (i // 3), ap=20 + 0.1 * i + 3 * (i % 3), epochs=2)
        for i in range(count)
    ]
