"""The metrics that the HTML report has room for."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from lrtrack.reports.document import Document
from lrtrack.reports.html import render
from lrtrack.schedules import Schedule
from lrtrack.stats import compare_histories


def data_of(text: str) -> dict[str, Any]:
    """The numbers that a page draws."""
    match = re.search(r'id="data">\s*(.*?)\s*</script>', text, re.S)
    assert match is not None
    return json.loads(match[1])


def many_metrics(run_of, runs: int, steps: int, schedules: int) -> list:
    """Runs with the metrics of a network of 40 layers."""
    rng = np.random.default_rng(0)
    noisy = ("loss", "grad_norm", "update_ratio", "val_loss")
    names = (*noisy, *(f"grad_norm/layer{at}.weight" for at in range(40)))
    return [
        run_of(
            Schedule("StepLR", {"step_size": 1 + at % schedules}), at, lr=np.linspace(1, 0, steps),
            momentum=np.linspace(0.8, 0.9, steps), **{name: rng.random(steps) for name in names},
        )
        for at in range(runs)
    ]  # fmt: skip


def test_the_size_with_many_metrics(run_of):
    """Of many metrics, the page has the most common ones, is at most 3 MB, and says so."""
    comparison = compare_histories(
        many_metrics(run_of, 100, 1_000, 10), experiment="e", metric="loss"
    )
    text = render(Document(comparison))
    data = data_of(text)
    titles = [item["title"] for item in data["panels"]]

    assert len(text.encode()) <= 3_000_000
    assert titles[:7] == [
        "loss", "learning rate", "gradient norm", "update / weights", "momentum", "val_loss",
        "grad_norm/layer0.weight",
    ]  # fmt: skip
    assert len(titles) == 4 + 16
    assert [item.get("on", False) for item in data["panels"]] == [True] * 4 + [False] * 16
    assert "26 others would make the page too large" in text


def test_the_arrays_of_few_runs_are_whole(run_of):
    """Further metrics of few runs have every point and every run."""
    comparison = compare_histories(many_metrics(run_of, 4, 50, 2), experiment="e", metric="loss")
    data = data_of(render(Document(comparison)))
    momentum, val_loss = (item["series"] for item in data["panels"][4:6])
    sizes = [len(array) for array in data["arrays"]]

    assert [sizes[item["y"]] for item in momentum] == [50, 50]
    assert [[sizes[run["y"]] for run in item["runs"]] for item in val_loss] == [[50, 50]] * 2
    assert data["last"] == 49


def test_runs_of_many_means_are_left_out(run_of):
    """With 100 schedules there is room for four further metrics, without their single runs."""
    comparison = compare_histories(
        many_metrics(run_of, 200, 80, 100), experiment="e", metric="loss"
    )
    data = data_of(render(Document(comparison)))
    runs = [sum(len(item.get("runs", ())) for item in panel["series"]) for panel in data["panels"]]

    assert len(data["panels"]) == 4 + 4
    assert runs == [200, 0, 200, 200, 0, 0, 0, 0]
