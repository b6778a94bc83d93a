"""Messages between processes, through a store of torch that two mailboxes share."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lrtrack.capture import rank_mail
from lrtrack.capture.rank_mail import Mailbox, Place, decode, encode


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Any]:
    """Makes functions that each return the next mailbox of a process with its own count."""
    store = torch.distributed.HashStore()

    def start(rank: int) -> Callable[[], Mailbox]:
        used: Counter[str] = Counter()

        def block() -> Mailbox:
            monkeypatch.setattr(rank_mail, "_used", used)
            mailbox = Mailbox("kind", lambda: Place(store, rank, 2))
            mailbox.reserve()
            return mailbox

        return block

    return start


def test_messages_arrive_once_and_in_order(process) -> None:
    """Nobody waits: the sender stops at 64 unread messages, and goes on once they are read."""
    first, other = process(0)(), process(1)()
    before = other.connect()
    opened = first.connect(), other.connect()
    sent = [other.send(str(number).encode()) for number in range(66)]
    received = list(first.receive(1))
    sent_later = other.send(b"later")

    assert (before, opened, first.senders) == (False, (True, True), (1,))
    assert sent == [True] * 64 + [False] * 2
    assert received == [str(number).encode() for number in range(64)]
    assert (sent_later, list(first.receive(1)), list(first.receive(1))) == (True, [b"later"], [])


def test_blocks_that_a_process_leaves_out(process) -> None:
    """A block that one process has alone does not shift the blocks after it."""
    first, other = process(0), process(1)
    alone = first()
    alone.connect()
    alone.close()
    early = other()  # before the first process begins its second block
    waits = early.connect()
    second = first()
    second.connect()

    assert (waits, early.connect(), early.send(b"1")) == (False, True, True)
    assert list(second.receive(1)) == [b"1"]


def test_a_block_that_the_first_process_leaves_out(process) -> None:
    """A mailbox that the first process never opened does not count in any process."""
    first, other = process(0), process(1)
    unanswered = other()
    unanswered.connect()
    unanswered.close()
    mailbox, box = other(), first()
    box.connect()

    assert (mailbox.connect(), mailbox.send(b"1"), list(box.receive(1))) == (True, True, [b"1"])


_STEPS = st.dictionaries(
    st.integers(0, 2**53), st.dictionaries(st.text(max_size=5), st.floats(), max_size=3), max_size=5
)


@given(_STEPS, st.integers(0, 2**53), st.booleans())
def test_losses_keep_their_bits(
    steps: dict[int, dict[str, float]], until: int, is_last: bool
) -> None:
    """A message gives back all losses exactly, also NaN and infinity."""
    decoded = decode(encode(list(steps.items()), until, is_last=is_last))

    assert repr((steps, until, is_last)) == repr(tuple(decoded))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)
_ENTRIES = st.fixed_dictionaries(
    {"steps": st.lists(st.tuples(_JSON, _JSON) | _JSON), "until": _JSON}
)


@given(st.binary(max_size=64) | (_JSON | _ENTRIES).map(lambda value: json.dumps(value).encode()))
def test_a_message_of_anything(content: bytes) -> None:
    """Whatever stands in the store, a message has integers as steps and floats as losses."""
    steps, until, _ = decode(content)

    assert type(until) is int
    assert {int} >= {type(step) for step in steps}
    assert {float} >= {type(value) for losses in steps.values() for value in losses.values()}
