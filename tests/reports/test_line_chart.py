"""Charts of scores over tasks, and of the best of k values, in the HTML report."""

import re

import pytest

from lrtrack.reports.document import Document
from lrtrack.reports.html import render
from lrtrack.schedules import Schedule
from lrtrack.stats import PROFILE, compare_histories

A, B = Schedule("StepLR", {"step_size": 10}), Schedule("CyclicLR")


@pytest.fixture
def page(run_of):
    """The page of two schedules, each with four seeds on two data sets."""
    runs = [
        run_of(schedule, seed, config={"data": seed % 2}, loss=[2.0, 1.0 + at + seed * seed / 9])
        for at, schedule in enumerate((A, B))
        for seed in range(4)
    ]

    def make(**options):
        found = compare_histories(runs, experiment=None, metric="loss", **options)
        return render(Document(found))

    return make


def _lines(text):
    return [
        points.split() for points in re.findall(r'<polyline class="line" points="([^"]+)"', text)
    ]


def test_profiles_of_tasks(page):
    """A comparison over tasks has one profile per schedule, over all scores."""
    text = page(task="config.data")

    assert "Scores over tasks" in text
    assert [len(points) for points in _lines(text)] == [len(PROFILE)] * 2
    assert "<title>CyclicLR</title>" in text


def test_times_to_target(page):
    """With a target, the corners of the share of tasks within a multiple of the fastest time."""
    text = page(task="config.data", target={"0": 1.5, "1": 1.2})
    stairs = _lines(text)[2:]

    assert "Steps to the target over tasks" in text
    assert "Seconds to the target over tasks" in text
    # CyclicLR, drawn first, never reaches a target; StepLR always does, as the fastest one.
    assert [len(points) for points in stairs] == [2, 6, 2, 6]
    assert stairs[1][:2] == ["56.0,210.0", "56.0,210.0"]


def test_the_best_of_k(page):
    """A tuned comparison has the expected best of k values per schedule."""
    text = page(tune="config.data")

    assert "The best of k values" in text
    assert [len(points) for points in _lines(text)] == [2, 2]


def test_neither_without_tasks_or_tuning(page):
    """Other comparisons have no such chart."""
    assert "polyline" not in page()
