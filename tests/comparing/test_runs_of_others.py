"""Comparing runs that lrtrack did not record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

import lrtrack
from lrtrack.cli import main
from lrtrack.errors import NothingFound, UsageError
from lrtrack.records import History, Run, State, StepRecord
from lrtrack.records.alignment import Series
from lrtrack.records.logged import LoggedRun, interpret
from lrtrack.trackers import registry
from lrtrack.trackers.base import ALL, Query
from lrtrack.trackers.memory import MemoryTracker


def logged(name: str, rate: str | None, factor: float, **params: object) -> LoggedRun:
    """A run of four steps whose rate, if it has one, is multiplied by `factor` at each."""
    steps = np.arange(4)
    series = {"loss": Series(steps, 1.0 / (1 + steps), 100.0 + steps)}
    if rate is not None:
        series[rate] = Series(steps, 0.1 * factor**steps, 100.0 + steps)
    return LoggedRun(name, name, "others", State.FINISHED, series, params=params)


class Others(MemoryTracker):
    """A tracker with runs that others logged."""

    name = "others"

    def __init__(self, *runs: LoggedRun) -> None:
        super().__init__()
        self.runs = runs

    def histories(self, query: Query, progress=None) -> Iterator[History]:
        yield from super().histories(replace(query, experiment=None), progress)
        if query.runs == ALL:
            yield from (interpret(run, query.roles).history for run in self.runs)


def pair(rate: str | None = "lr") -> Others:
    """Two schedules by two seeds."""
    return Others(
        *(
            logged(f"{factor}-{seed}", rate, factor, seed=seed, fold=seed + 5)
            for factor in (1.0, 0.5)
            for seed in range(2)
        )
    )


def own(tracker: Others) -> Others:
    """The tracker with a run that lrtrack recorded."""
    sink = tracker.sink(Run(id="own", name="own", seed=0), tracker.target("x"), None)
    sink.write([StepRecord(0, 100.0, {"loss": 1.0, "lr": 0.1})], doubt=False)
    sink.close(State.FINISHED, 101.0, {})
    return tracker


def test_without_runs_of_lrtrack_all_are_compared(capsys):
    """Where lrtrack recorded no run, those of others are compared, and stderr says so."""
    report = lrtrack.compare(tracker=pair())

    assert sorted((item.label, item.runs) for item in report.schedules) == [
        ("≈ constant", 2),
        ("≈ exponential(gamma=0.5)", 2),
    ]
    assert capsys.readouterr().err == (
        "lrtrack: lrtrack recorded none of the runs there, so all 4 runs that others logged are "
        "read.\n"
    )


def test_only_runs_of_lrtrack(capsys):
    """If lrtrack's runs alone are asked for and there is none, stderr names the other way."""
    assert lrtrack.histories(tracker=pair(), runs="lrtrack") == []
    assert capsys.readouterr().err == (
        "lrtrack: lrtrack recorded no run there; --runs all also reads those that others logged.\n"
    )


def test_mixed_experiments(capsys):
    """Runs of lrtrack are read alone by default, and together with the others if asked for."""
    tracker = own(pair())
    alone = lrtrack.histories(tracker=tracker)
    together = lrtrack.histories(tracker=tracker, runs="all")

    assert [history.run.name for history in alone] == ["own"]
    assert len(together) == 5
    assert lrtrack.histories(tracker=tracker, filters="seed = 9") == []
    assert capsys.readouterr().err == ""


def test_experiments_without_rates():
    """Without any rate there is nothing to compare: the message names the metrics and options."""
    with pytest.raises(NothingFound) as caught:
        lrtrack.compare("x", tracker=pair("eta"))

    assert str(caught.value) == (
        "None of the 4 runs in experiment 'x' has a recorded learning rate. Their metrics: eta, "
        "loss. Fix: name the metric that is the learning rate with --lr-metric, or group runs by a "
        "setting with --group-by."
    )


def test_what_the_user_says():
    """The metric and the setting that the user names are the learning rate and the seed."""
    report = lrtrack.compare(tracker=pair("eta"), lr_metric="eta", seed_field="fold")

    assert [item.seeds for item in report.schedules] == [(5, 6), (5, 6)]
    with pytest.raises(UsageError, match="Unknown kind of runs 'mine'"):
        lrtrack.compare(tracker=pair(), runs="mine")


def test_runs_without_a_rate():
    """Runs without a rate are left out with one warning, unless a setting groups them."""
    some = Others(*pair().runs, logged("bare", None, 1.0, seed=0, fold=1))
    report = lrtrack.compare(tracker=some)
    by_fold = lrtrack.compare(tracker=some, group_by="fold")

    assert sum(item.runs for item in report.schedules) == 4
    assert [notice.message for notice in report.warnings if notice.code == "no-learning-rate"] == [
        "1 of 5 runs has no recorded learning rate and is left out. Its metrics: loss. Fix: name "
        "the metric that is the learning rate with --lr-metric, or group runs by a setting with "
        "--group-by."
    ]
    assert sum(item.runs for item in by_fold.schedules) == 5


def test_frames_of_histories():
    """A history becomes a frame with its steps, times and metrics."""
    frame = lrtrack.histories(tracker=pair("eta"), lr_metric="eta")[-1].to_frame()

    assert list(frame) == ["step", "time", "seconds", "loss", "eta", "lr"]
    assert frame["seconds"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert frame["lr"].tolist() == [0.1, 0.05, 0.025, 0.0125]


def test_the_list_of_runs(monkeypatch):
    """The list of runs shows what was taken as the learning rate and the seed."""
    monkeypatch.setattr(registry, "resolve", lambda _: [own(pair("train/lr"))])
    table = CliRunner().invoke(main, ["runs", "--runs", "all", "--filter", "seed = 0"])
    listed = CliRunner().invoke(main, ["runs", "--runs", "all", "--format", "json"])

    assert table.exit_code == 0, table.stderr
    assert "train/lr, seed" in table.stdout
    runs = {run["name"]: run for run in json.loads(listed.stdout)["runs"]}
    assert (runs["1.0-0"]["lr_metric"], runs["1.0-0"]["seed_field"]) == ("train/lr", "seed")
    assert "lr_metric" not in runs["own"]


def test_the_command(monkeypatch):
    """Without a learning rate the command ends with status 1; with its name, it reports."""
    monkeypatch.setattr(registry, "resolve", lambda _: [pair("eta")])
    failed = CliRunner().invoke(main, ["compare", "x"])
    monkeypatch.setattr(registry, "resolve", lambda _: [pair("eta")])
    done = CliRunner().invoke(main, ["compare", "--lr-metric", "eta", "--format", "json"])

    assert (failed.exit_code, failed.stdout) == (1, "")
    assert "--lr-metric" in failed.stderr
    assert [item["runs"] for item in json.loads(done.stdout)["schedules"]] == [2, 2]
