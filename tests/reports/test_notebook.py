"""The HTML fragment for notebooks, in a real browser."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lrtrack.reports import notebook
from lrtrack.reports.report import report_of
from lrtrack.reports.table import Cell, Column, Report, Tone
from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories

HOSTILE = (
    "<script>window.hit = 1</script>",
    "<img src=x onerror='window.hit = 1'>",
    '" onmouseover="window.hit = 1',
    "</td></table><b>bold</b>",
    "&lt;b&gt; {{x}} ${x} 学习率 " + "n" * 150,
)


def page_with(browser: Any, fragment: str) -> Any:
    """A page with the fragment in a cell, as in a notebook."""
    page = browser.new_page(viewport={"width": 700, "height": 600})
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("request", lambda request: page.errors.append(request.url))
    page.set_content(f"<!doctype html><body><div class='cell'>{fragment}</div><i id='end'></i>")
    return page


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(browser, add, histories, name):
    """A hostile schedule name is shown literally, creates no element and runs no script."""
    add(Schedule(name, {"of": name}), [1.0, 0.5], seed=0)
    add(Schedule("constant"), [1.0, 0.6], seed=0)
    report = report_of(compare_histories(histories(), experiment=name, metric="loss"))
    page = page_with(browser, notebook.render(report))
    cell = page.locator("tbody td").nth(1)
    cell.hover()

    assert cell.text_content() == name
    assert cell.get_attribute("title") == report.rows[0][1].text
    assert page.evaluate("window.hit") is None
    assert page.locator("script, img, b").count() == 0
    assert page.locator("table").count() == 1
    assert page.evaluate("document.querySelector('#end').parentNode === document.body")
    assert page.errors == []


def test_all_of_the_report_is_shown(browser, comparison):
    """Headline, rows, cells and warnings are visible, notes unfold, and nothing exceeds the
    cell.
    """
    report = report_of(comparison)
    page = page_with(browser, notebook.render(report))
    cells = [cell.short or cell.text for row in report.rows for cell in row]
    whole = [cell.text for row in report.rows for cell in row if cell.short not in ("", cell.text)]

    assert page.locator("p").all_text_contents() == [report.title, report.headline]
    assert page.locator("th").all_text_contents() == [column.title for column in report.columns]
    assert page.locator("td").all_text_contents() == cells
    assert [each.get_attribute("title") for each in page.locator("td[title]").all()] == whole
    assert page.locator("details[open] li").all_text_contents() == [
        *report.warnings, *report.diagnoses
    ]  # fmt: skip
    assert page.locator("details:not([open]) li").all_text_contents() == list(report.footnotes)
    assert page.evaluate("document.documentElement.scrollWidth") <= 700


def test_diagnoses_are_shown():
    """Diagnoses have their own heading, which is missing without any."""
    plain = Report("t", "h", (Column("a", Cell),), ((Cell("x", tone=Tone.BAD),),))
    told = notebook.render(replace(plain, diagnoses=("LR001: <never> stepped",)))

    assert "Diagnoses" not in notebook.render(plain)
    assert "<summary>Diagnoses (1)</summary>" in told
    assert "LR001: &lt;never&gt; stepped" in told


def test_it_is_small(comparison):
    """The fragment is a few kilobytes without a script, because it is saved in the notebook."""
    fragment = notebook.render(report_of(comparison))

    assert len(fragment) < 20_000
    assert "<script" not in fragment
