"""The controls of the HTML report's curves in a real browser, wide and narrow, light and dark."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lrtrack.schedules import Schedule

#: The beginning of the first schedule's name, as `report` in conftest.py has it.
NASTY = "<script>window.hit=1</script>"

DRAWN = """() => [...document.querySelectorAll('.panel')].map((panel) => ({
    metric: panel.querySelector('.panel-head select').selectedOptions[0].textContent,
    schedules: [...new Set([...panel.querySelectorAll('.series:has(.mean)')]
        .map((group) => Number(group.dataset.s)))].sort(),
    labels: [...panel.querySelectorAll('.plot text')].map((text) => text.textContent),
    places: [...panel.querySelectorAll('.grid text[text-anchor=middle]')]
        .map((text) => text.textContent),
    means: [...panel.querySelectorAll('.mean')].map((line) => line.getAttribute('d')),
    runs: panel.querySelectorAll('.run').length, bands: panel.querySelectorAll('.band').length,
    log: panel.querySelector('.own [aria-pressed]').getAttribute('aria-pressed') === 'true',
}))"""


def panels(page: Any) -> list[dict[str, Any]]:
    """What each panel shows."""
    return page.evaluate(DRAWN)


def steps(panel: dict[str, Any]) -> list[float]:
    """The labels of a panel's x axis."""
    return [float(label.replace(",", "")) for label in panel["places"]]


def drag(page: Any, panel: int, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drags the mouse between two places of a panel, given as shares of its width and height."""
    plot = page.locator(".plot").nth(panel)
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, end)]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1])
    page.mouse.up()


def test_legend_and_buttons_choose_the_schedules_of_all_panels(page):
    """A click hides a schedule and one more shows it; None and All do so for every schedule."""
    key = page.locator(".key").nth(1)
    key.click()
    without = panels(page)
    pressed = key.get_attribute("aria-pressed")
    page.locator("#none").click()
    none = panels(page)
    page.locator("#all").click()

    assert [panel["schedules"] for panel in without] == [[0, 2]] * 4
    assert pressed == "false"
    assert [panel["schedules"] for panel in none] == [[]] * 4
    assert none[0]["labels"][-1] == "no schedule is selected"
    assert [panel["schedules"] for panel in panels(page)] == [[0, 1, 2]] * 4


def test_a_schedule_alone_is_drawn_at_full_strength(page):
    """A double click shows a schedule alone, not dimmed under the pointer; one more shows all."""
    key = page.locator(".key").nth(2)
    key.dblclick()
    opacity = page.locator(".series[data-s='2']").first.evaluate(
        "(e) => getComputedStyle(e).opacity"
    )
    alone = [panel["schedules"] for panel in panels(page)]
    page.locator(".key").nth(2).dblclick()

    assert alone == [[2]] * 4
    assert opacity == "1"
    assert [panel["schedules"] for panel in panels(page)] == [[0, 1, 2]] * 4


def test_the_legend_by_keyboard(page):
    """Enter on a schedule hides it, and Shift+Enter shows it alone."""
    page.locator(".key").nth(1).press("Enter")
    hidden = panels(page)[0]["schedules"]
    page.locator(".key").nth(2).press("Shift+Enter")

    assert (hidden, panels(page)[0]["schedules"]) == ([0, 2], [2])


def test_what_stands_out_does_so_after_a_redraw(page):
    """The schedule of the focused key stands out from the others, also once a control changed."""
    page.locator(".key").nth(1).focus()
    page.locator("#smooth").evaluate("(e) => { e.value = 3; e.dispatchEvent(new Event('input')); }")
    strengths = page.evaluate(
        """() => [0, 1, 2].map((s) => getComputedStyle(
            document.querySelector(`.series[data-s="${s}"]`)).opacity)"""
    )

    assert strengths == ["0.15", "1", "0.15"]


def test_single_runs_on_demand(page):
    """Means with bands at first; the switch adds one path of the runs for each schedule."""
    before = panels(page)
    page.locator("#runs").check()
    after = panels(page)

    assert [(panel["runs"], panel["bands"]) for panel in before] == [(0, 2), (0, 0), (0, 2), (0, 0)]
    assert [panel["runs"] for panel in after] == [3, 0, 3, 0]


@pytest.mark.parametrize(
    ("axis", "title", "last"),
    [("seconds", "seconds since the first step", 599.5), ("epoch", "epoch", 11.99)],
)
def test_the_axis_switches(page, axis, title, last):
    """Steps become seconds or epochs in all panels, over the range of the runs."""
    page.get_by_text(axis, exact=True).first.click()

    for panel in panels(page):
        assert panel["labels"][-1] == title
        assert last * 0.6 < max(steps(panel)) <= last
        assert panel["schedules"] == [0, 1, 2]


def test_scales(page):
    """The x scale is that of all panels, and each panel has its own y scale."""
    page.locator("input[name=x-scale][value=log]").check(force=True)
    page.locator(".panel").nth(0).get_by_text("log", exact=True).click()
    shown = panels(page)

    assert [panel["log"] for panel in shown] == [True, False, False, False]
    assert {"1", "10", "100", "1000", "step (log)"} <= set(shown[1]["labels"])
    page.locator(".panel").nth(2).get_by_text("log", exact=True).click()
    assert [panel["log"] for panel in panels(page)] == [True, False, True, False]


def test_smoothing(page):
    """Smoothing changes the means of losses and norms, not the rate, and names its window."""
    before = panels(page)
    window = page.locator("#smooth-value").text_content()
    page.locator("#smooth").fill("5")
    after = panels(page)
    wider = page.locator("#smooth-value").text_content()
    page.get_by_text("seconds", exact=True).first.click()

    changed = [old["means"] != new["means"] for old, new in zip(before, after, strict=True)]
    assert (window, wider) == ("1 % = 12 steps", "5 % = 60 steps")
    assert changed == [True, False, True, False]
    assert page.locator("#smooth-value").text_content() == "5 % = 60 steps"


def test_zoom_along_one_axis_or_both(page):
    """A flat drag zooms all panels in x, an upright one its own in y, a slanting one both."""
    whole = panels(page)
    drag(page, 1, (0.4, 0.5), (0.7, 0.5))
    along_x = panels(page)
    page.locator("#unzoom").click()
    unzoomed = panels(page)
    drag(page, 2, (0.5, 0.3), (0.5, 0.6))
    along_y = panels(page)
    page.locator(".plot").nth(2).dblclick()
    doubled = panels(page)
    drag(page, 0, (0.4, 0.3), (0.7, 0.6))
    both = panels(page)

    assert unzoomed == doubled == whole
    assert all(200 < step < 1000 for panel in along_x for step in steps(panel))
    assert [old["labels"] == new["labels"] for old, new in zip(whole, along_y, strict=True)] == [
        True, True, False, True
    ]  # fmt: skip
    assert both[0]["labels"] != whole[0]["labels"]
    assert all(200 < step < 1000 for panel in both for step in steps(panel))


def test_two_fingers_zoom_and_one_scrolls(open_page):
    """Two fingers that part zoom without a scroll of the page; the panel leaves one to it."""
    page = open_page(viewport={"width": 390, "height": 900}, has_touch=True, is_mobile=True)
    plot = page.locator(".plot").first
    plot.scroll_into_view_if_needed()
    box, scrolled = plot.bounding_box(), page.evaluate("scrollY")
    middle, height = box["x"] + 0.6 * box["width"], box["y"] + 0.5 * box["height"]
    touch = page.context.new_cdp_session(page)
    for kind, apart in (("Start", 30), ("Move", 60), ("Move", 90), ("End", 0)):
        fingers = [{"x": middle + side * apart, "y": height, "id": side + 1} for side in (-1, 1)]
        points = fingers if kind != "End" else []
        touch.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})
    zoomed = panels(page)[0]

    assert page.evaluate("[scrollY, visualViewport.scale]") == [scrolled, 1]
    assert all(150 < step < 1100 for step in steps(zoomed))
    assert plot.evaluate("(e) => getComputedStyle(e).touchAction") == "pan-y"
    page.locator("#unzoom").click()
    page.touchscreen.tap(middle, plot.bounding_box()["y"] + 100)
    assert page.locator("#tip").is_visible()


def test_panels_change_their_metric_and_are_added_and_removed(page):
    """A panel can show each recorded metric; more panels can be added, and each removed."""
    first = page.locator(".panel-head select").first
    metrics = first.locator("option").all_text_contents()
    first.select_option(label="accuracy")
    changed = panels(page)
    page.locator("#add").select_option(label="momentum")
    added = panels(page)
    page.get_by_label("remove this panel").first.click()

    assert metrics == [
        "loss", "learning rate", "gradient norm", "share of runs that reached loss ≤ 0.15",
        "accuracy", "momentum",
    ]  # fmt: skip
    assert (changed[0]["metric"], changed[0]["schedules"]) == ("accuracy", [0, 1, 2])
    assert (len(added), added[4]["metric"]) == (5, "momentum")
    assert [panel["metric"] for panel in panels(page)] == [panel["metric"] for panel in added[1:]]


def test_the_keyboard_alone(page):
    """Arrow keys move a cursor whose values are read out, + zooms and Escape resets."""
    plot = page.locator(".plot").first
    plot.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowDown")
    said = page.locator("#spoken").text_content()
    visible = page.locator("#tip").is_visible()
    page.keyboard.press("+")
    zoomed = steps(panels(page)[0])
    page.keyboard.press("Escape")

    assert said.startswith("step 132: StepLR ")
    assert NASTY in said
    assert visible
    assert max(zoomed) < 1000
    assert max(steps(panels(page)[0])) >= 1000
    assert page.locator("#tip").is_hidden()


def test_each_panel_chooses_its_scale(opened, run_of):
    """One rate of 30 makes its panel logarithmic, and a run away is beyond a linear scale."""
    falling = np.linspace(1.0, 0.0, 200)
    runs = [
        run_of(Schedule("ok", {"k": k}), 0, loss=2.0 + falling, lr=0.1 * falling + 0.01 * k,
               score=np.linspace(-1.0, 1.0 + k / 10, 200))
        for k in range(3)
    ]  # fmt: skip
    away = np.linspace(-1.0, 900.0, 200)
    runs.append(run_of(Schedule("wild"), 0, loss=3.0 + falling, lr=30 * falling, score=away))
    page = opened(*runs)
    page.locator("#add").select_option(label="score")
    chosen = panels(page)
    score = page.locator(".panel").nth(2)
    marks, button = score.locator(".leaves").count(), score.locator(".own button").first
    words = button.text_content()
    button.click()
    whole = panels(page)[2]["labels"]
    button.click()
    page.locator(".key", has_text="wild").dblclick()
    alone = panels(page)[2]["labels"]

    assert [(panel["metric"], panel["log"]) for panel in chosen] == [
        ("loss", False), ("learning rate", True), ("score", False)
    ]  # fmt: skip
    assert (marks, words) == (1, "↑ 900")
    assert "2" in chosen[2]["labels"] or "1" in chosen[2]["labels"]
    assert "800" not in chosen[2]["labels"]
    assert "800" in whole
    assert "800" in alone


def test_a_schedule_with_one_run_shows_its_run(opened, run_of):
    """Behind the smoothed line of a single run are its values, and there is no switch for runs."""
    rng = np.random.default_rng(0)
    page = opened(run_of(Schedule("constant"), 0, loss=2.0 + rng.random(300)))

    assert panels(page)[0]["runs"] == 1
    assert page.locator("#runs").is_hidden()
