"""The latest runs of an experiment: `last` and `since`."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lrtrack
from lrtrack.comparing import fetch
from lrtrack.comparing.selection import count_of, latest, moment_of
from lrtrack.errors import NothingFound, UsageError
from lrtrack.records import FIND, History, Run, State, StepRecord
from lrtrack.schedules import Schedule
from lrtrack.trackers.base import Query
from lrtrack.trackers.memory import MemoryTracker

NOW = 1_800_000_000.0
DAY = 86400.0


@pytest.fixture
def tracker() -> MemoryTracker:
    """Five trainings of the experiment `digits`, one a second, and a range test after them."""
    memory = MemoryTracker()
    for number in range(6):
        run = Run(
            id=f"{number:032x}",
            name=f"run-{number}",
            schedule=Schedule("StepLR", {"step_size": number % 2 + 1}),
            seed=number,
            started=100.0 + number,
            kind=FIND if number == 5 else "train",
        )
        sink = memory.sink(run, memory.target("digits"), None)
        sink.open()
        sink.write([StepRecord(0, 100.0 + number, {"loss": 1.0, "lr": 0.1})], doubt=False)
        sink.close(State.FINISHED, 200.0, {})
    return memory


def names(histories: list[History]) -> list[str]:
    """The names of runs."""
    return [history.run.name for history in histories]


@pytest.mark.parametrize(
    ("since", "seconds"),
    [
        ("30s", 30.0), ("30m", 1800.0), ("30 min", 1800.0), ("12h", 12 * 3600.0), ("7d", 7 * DAY),
        ("1.5D", 1.5 * DAY), (" 2w ", 14 * DAY), (timedelta(days=7), 7 * DAY),
    ],
)  # fmt: skip
def test_spans(since: str | timedelta, seconds: float) -> None:
    """A span counts back from now."""
    assert moment_of(since, NOW) == NOW - seconds


@pytest.mark.parametrize("since", ["2026-11-01", date(2026, 11, 1), datetime(2026, 11, 1)])
def test_a_date_is_its_first_moment(since: str | date) -> None:
    """A date without a time zone begins at the local midnight."""
    assert moment_of(since, NOW) == datetime(2026, 11, 1).timestamp()


def test_times_with_a_zone() -> None:
    """A time with a time zone is that moment; nothing is before the epoch; None stays None."""
    assert (
        moment_of("2026-11-01T12:30+00:00", NOW)
        == datetime(2026, 11, 1, 12, 30, tzinfo=UTC).timestamp()
    )
    assert moment_of("999999999w", NOW) == 0.0
    assert moment_of(None) is None


@pytest.mark.parametrize("since", ["", "7", "7x", "-7d", "d", "yesterday", "2026-13-01", 7, b"7d"])
def test_moments_that_are_none(since: object) -> None:
    """Anything else is refused, with examples of what is accepted."""
    with pytest.raises(UsageError, match=r"since must be a span or a date.*Fix: write a span"):
        moment_of(since, NOW)  # type: ignore[arg-type]


def test_the_future_is_refused() -> None:
    """No run has started in the future, so such a date is a mistake."""
    with pytest.raises(UsageError, match="is in the future"):
        moment_of("2100-01-01", NOW)


@given(st.text(max_size=12))
def test_any_text_is_a_moment_or_a_usage_error(text: str) -> None:
    """No text makes anything but a time up to now or a usage error."""
    try:
        moment = moment_of(text, NOW)
    except UsageError:
        return
    assert moment is not None
    assert 0.0 <= moment <= NOW


@pytest.mark.parametrize("last", [0, -1, 1.5, "3", True])
def test_counts_that_are_none(last: object) -> None:
    """`last` is an integer of at least 1."""
    with pytest.raises(UsageError, match="last must be a number of runs, at least 1"):
        count_of(last)  # type: ignore[arg-type]


def test_the_last_runs(tracker: MemoryTracker) -> None:
    """`last` and `since` keep the runs that started last, newest first; range tests are runs."""
    assert names(fetch("digits", tracker=tracker, last=2)) == ["run-5", "run-4"]
    assert names(fetch("digits", tracker=tracker, last=2, kind="train")) == ["run-4", "run-3"]
    assert names(fetch("digits", tracker=tracker, last=9, kind="train"))[-1] == "run-0"
    moment = datetime.fromtimestamp(103.0)
    assert names(fetch("digits", tracker=tracker, since=moment)) == ["run-5", "run-4", "run-3"]
    assert names(fetch("digits", tracker=tracker, since=moment, last=1)) == ["run-5"]


def test_filters_come_first(tracker: MemoryTracker) -> None:
    """Of the runs that pass the filters, the last ones are kept."""
    kept = fetch("digits", tracker=tracker, filters="scheduler.step_size = 1", last=2)

    assert names(kept) == ["run-4", "run-2"]


def test_no_more_is_read_than_needed(tracker: MemoryTracker) -> None:
    """Trackers list runs newest first, so that reading can end after the last ones."""
    read: list[str] = []

    class Counting(MemoryTracker):
        def histories(self, query: Query, progress: object = None):  # type: ignore[override]
            for history in tracker.histories(query):
                read.append(history.run.name)
                yield history

    assert names(fetch("digits", tracker=Counting(), last=1)) == ["run-5"]
    assert read == ["run-5", "run-4"]
    read.clear()
    moment = datetime.fromtimestamp(104.0)
    assert names(fetch("digits", tracker=Counting(), since=moment)) == ["run-5", "run-4"]
    assert read == ["run-5", "run-4", "run-3"]


def test_blocks_of_one_run_count_as_one(tracker: MemoryTracker) -> None:
    """A run with several blocks is kept as a whole."""
    first, second, third = fetch("digits", tracker=tracker, last=3)
    block = History(**{**vars(second), "remote_id": first.id})

    assert latest([first, block, third], 1, None) == [first, block]


def test_a_comparison_of_the_last_runs(tracker: MemoryTracker) -> None:
    """`compare()` takes both, for runs that it reads and for histories that it is given."""
    every = fetch("digits", tracker=tracker)

    for options in ({"experiment": "digits", "tracker": tracker}, {"histories": every}):
        comparison = lrtrack.compare(**options, last=3)
        assert sorted(names(list(comparison.histories))) == ["run-2", "run-3", "run-4"]


def test_nothing_since_then(tracker: MemoryTracker) -> None:
    """Where all runs are older, the error says so, not that there are none."""
    with pytest.raises(
        NothingFound,
        match=r"No run of experiment 'digits' started since 1h; the last one started at 19",
    ):
        lrtrack.compare("digits", tracker=tracker, since="1h")
