"""Runs in W&B that were logged without lrtrack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wandb_loopback.state import HISTORY, Lines, Run

from lrtrack.errors import LRTrackWarning
from lrtrack.records import Guesses, History, State
from lrtrack.trackers.base import ALL, Query
from lrtrack.trackers.wandb import WandbTracker

#: What Lightning's logger sends: rates and losses in rows of their own, with a counter of steps.
LIGHTNING = [
    row
    for step in range(4)
    for row in (
        {"_step": 2 * step, "trainer/global_step": step, "lr-SGD": 0.1 * (1 - step / 4)},
        {"_step": 2 * step + 1, "trainer/global_step": step, "epoch": 0, "train_loss": step / 2},
    )
]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A separate cache directory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def put(server: Any, rows: list[dict[str, Any]], name: str = "mine", **config: Any) -> Run:
    """Store a finished run with these rows, a second apart, as W&B's client would send it."""
    project = server.store.made_project("tester", "x")
    run = Run("tester", "x", f"id{len(project.runs)}", name, "finished")
    run.raw_config = {key: {"value": value} for key, value in config.items()}
    run.created_at = "2026-01-01T00:00:00Z"
    lines = [json.dumps({"_timestamp": 1e9 + at, **row}) for at, row in enumerate(rows)]
    run.streams[HISTORY] = Lines()
    run.streams[HISTORY].write(0, lines)
    project.runs[run.id] = run
    return run


def read(**query: Any) -> list[History]:
    """All histories of the project `x`, whoever logged them."""
    return list(WandbTracker().histories(Query(**{"experiment": "x", "runs": ALL} | query)))


def test_a_run_of_a_framework(wandb_server):
    """Rates and losses of different rows meet at the steps that the framework counts."""
    put(wandb_server, LIGHTNING, seed=3, model={"depth": 2}, batch_size=8)
    (history,) = read()

    assert (history.run.name, history.run.seed, history.state) == ("mine", 3, State.FINISHED)
    assert history.run.config == {"model.depth": 2, "batch_size": 8}
    assert history.guesses == Guesses("lr-SGD", "seed")
    assert history.steps.tolist() == [0, 1, 2, 3]
    assert history.metrics["train_loss"].tolist() == [0.0, 0.5, 1.0, 1.5]
    assert history.run.schedule.name == "linear"
    assert (history.run.started, history.ended) == (1767225600.0, 1767225600.0)


def test_a_run_that_was_logged_by_hand(wandb_server):
    """Without a counter, W&B's own steps count; nested and missing values are what they are."""
    rows = [
        {"_step": 0, "lr": 0.1, "loss": 1.0, "deep": {"er": 1}},
        {"_step": 1, "lr": 0.1, "loss": "NaN", "picture": {"_type": "image-file", "size": 1}},
        {"_step": 2, "lr": 0.1, "note": "text", "ok": True},
    ]
    put(wandb_server, rows)
    (history,) = read()

    assert sorted(history.metrics) == ["deep.er", "loss", "lr"]
    assert np.array_equal(history.series("loss")[1], [1.0, np.nan], equal_nan=True)
    assert history.run.schedule.label == "≈ constant"


def test_all_rows_are_read(wandb_server):
    """Long histories are read whole, not as W&B's sample of them."""
    put(wandb_server, [{"_step": step, "lr": 0.1 / (1 + step)} for step in range(1200)])
    (history,) = read()

    assert history.steps.tolist() == list(range(1200))


def test_rows_after_the_last_counted_step(wandb_server):
    """A row without the counter belongs to the last step before it."""
    put(wandb_server, [*LIGHTNING, {"_step": 8, "test_loss": 0.25}])
    (history,) = read()

    assert [array.tolist() for array in history.series("test_loss")] == [[3], [0.25]]


def test_which_runs_are_read(wandb_server):
    """Reports are not runs, and runs of others are only read if all are asked for."""
    put(wandb_server, LIGHTNING)
    report = put(wandb_server, [])
    project = wandb_server.store.made_project("tester", "x")
    project.runs["lrtrack-report"] = project.runs.pop(report.id)
    report.id = "lrtrack-report"

    assert [history.run.name for history in read()] == ["mine"]
    assert read(runs="lrtrack") == []


def test_rows_that_make_no_sense(wandb_server):
    """Rows with an impossible step or time are left out with a warning that names the run."""
    rows = [
        *LIGHTNING,
        {"_step": 8, "trainer/global_step": -1, "lr-SGD": 0.5},
        {"_step": 9, "trainer/global_step": 1e300, "lr-SGD": 0.5},
        {"_step": 10, "trainer/global_step": 4, "lr-SGD": 0.5, "_timestamp": "yesterday"},
    ]
    put(wandb_server, rows)
    with pytest.warns(LRTrackWarning, match="3 rows of 'mine'"):
        (history,) = read()

    assert history.steps.tolist() == [0, 1, 2, 3]


def test_copies_of_finished_runs(wandb_server):
    """A finished run is fetched once, a running one each time."""
    run = put(wandb_server, LIGHTNING)
    (first,) = read()
    run.streams[HISTORY].write(0, [json.dumps({"_step": 0, "lr": 9.0, "_timestamp": 1e9})])
    (again,) = read()
    run.state = "running"
    (running,) = read()

    assert again.metrics["lr-SGD"].tolist() == first.metrics["lr-SGD"].tolist()
    assert (running.state, running.ended) == (State.RUNNING, None)
    assert "lr" in running.metrics
