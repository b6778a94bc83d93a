"""Lists of queued runs: undelivered, unreadable, damaged, foreign, and delivered without a part."""

from __future__ import annotations

import os
import time

import pytest

from lrtrack import user_state
from lrtrack.errors import ForeignJournal, JournalError, UsageError
from lrtrack.journal.framing import PREAMBLE
from lrtrack.journal.layout import Layout, host
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State, Target
from lrtrack.shipping.authorization import Verdict
from lrtrack.shipping.corruption import damaged
from lrtrack.shipping.cursor import Cursor
from lrtrack.shipping.foreign import adopt, destination, foreign, layout_of
from lrtrack.shipping.missing_parts import missing_parts, summarized
from lrtrack.shipping.undelivered import undelivered
from lrtrack.shipping.unreadable import COMING, remedy, take_off, without_record

TARGET = Target("memory", experiment="x")


def queued(layout: Layout, number: int, **fields: object) -> str:
    """Queues a finished run with one step; its files are `number` seconds younger than run 0's."""
    run = Run(f"{number:032x}", f"run {number}", **{"targets": (TARGET,), **fields})
    writer = JournalWriter(layout.journal(run.id), run)
    writer.append(0, 1.0, {"loss": 1.0})
    writer.close(State.FINISHED)
    mark(layout, run.id, number)
    return run.id


def mark(layout: Layout, run_id: str, number: int, before: float = 3600.0) -> None:
    """Puts a run into the queue `before` seconds ago, after those with smaller numbers."""
    layout.marker(run_id).touch()
    then = time.time() - before + number
    for path in (layout.marker(run_id), layout.journal(run_id)):
        if path.exists():
            os.utime(path, (then, then))


def empty(layout: Layout, number: int, content: bytes = b"") -> str:
    """Queues a journal that holds only `content`."""
    run_id = f"{number:032x}"
    layout.journal(run_id).write_bytes(content)
    mark(layout, run_id, number)
    return run_id


def forged(layout: Layout, number: int, **fields: object) -> str:
    """Queues a journal that was signed with another user's key."""
    with pytest.MonkeyPatch.context() as elsewhere:
        elsewhere.setattr(user_state, "sign", lambda purpose, content: "0" * 64)
        return queued(layout, number, **fields)


def damage(layout: Layout, run_id: str) -> None:
    """Flips a bit of a journal's last frame, which leaves the file as old as it was."""
    path = layout.journal(run_id)
    content, changed = bytearray(path.read_bytes()), path.stat().st_mtime
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, (changed, changed))


def test_every_queued_run_is_listed_oldest_first(layout: Layout) -> None:
    """Unreadable runs are listed with a fix, foreign ones are not, and neither hides the next."""
    forged(layout, 0)
    broken = empty(layout, 1, b"rubbish" * 9)
    sound = queued(layout, 2, host="elsewhere")
    first, second = undelivered(layout)

    assert (first.id, first.name, first.late, first.left) == (broken, "?", (), 0)
    assert (first.alive, first.failures, first.refused) == (False, 0, False)
    assert first.fix == f"if you need nothing in it, rm {layout.journal(broken)}"
    assert (second.id, second.name, second.host) == (sound, "run 2", "elsewhere")
    assert second.left == layout.journal(sound).stat().st_size
    assert second.late == ((TARGET, Verdict.OWN),)


def test_what_is_left_of_a_run(layout: Layout) -> None:
    """The tracker that lacks most counts; one that has all of a closed run is not named."""
    names = ("a", "b", "c", "d")
    targets = (*map(Target, names), Target("e", delivers=False))
    run_id = queued(layout, 0, host=host(), targets=targets)
    size = layout.journal(run_id).stat().st_size
    states = {
        "a": Cursor(offset=size, closed=True),
        "b": Cursor(offset=size - 1, closed=True, failures=2),
        "c": Cursor(offset=size - 9, failures=3, error="away", given_up=True),
        "d": Cursor(offset=size),
    }
    for name, state in states.items():
        state.save(layout.cursor(run_id, name))
    (run,) = undelivered(layout)

    assert run.trackers == ("b", "c", "d")
    assert (run.left, run.failures, run.refused, run.host) == (9, 5, True, "")
    assert run.error == "away"


@pytest.mark.parametrize("alive", [True, False])
def test_which_obstacle_is_named(layout: Layout, alive: bool) -> None:
    """A running run has the error that its process stored, and a finished one what blocks it."""
    run = Run("a" * 32, "r", targets=(TARGET, Target("other")))
    writer = JournalWriter(layout.journal(run.id), run)
    layout.marker(run.id).touch()
    Cursor(refused="log in").save(layout.cursor(run.id, "memory"))
    Cursor(error="no", refused="log in").save(layout.cursor(run.id, "other"))
    if not alive:
        writer.close(State.FINISHED)
    (found,) = undelivered(layout)
    writer.close(State.FINISHED)

    assert (found.alive, found.error) == (alive, "no: log in")


def test_runs_without_a_record(layout: Layout) -> None:
    """Empty and half-begun journals hold nothing, and are taken off; all others stay."""
    nothing, half = empty(layout, 0), empty(layout, 1, PREAMBLE[:5])
    begun, rubbish = empty(layout, 2, PREAMBLE), empty(layout, 3, b"rubbish")
    gone = f"{4:032x}"
    mark(layout, gone, 4)
    lately = empty(layout, 5)
    mark(layout, lately, 0, before=COMING - 5.0)
    sound = queued(layout, 6)
    running = JournalWriter(layout.journal("b" * 32), Run("b" * 32, "r"))
    mark(layout, "b" * 32, 7)
    found = without_record(layout)
    take_off(layout, [*found, sound, rubbish, "b" * 32])
    running.release()

    assert found == [nothing, half, begun, gone]
    assert layout.queued() == [rubbish, sound, "b" * 32, lately]
    assert [layout.journal(run_id).exists() for run_id in (nothing, half, sound)] == [
        False, False, True,
    ]  # fmt: skip


def test_a_directory_in_the_place_of_a_journal(layout: Layout) -> None:
    """It is no empty journal: it stays, with the advice to remove it."""
    run_id = f"{1:032x}"
    layout.journal(run_id).mkdir()
    mark(layout, run_id, 0)

    assert without_record(layout) == []
    assert damaged(layout) == {}
    assert remedy(layout.journal(run_id), JournalError("no file")) is not None


@pytest.mark.parametrize(
    ("error", "is_known"),
    [
        (JournalError("cannot read it. Fix: chown it"), True),
        (JournalError("it was written by a later lrtrack: upgrade"), True),
        (ForeignJournal("not yours"), True),
        (JournalError("cannot read it"), False),
    ],
)
def test_what_an_error_says_itself(layout: Layout, error: JournalError, is_known: bool) -> None:
    """A remedy is added only where the error does not name one."""
    path = layout.journal(empty(layout, 0))
    advice = "nothing of it was recorded, and `lrtrack sync` takes it off the queue"

    assert remedy(path, error) == (None if is_known else advice)


def test_damaged_journals(layout: Layout) -> None:
    """Queued journals are read; the damage of those that are delivered is in a cursor."""
    empty(layout, 0, b"rubbish" * 9)
    broken, sound, told, unread = (queued(layout, number) for number in range(1, 5))
    damage(layout, broken)
    damage(layout, unread)
    layout.marker(unread).unlink()
    Cursor().save(layout.cursor(told, "a"))
    Cursor(damage="damaged at byte 7").save(layout.cursor(told, "memory"))
    found = damaged(layout)

    assert list(found) == [told, broken]
    assert found[told] == "damaged at byte 7"
    assert sound not in found


def test_foreign_journals(layout: Layout) -> None:
    """Journals of other users are found between unreadable ones and one's own."""
    first = forged(layout, 0)
    queued(layout, 1)
    empty(layout, 2, b"rubbish")
    last = forged(layout, 3)

    assert [(each.run.id, each.run.name) for each in foreign(layout)] == [
        (last, "run 3"),
        (first, "run 0"),
    ]


@pytest.mark.parametrize(
    ("target", "is_queued"),
    [
        (Target("memory"), True),
        (Target("memory", portable=False), False),
        (Target("local", delivers=False), False),
    ],
)
def test_adopted_journals(layout: Layout, target: Target, is_queued: bool) -> None:
    """An accepted journal is no longer foreign, and is queued if it can be delivered."""
    run_id = forged(layout, 0, targets=(target,))
    layout.marker(run_id).unlink()
    adopt(layout, list(foreign(layout)))

    assert list(foreign(layout)) == []
    assert layout.queued() == ([run_id] if is_queued else [])


def test_which_directory_is_meant(layout: Layout) -> None:
    """A journal directory or the one around it may be given, and nothing else."""
    place = layout.root.parent

    assert [layout_of(path).root for path in (place, layout.root)] == [layout.root] * 2
    with pytest.raises(UsageError, match="is not a journal directory"):
        layout_of(layout.root / "runs")


@pytest.mark.parametrize(
    ("target", "text"),
    [
        (Target("local", delivers=False), "local: stays in this directory"),
        (Target("mlflow"), "mlflow at its default address, experiment None"),
        (Target("mlflow", "http://h", "x"), "mlflow at http://h, experiment x"),
        (Target("mlflow", experiment_id="7"), "mlflow at its default address, experiment 7"),
        (Target("wandb", "http://h", "x", run_id="r"), "wandb at http://h, run r"),
        (
            Target("wandb", "http://h", "x", environment={"B": "2", "A": "1"}),
            "wandb at http://h, experiment x, with A=1 B=2",
        ),
    ],
)
def test_destinations(target: Target, text: str) -> None:
    """A destination says the tracker, its address, the run or experiment, and the settings."""
    assert destination(target) == text


def test_parts_that_a_tracker_refused(layout: Layout) -> None:
    """The part is known once the run is closed; the summary counts runs and quotes the first."""
    first, second, third = (queued(layout, number) for number in range(3))
    Cursor(closed=True, missing="the file (no)").save(layout.cursor(first, "memory"))
    Cursor(closed=False, missing="the file (no)").save(layout.cursor(second, "memory"))
    Cursor(closed=True).save(layout.cursor(third, "memory"))
    missing = missing_parts(layout)

    assert missing == {first: "the file (no)"}
    assert missing_parts(layout, [second, third]) == {}
    assert summarized(missing) == "1 run without the file (no)"
    assert summarized({**missing, "b": "it"}) == "2 runs without the file (no)"
