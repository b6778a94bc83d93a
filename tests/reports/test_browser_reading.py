"""What readers take from the HTML report's panels in a real browser: tips, words and files."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ET

from lrtrack.schedules import Schedule

SVG = "{http://www.w3.org/2000/svg}"


def test_words_for_those_who_do_not_see_the_panel(page):
    """Each picture is named by a sentence, and a table has the schedules' values."""
    picture = page.locator(".plot svg").nth(1)
    table = page.locator(".panel").nth(1).locator(".sr table")
    rows = [row.split("\n") for row in ["\n".join(line.locator("th, td").all_text_contents())
            for line in table.locator("tr").all()]]  # fmt: skip

    assert picture.get_attribute("role") == "img"
    assert picture.get_attribute("aria-label").startswith(
        "learning rate by step, mean over runs, 3 schedules, linear scale, step 0 to 1199. "
    )
    assert rows[0] == ["schedule", "first", "lowest", "highest", "last"]
    assert rows[2] == ["StepLR", "0.1", "0.01", "0.1", "0.01"]
    assert page.locator("#spoken").get_attribute("aria-live") == "polite"


def test_the_tip_lists_means_first(page):
    """The tip has each schedule's mean, then the single runs under the pointer."""
    page.locator("#runs").check()
    page.locator(".plot").first.scroll_into_view_if_needed()
    box = page.locator(".plot").first.bounding_box()
    place = page.locator(".series[data-s='1'] .run").first.evaluate(
        "(e) => { const at = e.getPointAtLength(e.getTotalLength() / 4); return [at.x, at.y]; }"
    )
    page.mouse.move(box["x"] + place[0], box["y"] + place[1])
    lines = page.locator("#tip > *").all_text_contents()
    at = lines.index("single runs")

    assert lines[0].startswith("step ")
    assert at == 4
    assert all("run " in line for line in lines[at + 1 :])
    assert [line.startswith("run") for line in lines[1:at]] == [False] * 3


def test_a_panel_as_svg(page):
    """The file is an SVG with the title, the legend and its own colours, and needs no style."""
    with page.expect_download() as download:
        page.get_by_label("save this panel as SVG").first.click()
    picture = ET.fromstring(download.value.path().read_text(encoding="utf-8"))
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    strokes = {line.get("stroke") for line in picture.iter(f"{SVG}path")}
    paper = picture.find(f"{SVG}rect")

    assert download.value.suggested_filename == "loss-by-step.svg"
    assert "loss" in texts
    assert "StepLR" in texts
    assert texts[-2:] == [
        "mean over runs, moving average over 12 steps",
        "bands: 95 % confidence interval of the mean",
    ]
    assert not [item for item in picture.iter() if item.get("class") or item.get("style")]
    assert len([stroke for stroke in strokes if stroke and stroke.startswith("rgb")]) >= 4
    assert paper is not None
    assert paper.get("fill") == page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_a_panel_as_csv(page):
    """The file has the points of each line that the panel shows, and no formula."""
    with page.expect_download() as download:
        page.get_by_label("save what this panel shows as CSV").nth(1).click()
    rows = list(csv.reader(io.StringIO(download.value.path().read_bytes().decode())))
    step = [row for row in rows if row[0] == "StepLR"]

    assert download.value.suggested_filename == "learning-rate-by-step.csv"
    assert rows[0] == ["schedule", "series", "run", "step", "learning rate"]
    assert step[0] == ["StepLR", "mean", "", "0", "0.1"]
    assert step[-1] == ["StepLR", "mean", "", "1199", "0.01"]


def test_a_name_that_is_a_formula(opened, run_of):
    """A schedule's name that a spreadsheet would compute is text in the CSV file."""
    page = opened(run_of(Schedule('=1+"a",2'), 0, loss=[1.0, 0.5]))
    with page.expect_download() as download:
        page.get_by_label("save what this panel shows as CSV").first.click()
    rows = list(csv.reader(io.StringIO(download.value.path().read_bytes().decode())))

    assert rows[1] == ['\'=1+"a",2', "mean", "", "0", "1"]


def test_tables_hear_what_stands_out(page):
    """The schedule that stands out is announced, so that tables can mark its row."""
    page.evaluate(
        """() => document.addEventListener('lrtrack:highlight', (event) => {
            document.body.dataset.light = JSON.stringify(event.detail); })"""
    )
    page.locator(".key").nth(1).focus()

    assert page.locator("body").get_attribute("data-light") == '{"schedule":1,"run":null}'


def test_a_run_of_the_table_stands_out_in_the_curves(page):
    """A row of the table of runs under the pointer draws that run in each panel that has it."""
    row = page.locator("tr[data-run='2']").first
    row.scroll_into_view_if_needed()
    row.hover()
    drawn = page.locator("#panels .picked").count()
    page.mouse.move(1, 1)

    assert drawn == 3
    assert page.locator("#panels .picked").count() == 0
