"""The local tracker reads journals back as runs, also those of killed and broken runs."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lrtrack.errors import LRTrackWarning, NothingFound, UsageError
from lrtrack.filters import filters_of
from lrtrack.journal.layout import Layout
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import History, Run, State
from lrtrack.schedules import Schedule
from lrtrack.trackers.base import Query
from lrtrack.trackers.local import LocalTracker

#: Writes two steps, prints `ready` once they are on disk, and waits to be killed.
KILLABLE = """
import sys
from pathlib import Path
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run
writer = JournalWriter(Path(sys.argv[1]), Run("f" * 32, "killed", started=9.0))
for step in range(2):
    writer.append(step, 10.0 + step, {"loss": 0.5})
writer.flush()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def layout(clean_place: Path) -> Layout:
    """An empty journal directory."""
    layout = Layout(clean_place / ".lrtrack")
    layout.create()
    return layout


@pytest.fixture
def journal(layout: Layout) -> Callable[..., Run]:
    """A function that journals one finished run of two steps."""
    count = 0

    def write(state: State = State.FINISHED, losses=(1.0, 0.5), **fields) -> Run:
        nonlocal count
        count += 1
        defaults = {"id": f"{count:032x}", "name": f"run{count}", "started": float(count)}
        run = Run(**{**defaults, "experiment": "x", **fields})
        writer = JournalWriter(layout.journal(run.id), run)
        for step, loss in enumerate(losses):
            writer.append(step, 100.0 + step, {"loss": loss, "lr": 0.1})
        writer.close(state)
        return run

    return write


def read(layout: Layout, *filters: str, experiment: str | None = "x") -> list[History]:
    """Read the histories of an experiment."""
    query = Query(experiment, filters=filters_of(filters), directory=layout.root)
    return list(LocalTracker().histories(query))


def names(histories: list[History]) -> list[str]:
    """The names of runs, in order."""
    return [history.run.name for history in histories]


def test_a_run_is_read_back_unchanged(layout, journal):
    """The identity, steps, values and times of a run equal those that were written, and its
    outcome is known.
    """
    schedule = Schedule("StepLR", {"step_size": 3})
    run = journal(
        State.FAILED, (1 / 3, math.nan, -math.inf), schedule=schedule, seed=3, group="g",
        config={"depth": {"of": 2}}, tags={"who": "me"},
    )  # fmt: skip
    (history,) = read(layout)

    assert history.run == replace(run, outcome=State.FAILED)
    assert (history.id, history.tracker, history.state) == (run.id, "local", State.FAILED)
    assert history.steps.tolist() == [0, 1, 2]
    assert history.times.tolist() == [100.0, 101.0, 102.0]
    assert repr(history.metrics["loss"].tolist()) == repr([1 / 3, math.nan, -math.inf])
    assert history.present["loss"].tolist() == [True, True, True]


def test_newest_first(layout, journal):
    """Runs are ordered by when they started, not by when their journals were written."""
    for started in (20.0, 30.0, 10.0):
        journal(name=f"at {started:.0f}", started=started)

    assert names(read(layout)) == ["at 30", "at 20", "at 10"]


def test_progress_counts_each_run(layout, journal):
    """Progress is reported for every run, including the last one."""
    journal()
    journal()
    reports = []
    query = Query("x", directory=layout.root)
    list(LocalTracker().histories(query, lambda done, total: reports.append((done, total))))

    assert reports == [(1, 2), (2, 2)]


def test_experiments_are_separate(layout, journal):
    """A run without an experiment is in `lrtrack`; a query without one reads all runs."""
    journal(name="a", experiment="a")
    journal(name="none", experiment=None)

    assert names(read(layout, experiment="a")) == ["a"]
    assert names(read(layout, experiment="lrtrack")) == ["none"]
    assert names(read(layout, experiment=None)) == ["none", "a"]


def test_an_unknown_experiment(layout, journal):
    """An unknown experiment is an error with the nearest name, all names and the directory."""
    journal(experiment="digits")
    with pytest.raises(NothingFound) as caught:
        read(layout, experiment="digts")

    assert str(caught.value) == (
        "Unknown experiment 'digts'. Did you mean 'digits'? Available: digits. "
        f"(in the journals under {layout.root})"
    )


def test_a_missing_directory_has_no_runs(clean_place: Path):
    """Without a journal directory there are no runs, and reading does not create it."""
    assert read(Layout(clean_place / ".lrtrack"), experiment=None) == []
    assert list(clean_place.iterdir()) == []


@pytest.fixture
def varied(journal) -> None:
    """Three runs that differ in every field that the filters use."""
    step = Schedule("StepLR", {"step_size": 30, "gamma": 0.1})
    journal(name="a", seed=0, optimizer={"name": "SGD", "lr": 0.1}, schedule=step, group="g")
    journal(name="b", seed=1, optimizer={"name": "SGD", "lr": 0.01}, config={"net": {"depth": 2}})
    journal(name="c", seed=2, optimizer={"name": "Adam", "lr": 1.0}, tags={"team": "blue sky"})


@pytest.mark.parametrize(
    ("filters", "selected"),
    [
        (["seed=0"], "a"),
        (["seed == 0"], "a"),
        (["seed!=0"], "cb"),
        (["seed>=1", "seed<2"], "b"),
        (["optimizer.lr<=0.1"], "ba"),
        (["optimizer.lr > 1e-1"], "c"),
        (["optimizer=SGD"], "ba"),
        (["optimizer='Adam'"], "c"),
        (["scheduler=StepLR"], "a"),
        (["scheduler.step_size=30.0"], "a"),
        (["scheduler!=StepLR"], "cb"),
        (["group=g"], "a"),
        (["name=b"], "b"),
        (["device.type=cpu"], "cba"),
        (["net.depth=2"], "b"),
        (['team="blue sky"'], "c"),
        (["seed=0", "seed=1"], ""),
    ],
)
@pytest.mark.usefixtures("varied")
def test_filters(layout, filters, selected):
    """All filters must hold; numbers compare as numbers, and a bare name is a key of the config."""
    assert "".join(names(read(layout, *filters))) == selected


def test_ids_of_schedules_compare_as_text(layout, journal):
    """An id that looks like a number selects its own schedule only."""
    four, other = (journal(schedule=Schedule("StepLR", {"step_size": size})) for size in (4, 229))

    assert (four.schedule.id, other.schedule.id) == ("9e269648", "8e692984")
    assert names(read(layout, "scheduler.id=9e269648")) == [four.name]
    assert names(read(layout, "scheduler.id!=9e269648")) == [other.name]


def test_not_a_number_is_equal_to_itself(layout, journal):
    """A config value that is NaN is selected by `nan`."""
    run = journal(config={"decay": math.nan})
    journal(config={"decay": 0.5})

    assert names(read(layout, "decay=nan")) == [run.name]


@pytest.mark.parametrize("bad", ["seed", "=1", "seed=", "lr=<0.1", "a b = 1", ""])
@pytest.mark.usefixtures("varied")
def test_filters_that_cannot_be_read(layout, bad):
    """The error repeats the invalid filter, and says how to write it."""
    with pytest.raises(UsageError) as caught:
        read(layout, bad)

    assert str(caught.value).startswith(f"Cannot read the filter {bad!r}: ")
    assert "Fix: " in str(caught.value)


@pytest.mark.usefixtures("varied")
def test_a_filter_on_a_field_that_no_run_has(layout):
    """A misspelt field is an error rather than an empty result."""
    with pytest.raises(UsageError, match=r"Unknown field to filter by 'sed'. Did you mean 'seed'"):
        read(layout, "sed=1")


def test_a_killed_run_is_failed(layout, journal):
    """A run whose process was killed is FAILED, and ends with its last step."""
    path = layout.journal("f" * 32)
    with subprocess.Popen(
        [sys.executable, "-c", KILLABLE, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        (running,) = read(layout, experiment="lrtrack")
        os.kill(process.pid, signal.SIGKILL)
    (killed,) = read(layout, experiment="lrtrack")

    assert (running.state, running.ended) == (State.RUNNING, None)
    assert (killed.state, killed.ended) == (State.FAILED, 11.0)
    assert running.steps.tolist() == killed.steps.tolist() == [0, 1]


def test_a_torn_journal_keeps_its_whole_frames(layout, journal):
    """A journal that is cut in its last frame loses that frame, so the run counts as failed."""
    path = layout.journal(journal().id)
    path.write_bytes(path.read_bytes()[:-3])
    (history,) = read(layout)

    assert (history.state, history.ended) == (State.FAILED, 101.0)
    assert history.metrics["loss"].tolist() == [1.0, 0.5]


def test_a_run_without_steps(layout, journal):
    """A run that ended before its first step is read back without steps."""
    journal(losses=())
    (history,) = read(layout)

    assert (history.steps.tolist(), dict(history.metrics)) == ([], {})


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is not a journal"),
        (b"rubbish", "it is not a journal"),
        (b"lrtrack journal 1\n", "says nothing about its run"),
        (b"lrtrack journal 99\n", "written by a later lrtrack: upgrade"),
    ],
)
def test_a_broken_journal_is_skipped_with_a_warning(layout, journal, content, why):
    """A file that is no journal is named in a warning, and the other journals are read."""
    kept = journal()
    broken = layout.journal("b" * 32)
    broken.write_bytes(content)
    with pytest.warns(LRTrackWarning) as caught:
        histories = read(layout)

    (warning,) = caught
    assert names(histories) == [kept.name]
    assert str(broken) in str(warning.message)
    assert str(warning.message).endswith(f"{why}; it is left out")


def test_files_with_other_names_are_ignored(layout, journal):
    """Files that editors and file managers leave in the directory are ignored."""
    kept = journal()
    (layout.root / "runs" / "copy of a.journal").write_bytes(b"rubbish")

    assert names(read(layout)) == [kept.name]
