"""The page in a real browser: nothing fetched, nothing wrong in the console, tables sort, themes, a phone."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")

# Runs before the page's own script: whatever goes wrong from then on is noted.
WATCH = """<script>
window.noted = [];
for (const kind of ["error", "unhandledrejection", "securitypolicyviolation"])
  addEventListener(kind, (event) => noted.push(kind + event.message + event.reason + event.violatedDirective), true);
for (const kind of ["error", "warn"]) console[kind] = (...words) => noted.push(words.join(" "));
</script>"""

TRY = """<script>
addEventListener("load", () => {
  const table = document.querySelector("#table-trials table");
  const column = (name) => [...table.tHead.rows[0].cells].findIndex((cell) => cell.textContent === name);
  const shown = (name) => [...table.tBodies[0].rows].filter((row) => !row.hidden)
    .map((row) => row.cells[column(name)].textContent);
  const click = (name) => table.tHead.rows[0].cells[column(name)].querySelector("button").click();
  const found = {noted, fetched: performance.getEntriesByType("resource").map((entry) => entry.name)};
  click("AP"); found.down = shown("AP"); found.sort = table.tHead.rows[0].cells[column("AP")].getAttribute("aria-sort");
  click("AP"); found.up = shown("AP");
  click("Architecture"); found.names = shown("Architecture");
  const input = document.querySelector("#table-trials input");
  input.value = "bifpn complete"; input.dispatchEvent(new Event("input"));
  found.filtered = shown("Architecture"); found.count = document.querySelector("#table-trials output").textContent;
  const colours = () => [document.body, document.querySelector("#figure-ap-against-gmacs text")]
    .map((element, index) => getComputedStyle(element)[index ? "fill" : "backgroundColor"]);
  found.system = colours();
  const theme = document.getElementById("theme");
  theme.click(); found.light = colours(); theme.click(); found.dark = colours();
  const display = (kind) => getComputedStyle(document.querySelector("#figure-ap-against-gmacs ." + kind)).display;
  found.wide = display("wide"); found.narrow = display("narrow");
  found.scrolling = [...document.querySelectorAll(".scroll")].filter((box) => box.scrollWidth > box.clientWidth)
    .map((box) => box.parentElement.id);
  found.bar = document.querySelector("nav").getBoundingClientRect().height;
  found.overflow = document.documentElement.scrollWidth - innerWidth;
  found.pictures = [...document.querySelectorAll(".panel svg")].map((svg) => svg.getBoundingClientRect().width > 50);
  const result = document.createElement("pre");
  result.id = "result"; result.textContent = JSON.stringify(found); document.body.append(result);
});
</script></body>"""


def opened(page: Path, folder: Path, *settings: str) -> dict[str, Any]:
    """Open the page with the two scripts in it and give what they found."""
    text = page.read_text()
    tried = folder / "page.html"
    tried.write_text(text.replace("<head>", "<head>" + WATCH, 1).replace("</body>", TRY, 1))
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000", "--enable-logging=stderr",
        *settings, "--dump-dom", f"file://{tried}",
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "CONSOLE" not in result.stderr
    match = re.search(r'<pre id="result">(.*?)</pre>', result.stdout, re.DOTALL)
    assert match, result.stdout[-2000:]
    return dict(json.loads(html.unescape(match.group(1))))


@pytest.fixture(scope="module")
def desk(page: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return opened(page, tmp_path_factory.mktemp("desk"), "--window-size=1400,1000")


@pytest.fixture(scope="module")
def phone(page: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    # 500 px is the narrowest window that chromium opens; the page's phone layout begins at 640.
    return opened(
        page, tmp_path_factory.mktemp("phone"), "--window-size=500,900", "--blink-settings=preferredColorScheme=0"
    )


def test_nothing_is_fetched_and_nothing_goes_wrong(desk: dict[str, Any], phone: dict[str, Any]) -> None:
    for found in (desk, phone):
        assert found["noted"] == []
        assert found["fetched"] == []


def test_a_click_on_a_heading_sorts(desk: dict[str, Any]) -> None:
    numbers = [float(text) for text in desk["down"] if text != "–"]
    assert len(numbers) == 9
    assert numbers == sorted(numbers, reverse=True)
    assert desk["sort"] == "descending"
    assert [float(text) for text in desk["up"] if text != "–"] == sorted(numbers)
    assert desk["down"][-3:] == desk["up"][-3:] == ["–"] * 3  # what is missing stays last
    assert desk["names"] == sorted(desk["names"])


def test_words_filter(desk: dict[str, Any]) -> None:
    assert desk["filtered"] == ["BiFPN"] * 3
    assert desk["count"] == "3 rows"


def test_both_themes_reach_into_the_figures(desk: dict[str, Any], phone: dict[str, Any]) -> None:
    assert desk["system"] == desk["light"] == phone["light"]
    assert phone["system"] == desk["dark"] == phone["dark"]
    assert desk["light"][0] != desk["dark"][0]
    assert desk["light"][1] != desk["dark"][1]


def test_a_desk_and_a_phone_have_their_own_figures(desk: dict[str, Any], phone: dict[str, Any]) -> None:
    assert (desk["wide"], desk["narrow"]) == ("block", "none")
    assert (phone["wide"], phone["narrow"]) == ("none", "block")
    assert desk["overflow"] <= 0
    assert phone["overflow"] <= 0


def test_all_fits_a_desk(desk: dict[str, Any]) -> None:
    assert desk["scrolling"] == []
    assert desk["bar"] < 50  # one line of links


def test_pictures_are_shown(desk: dict[str, Any], phone: dict[str, Any]) -> None:
    for found in (desk, phone):
        assert len(found["pictures"]) == 4
        assert all(found["pictures"])
