"""The list of the blocks in one open run: whole, whoever writes to it at the same time."""

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
    """In order; each run of each tracker and prefix has a list of its own."""
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
    """Each thread sees all those before it."""
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
    """Torn by a killed process, or written by somebody else."""
    path = layout.joined("mlflow", None, "abc", "")
    path.write_bytes(line)
    with open_run(path) as run:
        run.add(Member(ONE, ONE, False))
    with open_run(path) as run:
        assert [each.id for each in run.members] == [ONE]


def test_a_link_is_not_followed(layout: Layout, clean_place: Path) -> None:
    """Whoever can write here may not have other files written to."""
    other = clean_place / "other"
    other.write_text("mine")
    layout.joined("mlflow").symlink_to(other)
    with pytest.raises(OSError), open_run(layout.joined("mlflow")):
        pass

    assert other.read_text() == "mine"


def test_a_block_is_open_while_its_journal_is(layout: Layout) -> None:
    """Before it has one, it may be about to begin; one of this very thread has failed to."""
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
