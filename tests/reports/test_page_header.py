"""The top of the page: the headline, the facts, and what is folded."""

from __future__ import annotations

from lrtrack.reports.html.header import alerts, facts, header
from lrtrack.reports.setup import COMMON, Fact
from lrtrack.reports.table import Report


def report(headline: str = "", warnings: tuple[str, ...] = (), diagnoses: tuple[str, ...] = ()):
    """A report with nothing but its text."""
    return Report("t", headline, (), (), warnings=warnings, diagnoses=diagnoses)


def test_the_first_clause_of_the_headline_stands_out():
    """The rest of the sentence is smaller, and the text is whole and escaped."""
    assert "<h1>A is best; <span>B &amp; C; D.</span></h1>" in header(
        report("A is best; B & C; D.")
    )
    assert "<h1>A is best.</h1>" in header(report("A is best."))


def test_facts_are_listed_and_folded():
    """Settings are listed one by one, those that few readers want behind a click."""
    assert facts(()) == ""
    assert facts((Fact("runs", ("3", "1 <diverged>")),)) == (
        '<dl class="facts"><div><dt>runs</dt><dd>3, 1 &lt;diverged&gt;</dd></div></dl>'
    )
    assert facts((Fact(COMMON, ("a 1", "b 2"), ("c 3", "d 4")),)) == (
        '<dl class="facts"><div class="wide"><dt>common setup</dt><dd><span>a 1</span> '
        "<span>b 2</span><details><summary>2 more</summary><span>c 3</span> <span>d 4</span>"
        "</details></dd></div></dl>"
    )


def test_two_warnings_are_shown_and_more_are_folded():
    """A folded list names its codes and how often each is there; the line `… more` has none."""
    two = ("a: <x>", "b: y")
    many = ("LR001 in 3 runs: x", "LR001 in 1 run: y", "LR006 in 1 run: z", "… and 3 more")

    assert alerts(report()) == ""
    assert alerts(report(warnings=two)) == (
        '<div class="alerts"><ul><li>a: &lt;x&gt;</li><li>b: y</li></ul></div>'
    )
    assert alerts(report(diagnoses=many)).startswith(
        '<details class="alerts found"><summary><b>Diagnoses:</b> LR001 ×2, LR006</summary><ul>'
    )
