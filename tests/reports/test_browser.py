"""The HTML report in a real browser."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrtrack.reports.document import Document
from lrtrack.reports.html import render
from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories

NASTY = (
    "<script>window.hit=1</script></script><img src=x onerror='window.hit=2'><b>bold</b> %{y} $x$"
)
NAMES = (NASTY, "StepLR", "学习率" * 60)

OpenPage = Callable[..., Any]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, run_of: Any) -> Path:
    """A report on three schedules with two seeds; one run diverged, two reached the target."""
    rng = np.random.default_rng(0)
    histories = []
    for index, name in enumerate(NAMES):
        for seed in range(2):
            loss = np.geomspace(3.0, 0.1 + 0.1 * index, 1200) + 0.01 * rng.random(1200)
            loss[600:] = np.nan if (index, seed) == (2, 1) else loss[600:]
            histories.append(run_of(
                Schedule(name), seed, name=f"{name}-{seed}", url="http://127.0.0.1:9/run",
                config={"steps_per_epoch": 100}, pace=0.5, loss=loss,
                lr=np.linspace(0.1, 0.01 * index, 1200), grad_norm=1 + rng.random(1200),
            ))  # fmt: skip
    comparison = compare_histories(histories, experiment=NASTY, metric="loss", target=0.15)
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(render(Document(comparison)), encoding="utf-8")
    return path


@pytest.fixture
def open_page(browser: Any, report: Path) -> Iterator[OpenPage]:
    """Opens the report; afterwards there must be no error and no request but the page itself."""
    context = None
    said: list[str] = []

    def start(**options: Any) -> Any:
        nonlocal context
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url))
        page.goto(report.as_uri())
        page.wait_for_selector("body[data-drawn]")  # no function: the page forbids eval
        return page

    yield start
    if context is not None:
        context.close()
    assert said == [report.as_uri()]


def in_panels(page: Any) -> list[list[str]]:
    """For each panel the schedules whose means it shows, in the legend's order."""
    return page.evaluate(
        """() => [...document.querySelectorAll('#panels > div')].map((panel) =>
            [...new Set([...panel.querySelectorAll('.series:has(.mean)')]
                .map((group) => group.dataset.s))].sort())"""
    )


def words(page: Any, panel: int) -> list[str]:
    """The text at the axes of a panel."""
    return page.locator(f"#panels > div:nth-child({panel + 1}) text").all_text_contents()


def test_opening(open_page):
    """All panels are drawn over one axis with every schedule; the time it takes is printed."""
    start = time.perf_counter()
    page = open_page()
    drawn = time.perf_counter() - start
    start = time.perf_counter()
    page.locator(".key").first.click()
    print(f"drawn {drawn:.2f} s after opening, a click took {time.perf_counter() - start:.2f} s")

    assert in_panels(page) == [["1", "2"]] * 4
    assert [words(page, at)[-1] for at in (0, 1, 2)] == [
        "loss",
        "learning rate",
        "gradient norm",
    ]
    assert words(page, 3)[-2:] == ["share of runs that reached loss ≤ 0.15", "step"]


def test_the_legend_switches_all_panels(open_page):
    """A click hides a schedule in each panel and a second click shows it; the buttons work too."""
    page = open_page()
    key = page.locator(".key").nth(1)
    seen = [in_panels(page)]
    key.click()
    seen.append(in_panels(page))
    pressed = key.get_attribute("aria-pressed")
    page.wait_for_timeout(600)  # two clicks in a row would be a double click
    key.click()
    for name in ("None", "All"):
        seen.append(in_panels(page))
        page.get_by_role("button", name=name, exact=True).click()
    page.locator(".key").nth(0).dblclick()

    assert seen == [[["0", "1", "2"]] * 4, [["0", "2"]] * 4, [["0", "1", "2"]] * 4, [[]] * 4]
    assert pressed == "false"
    assert in_panels(page) == [["0"]] * 4


@pytest.mark.parametrize(
    ("axis", "title", "last"),
    [("seconds", "seconds since the first step", 599.5), ("epoch", "epoch", 11.99)],
)
def test_the_axis_switches(open_page, axis, title, last):
    """Steps become seconds or epochs in all panels, over the range of the runs."""
    page = open_page()
    page.get_by_text(axis, exact=True).first.click()
    labels = [
        float(text.replace(",", ""))
        for text in words(page, 3)
        if text[0].isdigit() and "%" not in text
    ]

    assert words(page, 3)[-1] == title
    assert last * 0.75 < max(labels) <= last
    assert in_panels(page) == [["0", "1", "2"]] * 4


def test_scales_switch(open_page):
    """Both axes can be linear or logarithmic."""
    page = open_page()
    page.locator("input[name=y-scale][value=linear]").check(force=True)
    linear = words(page, 0)
    page.locator("input[name=y-scale][value=log]").check(force=True)
    page.locator("input[name=x-scale][value=log]").check(force=True)

    assert (linear[-1], words(page, 0)[-1]) == ("loss", "loss (log)")
    assert words(page, 3)[-1] == "step (log)"
    assert {"1", "10", "100", "1000"} <= set(words(page, 3))
    assert in_panels(page)[:3] == [["0", "1", "2"]] * 3


def test_smoothing(open_page):
    """Smoothing changes the means of losses, but neither single runs nor the learning rate."""
    page = open_page()

    def paths(kind: str) -> list[list[str]]:
        return [
            [item.get_attribute("d") for item in panel.locator(kind).all()]
            for panel in page.locator("#panels > div").all()[:3]
        ]

    page.locator("input[name=y-scale][value=log]").check(force=True)
    means, runs = paths(".mean"), paths(".run")
    page.locator("#smooth").fill("5")
    smooth = paths(".mean")

    assert page.locator("#smooth-value").text_content() == "5 %"
    assert [old == new for old, new in zip(means, smooth, strict=True)] == [False, True, False]
    assert [path.count("L") for path in paths(".run")[0]] == [path.count("L") for path in runs[0]]


def test_zooming(open_page):
    """Dragging across one panel zooms all; the button shows the whole range again."""
    page = open_page()
    page.locator("#panels").scroll_into_view_if_needed()
    box = page.locator("#panels > div").first.bounding_box()
    whole = words(page, 3)
    page.mouse.move(box["x"] + 300, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 500, box["y"] + 100)
    page.mouse.up()
    zoomed = [int(text) for text in words(page, 3) if text.isdigit()]
    page.get_by_text("Whole range").click()

    assert 0 < min(zoomed) < max(zoomed) < 600
    assert words(page, 3) == whole


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_themes(open_page, scheme):
    """The page starts in the system's theme and a click switches it; lines change colour too."""
    page = open_page(color_scheme=scheme)

    def look() -> tuple[str, str]:
        return tuple(page.evaluate(
            """() => [getComputedStyle(document.body).backgroundColor,
                getComputedStyle(document.querySelector('.mean')).stroke]"""
        ))  # fmt: skip

    first = look()
    page.locator("#theme").click()
    other = look()
    papers = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}

    assert first[0] == papers[scheme]
    assert other[0] == papers["dark" if scheme == "light" else "light"]
    assert first[1] != other[1]


def test_hostile_names_stay_text(open_page):
    """Hostile names are shown as text everywhere, and no script in them runs."""
    page = open_page()
    box = page.locator("#panels > div").first.bounding_box()
    page.locator("#panels").scroll_into_view_if_needed()
    tips = ""
    for x in range(100, 1100, 100):
        page.mouse.move(box["x"] + x, page.locator("#panels > div").first.bounding_box()["y"] + 60)
        tips += page.locator("#tip").text_content()

    assert page.locator(".key").first.text_content() == NASTY
    assert page.locator("h1").text_content().startswith(NASTY[:40])
    assert page.title().startswith(NASTY)
    assert NASTY in tips
    assert page.locator(".runs a").first.text_content() == f"{NASTY}-0"
    assert page.evaluate("[window.hit, document.querySelectorAll('img, b b').length]") == [None, 0]


@pytest.mark.parametrize("width", [1280, 700])
def test_nothing_sticks_out(open_page, width):
    """The page is as wide as its window; wide tables scroll on their own."""
    page = open_page(viewport={"width": width, "height": 900})

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#panels svg").first.bounding_box()["width"] > 0.9 * (width - 60)
    assert page.locator("#smooth").is_visible()


def test_printing(open_page):
    """A printed page is white, has the curves and lacks the controls."""
    page = open_page(color_scheme="dark")
    page.emulate_media(media="print")

    assert not page.locator("#smooth").is_visible()
    assert page.locator("#panels svg").first.is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_the_page_of_a_single_step(browser, run_of, tmp_path):
    """One run with one step has a dot in each panel and whole steps on the axis."""
    comparison = compare_histories(
        [run_of(Schedule("constant"), 0, loss=[0.5], lr=[0.1])], experiment=None, metric="loss"
    )
    (tmp_path / "one.html").write_text(render(Document(comparison)), encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "one.html").as_uri())
    found = [page.locator(f"#panels > div:nth-child({at}) .mean").bounding_box() for at in (1, 2)]
    labels = words(page, 1)
    page.close()

    assert min(size for box in found for size in (box["width"], box["height"])) >= 5
    assert labels[0] == "0"


def test_a_metric_as_the_axis(browser, run_of, tmp_path):
    """The page opens over the metric, and switches to steps and back."""
    runs = [
        run_of(Schedule("constant"), seed, loss=np.geomspace(1.0, 0.1, 300),
               tokens=np.linspace(1e7, 3e9, 300) * (1 + seed / 10))
        for seed in range(2)
    ]  # fmt: skip
    runs.append(run_of(Schedule("StepLR"), 0, loss=np.geomspace(1.0, 0.2, 300)))
    comparison = compare_histories(runs, experiment=None, metric="loss", target=0.2, x="tokens")
    (tmp_path / "tokens.html").write_text(render(Document(comparison), axis="tokens"))
    page = browser.new_page()
    page.goto((tmp_path / "tokens.html").as_uri())
    shown = []
    for axis in (None, "step", "metric"):
        if axis is not None:
            page.locator(f"input[name=axis][value={axis}]").check(force=True)
        shown.append((in_panels(page), words(page, 1)))
    page.close()
    (over, labels), (by_step, steps), again = shown

    assert over == [["0"], ["0"]]
    assert {"0", "500 M", "1×10⁹", "3×10⁹", "tokens"} <= set(labels)
    assert by_step == [["0", "1"], ["0", "1"]]
    assert {"0", "100", "step"} <= set(steps)
    assert again == (over, labels)


def test_dots_are_titled(open_page):
    """Each dot of the final values has its run's name and value as a title."""
    page = open_page()
    titles = page.locator(".dot title").all_text_contents()
    finals = page.locator(".runs td:nth-child(6)").all_text_contents()

    assert len(titles) == 5
    assert titles[0] == f"{NASTY}-0: {finals[0]}"
