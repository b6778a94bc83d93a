"""What a journal's events add to a run: its end, its schedule and its diagnoses."""

from __future__ import annotations

from typing import Any

import pytest

from lrtrack.journal.ending import Ending, diagnoses_in, ending_of, has_news, schedule_of, with_news
from lrtrack.records import Run, State
from lrtrack.schedules import Schedule

COSINE = Schedule("CosineAnnealingLR", {"T_max": 9})
LR001 = {"code": "LR001", "message": "never stepped", "hint": "step it"}
RUN = Run("a" * 32, "first", device_type="cpu", device_name="old")


@pytest.mark.parametrize(
    ("event", "ending"),
    [
        ({"event": "end", "state": "FINISHED", "time": 5}, Ending(State.FINISHED, 5.0)),
        ({"event": "start", "state": "FINISHED", "time": 5}, None),
        ({}, None),
        ({"event": "end", "time": 5}, Ending(State.FAILED, 0.0)),
        ({"event": "end", "state": "FINISHED"}, Ending(State.FAILED, 0.0)),
        ({"event": "end", "state": "GONE", "time": 5}, Ending(State.FAILED, 0.0)),
        ({"event": "end", "state": "FAILED", "time": "soon"}, Ending(State.FAILED, 0.0)),
        (
            {"event": "end", "state": "FAILED", "time": 5, "name": "last",
             "schedule": COSINE.to_dict(), "device": {"type": "cuda", "name": "H"},
             "diagnoses": [LR001], "suggestions": {"steepest": 0.1}},
            Ending(State.FAILED, 5.0, {"steepest": 0.1}, (LR001,), COSINE, "last", ("cuda", "H")),
        ),
        (
            {"event": "end", "state": "FAILED", "time": 5, "name": 7, "schedule": "cosine",
             "device": "cuda"},
            Ending(State.FAILED, 5.0),
        ),
        (
            {"event": "end", "state": "FAILED", "time": 5, "device": {"type": "cuda"}},
            Ending(State.FAILED, 5.0),
        ),
        (
            {"event": "end", "state": "FAILED", "time": 5, "device": {"name": "H"}},
            Ending(State.FAILED, 5.0),
        ),
    ],
)  # fmt: skip
def test_how_a_run_says_that_it_ended(event: dict[str, Any], ending: Ending | None) -> None:
    """An `end` event gives its parts; without a state or a time, the run counts as failed."""
    assert ending == ending_of(event)


@pytest.mark.parametrize(
    ("part", "tells"),
    [
        ({}, False),
        ({"suggestions": {"steepest": 0.1}}, True),
        ({"diagnoses": ()}, True),
        ({"schedule": COSINE}, True),
        ({"device": ("cuda", "H")}, True),
        ({"name": "last"}, False),
    ],
)
def test_what_an_end_adds(part: dict[str, Any], tells: bool) -> None:
    """Any of suggestions, diagnoses, schedule and device is news at the end."""
    assert Ending(State.FINISHED, 5.0, **part).tells is tells


def test_a_run_that_is_completed() -> None:
    """What the end says replaces what was known; what it leaves out stays."""
    whole = Ending(
        State.FAILED, 5.0, {"steepest": 0.1}, (LR001,), COSINE, "last", ("cuda", "H")
    ).completed(RUN)
    plain = Ending(State.FINISHED, 5.0).completed(whole)

    assert (whole.outcome, whole.name, whole.schedule) == (State.FAILED, "last", COSINE)
    assert (whole.device_type, whole.device_name) == ("cuda", "H")
    assert (whole.suggestions, whole.diagnoses) == ({"steepest": 0.1}, (LR001,))
    assert plain.outcome is State.FINISHED
    assert (plain.name, plain.schedule, plain.device_name) == ("last", COSINE, "H")
    assert (plain.suggestions, plain.diagnoses) == ({"steepest": 0.1}, (LR001,))
    assert Ending(State.FINISHED, 5.0, diagnoses=()).completed(whole).diagnoses == ()


SHOWN = {"event": "schedule", "schedule": COSINE.to_dict(), "name": "seen"}
TOLD = {"event": "diagnoses", "diagnoses": [LR001]}


def test_news_of_a_run_that_goes_on() -> None:
    """Schedules and diagnoses are news; other events, and nonsense in these, are none."""
    assert schedule_of(SHOWN) == (COSINE, "seen")
    assert schedule_of({**SHOWN, "name": 7}) == (COSINE, None)
    assert schedule_of({**SHOWN, "schedule": "cosine"}) is None
    assert schedule_of({**SHOWN, "schedule": {"gamma": 1}}) is None
    assert schedule_of({**SHOWN, "event": "end"}) is None
    assert diagnoses_in(TOLD) == (LR001,)
    assert diagnoses_in({**TOLD, "event": "end"}) is None
    assert [has_news(event) for event in (SHOWN, TOLD, {"event": "end"}, None)] == [
        True, True, False, False,
    ]  # fmt: skip


def test_a_run_with_its_news() -> None:
    """The latest news count, and leave the name where they have none."""
    run = with_news(RUN, [None, SHOWN, {**SHOWN, "name": None}, TOLD, {"event": "end"}])

    assert (run.name, run.schedule, run.diagnoses) == ("seen", COSINE, (LR001,))
