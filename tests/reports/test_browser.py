"""The HTML report in a real browser."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from lrtrack.reports.document import Document
from lrtrack.reports.html import render
from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories

#: The name of the report's first schedule, as `report` in conftest.py has it.
NASTY = (
    "<script>window.hit=1</script></script><img src=x onerror='window.hit=2'><b>bold</b> %{y} $x$"
)


def in_panels(page: Any) -> list[list[str]]:
    """For each panel the schedules whose means it shows, in the legend's order."""
    return page.evaluate(
        """() => [...document.querySelectorAll('#panels > .panel')].map((panel) =>
            [...new Set([...panel.querySelectorAll('.series:has(.mean)')]
                .map((group) => group.dataset.s))].sort())"""
    )


def words(page: Any, panel: int) -> list[str]:
    """The text at the axes of a panel."""
    return page.locator(f".panel:nth-child({panel + 1}) .plot text").all_text_contents()


def titles(page: Any) -> list[str]:
    """The metrics that the panels show."""
    return page.evaluate(
        """() => [...document.querySelectorAll('.panel-head select')]
            .map((select) => select.selectedOptions[0].textContent)"""
    )


def test_opening(open_page):
    """All panels are drawn over one axis with every schedule; the time it takes is printed."""
    start = time.perf_counter()
    page = open_page()
    drawn = time.perf_counter() - start
    start = time.perf_counter()
    page.locator(".key").first.click()
    print(f"drawn {drawn:.2f} s after opening, a click took {time.perf_counter() - start:.2f} s")

    assert in_panels(page) == [["1", "2"]] * 4
    assert titles(page) == [
        "loss", "learning rate", "gradient norm", "share of runs that reached loss ≤ 0.15"
    ]  # fmt: skip
    assert [words(page, at)[-1] for at in range(4)] == ["step"] * 4


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
    box = page.locator(".plot").first.bounding_box()
    page.locator("#panels").scroll_into_view_if_needed()
    tips = ""
    for x in range(100, 1100, 100):
        page.mouse.move(box["x"] + x, page.locator(".plot").first.bounding_box()["y"] + 60)
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
    found = [page.locator(f".panel:nth-child({at}) .mean").bounding_box() for at in (1, 2)]
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
