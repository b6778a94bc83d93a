"""The HTML report as a file: its content, and the escaping of text from trackers."""

from __future__ import annotations

import html.parser
import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lrtrack.errors import UsageError
from lrtrack.reports.document import Document
from lrtrack.reports.formatting import number
from lrtrack.reports.html import render
from lrtrack.reports.html.runs import linked
from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories

CONSTANT, STEP = Schedule("constant"), Schedule("StepLR", {"step_size": 30})
NASTY = "<script>hit()</script></script><img src=x onerror=hit()>\u2028<!-- & \"quoted\" 'too'"


class Page(html.parser.HTMLParser):
    """The tags, attributes and text of a page, and the numbers that its script draws."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        found = re.search(r'id="data">\s*(.*?)\s*</script>', text, re.S)
        assert found is not None
        self.raw = json.loads(found[1], parse_constant=pytest.fail)
        self.data = self.resolved(self.raw)

    def resolved(self, item: Any) -> Any:
        """The data with the arrays that it refers to by index."""
        if isinstance(item, list):
            return [self.resolved(part) for part in item]
        if not isinstance(item, dict):
            return item
        arrays = {"x", "y", "sx", "sy", "low", "high", "slow", "shigh"}
        return {
            key: self.raw["arrays"][value] if key in arrays else self.resolved(value)
            for key, value in item.items()
        }

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all tags with this name."""
        return [attributes for name, attributes in self.tags if name == tag]


def page_of(*histories, axis="step", metric="loss", **options) -> Page:
    """The page about some runs."""
    comparison = compare_histories(list(histories), experiment="e", metric=metric, **options)
    return Page(render(Document(comparison), axis=axis))


def panel(page: Page, title: str) -> dict:
    """The data of the panel whose title begins with `title`."""
    return next(item for item in page.data["panels"] if item["title"].startswith(title))


def test_all_parts_are_there(comparison):
    """The page has headline, leaderboard, curves, strip plot, runs and computation notes."""
    text = render(Document(comparison))
    page = Page(text)
    words = " ".join(page.words)

    assert text.startswith("<!doctype html>")
    for part in ("Leaderboard", "Curves", "Final values", "Runs", "How it was computed"):
        assert any(item.startswith(part) for item in page.words)
    assert "constant has the lowest final loss" in words
    assert [item["title"] for item in page.data["panels"]] == [
        "loss", "learning rate", "gradient norm", "share of runs that reached loss ≤ 0.3"
    ]  # fmt: skip
    assert sum(item.get("class") == "dot" for item in page.named("circle")) == 16
    assert sum(item.get("class") == "effect" for item in page.named("line")) == 5
    assert text.count('<td class="id">') == 18


def test_nothing_is_loaded_and_nothing_else_can_run(comparison):
    """The page loads no other file, and its policy allows only its own script and style by
    digest.
    """
    page = Page(render(Document(comparison)))
    policy = page.named("meta")[1]["content"] or ""

    assert not [found for tag, found in page.tags if {"src", "href", "style"} & set(found)]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert policy.count("sha256-") == 2
    assert [item.get("type") for item in page.named("script")] == ["application/json", None]


def test_text_from_trackers_is_only_text(run_of):
    """Names, metrics and experiments that look like HTML do not change the page's tags."""

    def tags(text: str) -> list[str]:
        page = page_of(
            run_of(Schedule(f"{text}LR"), 0, name=text, url=text, **{text: [1.0, 0.5]}),
            run_of(CONSTANT, 0, **{text: [1.0, 0.5]}),
            metric=text,
        )
        return [tag for tag, _ in page.tags if tag != "wbr"]

    assert tags(NASTY) == tags("plain")


def test_a_name_is_shown_as_it_is(run_of):
    """A name is escaped, not stripped; only characters that reorder or break lines are removed."""
    page = page_of(run_of(CONSTANT, 0, name=NASTY, loss=[1.0]))

    shown = NASTY.replace("\u2028", " ")
    assert page.words.count(shown) == 1


@pytest.mark.parametrize(
    ("url", "href"),
    [
        ("https://host/a?b=1&c=2", "https://host/a?b=1&amp;c=2"),
        ("http://me:secret@host/", "http://host/"),
        ("javascript:alert(1)", None),
        (" javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("file:///etc/passwd", None),
        ("//host/x", None),
        ("https://[bad", None),
        ("https://", None),
        ('https://h/"><script>', "https://h/&quot;&gt;&lt;script&gt;"),
        (None, None),
    ],
)
def test_only_web_addresses_are_links(url, href):
    """Only web addresses become links, without credentials and without a referrer."""
    found = linked("<run>", url)

    assert found.endswith("&lt;run&gt;</a>" if href else "&lt;run&gt;")
    assert (f'<a href="{href}" target="_blank" rel="noopener noreferrer">' in found) == bool(href)


def test_the_numbers_of_a_short_run_are_all_there(run_of):
    """Steps are stored as distances, values with five digits, gaps as null."""
    page = page_of(
        run_of(CONSTANT, 0, loss=[1.0, 0.123456, 2.0], steps=[0, 5, 7], lr=[0.1] * 3),
        run_of(CONSTANT, 1, loss=[3.0, 0.1, float("nan")], steps=[0, 5, 7], lr=[0.1] * 3),
    )
    loss, rate = (panel(page, title)["series"][0] for title in ("loss", "learning rate"))

    assert (loss["x"], loss["y"], loss["of"]) == ([0, 5, 2], [1.0, 0.12346, 2.0], [0])
    assert loss["runs"][1] == {"run": 1, "x": [0, 5, 2], "y": [3.0, 0.1, None]}
    assert loss["ends"] == [{"run": 1, "step": 5, "value": 0.1}]
    assert (rate["y"], "runs" in rate, "band" in rate) == ([0.1] * 3, False, False)


def test_numbers_and_names_of_runs_enter_the_page_once(run_of):
    """No number array, run name or final value of a run is in the page twice."""
    losses = [np.linspace(1.0, 0.2 + seed / 7, 40) for seed in range(3)]
    losses[2][30:] = np.nan
    runs = [
        run_of(schedule, seed, name=f"only-{index}-{seed}", loss=loss + index, lr=[0.1] * 40,
               grad_norm=[1.0] * 40)
        for index, schedule in enumerate((CONSTANT, STEP))
        for seed, loss in enumerate(losses)
    ]  # fmt: skip
    comparison = compare_histories(runs, experiment="e", metric="loss", target=0.3)
    text = render(Document(comparison))
    arrays = [tuple(array) for array in Page(text).raw["arrays"]]
    finals = [number(run.final) for run in comparison.runs if run.final is not None]

    assert len(set(arrays)) == len(arrays)
    assert [text.count(run.run.name) for run in runs] == [1] * 6
    assert [text.count(f">{final}<") for final in finals] == [1] * len(finals)


def test_the_profile_counts_runs_that_reached_the_target(run_of):
    """The profile has the step at which each run reached the target, and the last step of all."""
    runs = [run_of(CONSTANT, seed, loss=[1.0, 0.5, 0.1 + seed]) for seed in range(2)]
    some = panel(page_of(*runs, target=0.2), "share")["series"]
    none = panel(page_of(*runs, target=0.01), "share")["series"]

    assert some == [{"of": [0, 1], "reached": [[0, 2]], "last": 2}]
    assert none[0]["reached"] == []


def test_the_size_for_100_long_runs(run_of):
    """A report on 100 runs of 10,000 steps is small, and has every spike."""
    rng = np.random.default_rng(0)
    steps, runs = 10_000, []
    for index in range(100):
        loss = 2 * np.exp(-np.arange(steps) / 2000) + 0.1 + 0.05 * rng.random(steps)
        loss[9000 - index] = 700 + index
        rates = np.linspace(0.1, 0, steps)
        schedule = Schedule("StepLR", {"step_size": index // 10})
        norms = 1 + rng.random(steps)
        runs.append(run_of(schedule, index, loss=loss, lr=rates, grad_norm=norms))
    comparison = compare_histories(runs, experiment="e", metric="loss")
    text = render(Document(comparison))
    lines = [run for item in panel(Page(text), "loss")["series"] for run in item["runs"]]
    found = {
        (sum(run["x"][: run["y"].index(value) + 1]), value)
        for run in lines
        for value in run["y"]
        if value >= 700
    }

    assert len(text.encode()) < 2_500_000
    assert found == {(9000 - index, 700.0 + index) for index in range(100)}


def test_of_a_crowd_the_best_are_switched_on(run_of):
    """Of 60 schedules, all are in the legend and 12 are drawn at first."""
    page = page_of(*(
        run_of(Schedule("学习率" * 66, {"k": index}), 0, loss=[1.0 + index]) for index in range(60)
    ))  # fmt: skip
    on = [index for index, item in enumerate(page.data["schedules"]) if item["on"]]

    assert on == list(range(12))
    assert sum(item.get("class") == "key" for item in page.named("button")) == 60


def test_an_epoch_axis_only_where_there_are_epochs(run_of):
    """Without epochs, the switch is disabled, the page says why, and the axis is an error."""
    known = page_of(run_of(CONSTANT, 0, loss=[1.0], config={"steps_per_epoch": 2}), axis="epoch")
    unknown = page_of(run_of(CONSTANT, 0, loss=[1.0]))

    assert known.data["axis"] == "epoch"
    assert [item["value"] for item in unknown.named("input") if "disabled" in item] == ["epoch"]
    assert any("There is no epoch axis" in words for words in unknown.words)
    with pytest.raises(UsageError, match="There is no epoch axis"):
        page_of(run_of(CONSTANT, 0, loss=[1.0]), axis="epoch")


def test_a_metric_as_the_axis(run_of):
    """The page has the curves over the metric beside those over steps, in whole units."""
    nasty = "<b>constructor"
    page = page_of(
        run_of(CONSTANT, 0, loss=[1.0, 0.5], lr=[0.1, 0.1], **{nasty: [5e9, 2.5e10]}),
        run_of(CONSTANT, 1, loss=[1.0, 0.7], lr=[0.1, 0.1], **{nasty: [5e9, 2.0e10]}),
        run_of(STEP, 0, loss=[2.0, 1.0], lr=[0.1, 0.1]),
        axis=nasty, x=nasty, target=0.5,
    )  # fmt: skip
    over = page.data["over"]
    loss, rate, profile, _total = over["panels"]

    assert (page.data["axis"], over["axis"], over["unit"]) == ("metric", "metric", 10_000.0)
    assert page.data["axes"]["metric"] == nasty
    assert loss["series"][0]["x"] == [500_000, 1_500_000, 500_000]
    assert loss["series"][0]["y"] == [1.0, 0.6625, None]
    assert [item["run"] for item in loss["series"][0]["runs"]] == [0, 1]
    assert [panel["series"][1] for panel in over["panels"]] == [None] * 4
    assert profile["series"][0] == {"of": [0, 1], "reached": [[0, 2_500_000]], "last": 2_500_000}
    assert [panel["title"] for panel in page.data["panels"]] == [
        panel["title"] for panel in over["panels"]
    ]
    assert rate["title"] == "learning rate"
    assert next(item["value"] for item in page.named("input") if "checked" in item) == "metric"
    assert any("means are over the runs at equal <b>constructor." in text for text in page.words)


def test_another_axis_than_that_of_the_comparison_is_an_error(run_of):
    """A document can be drawn over steps, seconds and its own axis alone."""
    with pytest.raises(UsageError, match="There is no x axis 'tokens'"):
        page_of(run_of(CONSTANT, 0, loss=[1.0, 0.5], tokens=[1.0, 2.0]), axis="tokens")


def test_diagnoses_and_warnings_stand_at_the_top(run_of):
    """Diagnoses and warnings are shown with code, message and hint."""
    comparison = compare_histories(
        [run_of(CONSTANT, 0, loss=[1.0]), run_of(STEP, 0, loss=[1.0, 0.5])],
        experiment="e",
        metric="loss",
    )
    diagnosis = {"code": "LR001", "message": "<i>never</i> stepped.", "hint": "Do."}
    run_id = comparison.runs[1].run_id
    diagnosed = replace(comparison, diagnoses=({**diagnosis, "run_id": run_id},))
    page = Page(render(Document(diagnosed)))

    assert any("<i>never</i> stepped." in words for words in page.words)
    assert page.words.count("LR001") == 1
    assert any(words.startswith("budget-differs:") for words in page.words)
