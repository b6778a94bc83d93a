"""The first screen and the tables of the HTML report in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrtrack.records import ServedPage
from lrtrack.reports.document import Document
from lrtrack.reports.html import render
from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories

NASTY = "<img src=x onerror='window.hit=1'>|`*_a_b*`|"
COMMAND = "mlflow ui --backend-store-uri 'sqlite:////my runs/<b>.db'"
#: Notes what the page says to its curves.
LISTEN = (
    "window.told = []; document.addEventListener('lrtrack:highlight', (e) => told.push(e.detail))"
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, run_of: Any) -> Path:
    """A report on ten schedules with two seeds, in a local store."""
    rng = np.random.default_rng(0)
    histories = []
    for index in range(10):
        name = NASTY if index == 3 else f"Step{'ABCDEFGHIJ'[index]}"
        for seed in range(2):
            run = run_of(
                Schedule(name, {"step_size": 10 * (10 - index), "gamma": 0.1}), seed,
                name=f"{name}-{seed}", config={"batch": 32},
                loss=np.full(20, 0.1 + 0.1 * index) + 0.02 * rng.random(),
                lr=np.linspace(0.1, 0.0, 20),
            )  # fmt: skip
            url = f"http://127.0.0.1:5000/#/experiments/1/runs/{index}{seed}"
            histories.append(replace(run, served=ServedPage(COMMAND, url)))
    comparison = compare_histories(histories, experiment="e", metric="loss")
    path = tmp_path_factory.mktemp("tables") / "report.html"
    path.write_text(render(Document(comparison)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def opened(browser: Any, report: Path) -> Iterator[tuple[Any, list[str]]]:
    """One page for all tests, and what it said on the console."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(report.as_uri())
    yield page, said
    page.close()


@pytest.fixture
def page(opened: tuple[Any, list[str]]) -> Iterator[Any]:
    """The page as it opens; afterwards it has said nothing and no script of a name has run."""
    page, said = opened
    page.reload()
    page.wait_for_selector("body[data-drawn]")
    yield page
    assert said == []
    assert page.evaluate("window.hit") is None


def column(page: Any, table: str, number: int) -> list[str]:
    """The text of a column in the visible rows."""
    return [
        text.strip()
        for text in page.locator(
            f"{table} tbody tr:not([hidden]) td:nth-child({number})"
        ).all_text_contents()
    ]


def test_the_first_screen(page):
    """Headline, facts and the whole leaderboard are on the first screen, and curves begin there."""
    places = page.evaluate(
        """() => ['h1', '.facts', '.board tbody tr:last-child', '.legend'].map((at) =>
            Math.round(document.querySelector(at).getBoundingClientRect().bottom))"""
    )

    assert places == sorted(places)
    assert places[2] < 800
    assert places[3] < 960
    assert page.locator(".facts dt").all_text_contents()[-2:] == ["common setup", "what differs"]
    assert page.locator(".forest .ticks text").count() >= 2


def test_sorting(page):
    """A head sorts ascending, then descending, then gives the ranks back; it says so to readers."""
    ranks = column(page, ".board", 1)
    head = page.locator(".board th", has_text="schedule").first
    seen = []
    for _ in range(3):
        head.locator("button").click()
        seen.append((head.get_attribute("aria-sort"), column(page, ".board", 1)))

    assert [order for order, _ in seen] == ["ascending", "descending", None]
    assert column(page, ".board", 1) == ranks == seen[2][1]
    assert seen[0][1] == ["4", "1", "2", "3", "5", "6", "7", "8", "9", "10"]
    assert seen[1][1] == seen[0][1][::-1]


def test_numbers_sort_by_size_with_the_keyboard(page):
    """Enter on a head sorts numbers by size, with a minus sign or `≈` too; no value comes last."""
    at = 1 + page.locator(".board th").all_text_contents().index("vs best")
    head = page.locator(f".board th:nth-child({at}) button")
    head.focus()
    head.press("Enter")
    head.press("Enter")
    texts = column(page, ".board", at)
    sizes = [float(text.replace("≈ ", "").split(" ")[0].replace("−", "-")) for text in texts[:-1]]

    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) == 9
    assert texts[-1] == "–"


def test_filtering(page):
    """All words must be in a row; the number of rows that are left is shown."""
    runs = page.locator("section", has=page.locator(".runs"))
    runs.locator("input[type=search]").fill("stepb finished")
    count = runs.locator(".count").text_content()
    names = column(page, ".runs", 2)
    runs.locator("input[type=search]").fill("")

    assert (names, count) == (["StepB-0", "StepB-1"], "2 of 20 runs")
    assert runs.locator(".count").text_content() == ""
    assert len(column(page, ".runs", 2)) == 20


@pytest.mark.parametrize("table", ["board", "runs"])
def test_parameters_as_columns(page, table):
    """A switch shows the schedules' parameters as columns, which can be sorted."""
    section = page.locator("section", has=page.locator(f".{table}"))
    head = section.locator("th", has_text="step_size")
    before = head.is_visible()
    section.get_by_label("Parameters as columns").check()
    head.locator("button").click()
    at = 1 + page.locator(f".{table} th").all_text_contents().index("step_size")

    assert (before, head.is_visible()) == (False, True)
    assert column(page, f".{table}", at)[:: 1 if table == "board" else 2] == [
        str(10 * number) for number in range(1, 11)
    ]


def test_copying_as_markdown(page):
    """What is visible is copied, with its order and filter, and as text that is no markup."""
    page.evaluate(
        "void (navigator.clipboard.writeText = async (text) => { window.copied = text; })"
    )
    section = page.locator("section", has=page.locator(".board"))
    section.locator("input[type=search]").fill("onerror")
    section.get_by_text("Copy as Markdown").click()
    heads, rules, row = page.evaluate("window.copied").splitlines()

    assert heads.startswith("| \\# | schedule | final ± std | runs |")
    assert rules.startswith("| ---: | --- | ---: | ---: |")
    assert row.startswith(
        "| 4 | &lt;img src=x onerror='window.hit=1'&gt;\\|\\`\\*\\_a_b\\*\\`\\| |"
    )
    assert section.locator(".said").text_content() == "Copied 1 row"


def test_copying_by_hand(page):
    """Without a clipboard, the text is shown and selected, and goes away afterwards."""
    page.evaluate("void (navigator.clipboard.writeText = () => Promise.reject(new Error('no')))")
    page.locator(".copy-command").click()
    area = page.locator(".by-hand")
    chosen = area.evaluate("(area) => [area.value, area.selectionEnd - area.selectionStart]")
    said = page.locator(".command .said").text_content()
    area.blur()

    assert chosen == [COMMAND, len(COMMAND)]
    assert said == "Press Ctrl+C (⌘C) to copy"
    assert page.locator(".by-hand").count() == 0


def test_runs_of_a_local_store(page):
    """The command that serves the store is shown as text, and links say when they work."""
    link = page.locator(".runs a").first

    assert page.locator(".command code").all_text_contents() == [COMMAND]
    assert link.get_attribute("href") == "http://127.0.0.1:5000/#/experiments/1/runs/00"
    assert link.get_attribute("title") == "Works once the server above runs"


def test_rows_and_curves_light_each_other(page):
    """A row tells the curves which schedule and run it is, and lights when curves say so."""
    page.evaluate(LISTEN)
    page.locator(".board tbody tr").nth(1).hover()
    lit = page.locator("tr.lit").count()
    curves = page.locator("#panels .series.lit").evaluate_all("all => all.map((g) => g.dataset.s)")
    page.locator(".runs tbody tr").nth(4).hover()
    page.locator("h1").hover()
    told = page.evaluate("told")
    page.evaluate(
        "document.dispatchEvent(new CustomEvent('lrtrack:highlight', "
        "{detail: {schedule: 5, run: 11}}))"
    )

    assert lit == 4  # its rows in the leaderboard, the strip plot and the table of runs
    assert set(curves) == {"1"}
    assert {"schedule": 1, "run": None} in told
    assert {"schedule": 2, "run": 4} in told
    assert told[-1] is None
    assert page.locator(".runs tr.lit").get_attribute("data-run") == "11"
    assert page.locator(".board tr.lit").get_attribute("data-s") == "5"


def test_rows_with_the_keyboard(page):
    """One row can be reached by Tab, and the arrow keys move to the rows that are visible."""
    page.evaluate(LISTEN)
    section = page.locator("section", has=page.locator(".board"))
    section.locator("input[type=search]").fill("step")
    stops = section.locator("tbody tr[tabindex='0']").count()
    section.locator("tbody tr").first.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowUp"):
        page.keyboard.press(key)

    assert stops == 1
    assert page.evaluate("document.activeElement.dataset.s") == "2"
    assert page.evaluate("told.at(-1)") == {"schedule": 2, "run": None}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen(page, scheme):
    """On a phone, nothing sticks out, tables scroll in their own boxes, and heads stay in sight."""
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 390, "height": 844})
    width = page.evaluate("document.documentElement.scrollWidth")
    box = page.locator(".scroll.tall").last
    box.evaluate("(box) => { box.scrollTop = 200; }")
    same = box.evaluate(
        "(b) => b.querySelector('th').getBoundingClientRect().top === b.getBoundingClientRect().top"
    )
    page.set_viewport_size({"width": 1280, "height": 900})
    page.emulate_media(color_scheme="light")

    assert width <= 390
    assert same
