"""The list of blocks in an open run stays consistent under concurrent writers."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from lrtrack.journal.layout import Layout
from lrtrack.journal.open_runs import Member, open_run
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State

ONE, TWO = "1" * 32, "2" * 32


@pytest.fixture
def layout(clean_place: Path) -> Layout:
    """An empty journal directory."""
    found = Layout(clean_place / ".lrtrack")
    found.create()
    return found


def test_what_was_added_is_there(layout: Layout) -> None:
    """Members are listed in order, separately for each tracker, run and prefix."""
    path = layout.joined("mlflow", None, "abc", "")
    with open_run(path) as run:
        run.add(Member(ONE, ONE, False, seed=1, name="a"))
        run.add(Member(TWO, ONE, False))
    with open_run(path) as run:
        members = run.members
    places = [("mlflow", None, "abc", ""), ("wandb", None, "abc", ""), ("mlflow", None, "abc", "D")]

    assert [(each.id, each.head, each.seed, each.name) for each in members] == [
        (ONE, ONE, 1, "a"),
        (TWO, ONE, None, None),
    ]
    assert len({layout.joined(*place) for place in places}) == 3


def test_nobody_decides_at_the_same_time(layout: Layout) -> None:
    """Concurrent threads each see all members that were added before them."""
    path = layout.joined("mlflow", None, "abc", "")
    seen: list[int] = []

    def join() -> None:
        with open_run(path) as run:
            seen.append(len(run.members))
            run.add(Member(ONE, ONE, False))

    threads = [threading.Thread(target=join) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert seen == list(range(16))


@pytest.mark.parametrize("line", [
    b"", b"{", b"[]", b'{"id": 1}', b"\xff\xfe", b"[" * 5000,
    b'{"id": "../../x", "head": "../../x", "child": false, "seed": null, "name": null, '
    b'"host": "h", "pid": 1, "thread": 1, "time": 0}',
])  # fmt: skip
def test_lines_that_say_nothing_are_passed_over(layout: Layout, line: bytes) -> None:
    """Lines torn by a killed process or written by other programs are skipped."""
    path = layout.joined("mlflow", None, "abc", "")
    path.write_bytes(line)
    with open_run(path) as run:
        run.add(Member(ONE, ONE, False))
    with open_run(path) as run:
        assert [each.id for each in run.members] == [ONE]


def test_a_link_is_not_followed(layout: Layout, clean_place: Path) -> None:
    """A symbolic link in place of the list is not followed."""
    other = clean_place / "other"
    other.write_text("mine")
    layout.joined("mlflow").symlink_to(other)
    with pytest.raises(OSError), open_run(layout.joined("mlflow")):
        pass

    assert other.read_text() == "mine"


def test_a_block_is_open_while_its_journal_is(layout: Layout) -> None:
    """A block counts as open until its journal ends, and before it has one, unless it is this
    thread's.
    """
    member = Member(ONE, ONE, False)
    elsewhere = Member(ONE, ONE, False, thread=member.thread + 1)
    before = [each.is_open(layout) for each in (member, elsewhere)]
    long_ago = Member(ONE, ONE, False, thread=member.thread + 1, time=1.0)
    writer = JournalWriter(layout.journal(ONE), Run(ONE, "r"))
    during = member.is_open(layout)
    writer.close(State.FINISHED)

    assert before == [False, True]
    assert not long_ago.is_open(layout)
    assert during
    assert not member.is_open(layout)
