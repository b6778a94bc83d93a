"""Messages between the processes of one training, through their process group's key-value store.

They are not collectives, on purpose. All processes must start the collectives of a group in one
order, and a process that is missing makes the others wait forever; a thread that starts its own
beside those of the training guarantees neither. A group of lrtrack's own would not help: making one
is a collective, and NCCL's groups share the device with the training's kernels. The store belongs
to no group and no device. Writing to it waits for nobody, and a key that is not there yet is seen
to be absent without waiting.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import torch

from lrtrack.capture.optimizers import rank
from lrtrack.capture.sharded import group_store

#: Seconds after which a store that does not answer counts as lost.
_TIMEOUT = timedelta(seconds=10)
#: The most messages of one process that wait in the store.
_WAITING = 64
#: The most steps in one message, and the most bytes that a message may have.
MOST_STEPS, _MOST_BYTES = 1024, 2**22
#: The largest number of a step.
_LARGEST = 2**53
#: The losses of one step by name.
Losses = Mapping[str, float]


#: How many mailboxes of a kind this process has used.
_used: Counter[str] = Counter()


class Place(NamedTuple):
    """The process group's store, this process's rank, and the number of processes."""

    store: Any
    rank: int
    size: int


class Mailbox:
    """Messages of all other processes to the first one, in order; for one thread at a time.

    The mailboxes of a kind are numbered in the order of their blocks. The first process says in the
    store which of them is open, so that a block that some process leaves out does not shift the
    blocks after it.

    Attributes:
        senders: ranks of the other processes; empty until the store is there.

    Args:
        kind: the same in all processes for blocks that belong together.
        find: returns the place of this process among them; None while there is none.
    """

    def __init__(self, kind: str, find: Callable[[], Place | None] | None = None) -> None:
        self.senders: tuple[int, ...] = ()
        self._kind = kind
        self._find = find or _find
        self._number = 0
        self._is_open = False
        self._store: Any = None
        self._rank = 0
        self._count: dict[int, int] = {}

    def reserve(self) -> None:
        """Take the number of the next block."""
        _used[self._kind] += 1
        self._number = _used[self._kind]

    def connect(self) -> bool:
        """Open the mailbox; False while the store, or the first process's block, is not there.

        Raises:
            RuntimeError: this process group has no store, or one that cannot be asked.
        """
        if self._is_open:
            return True
        if self._store is None:
            place = self._find()
            if place is None:
                return False
            self._store, self._rank = place.store, place.rank
            self.senders = tuple(range(1, place.size))
        if self._rank == 0:
            self._store.set(self._key(), b"open")
            self._is_open = True
        while not self._is_open and self._store.check([self._key()]):
            if self._store.get(self._key()) == b"open":
                self._is_open = True
            else:  # over: this process has left a block out
                self.reserve()
        return self._is_open

    def close(self) -> None:
        """Note that the block is over; give the number back if the others never had it."""
        if self._is_open and self._rank == 0:
            self._store.set(self._key(), b"over")
        elif not self._is_open and _used[self._kind] == self._number:
            _used[self._kind] -= 1

    def send(self, content: bytes) -> bool:
        """Write the next message of this process; False while too many are unread."""
        number = self._count.get(self._rank, 0)
        if number >= _WAITING and self._store.check(
            [self._key(f"{self._rank}/{number - _WAITING}")]
        ):
            return False
        self._store.set(self._key(f"{self._rank}/{number}"), content)
        self._count[self._rank] = number + 1
        return True

    def receive(self, sender: int) -> Iterator[bytes]:
        """Yield the messages of a process that have arrived, and remove them."""
        for _ in range(_WAITING):
            number = self._count.get(sender, 0)
            key = self._key(f"{sender}/{number}")
            if not self._store.check([key]):
                return
            content = self._store.get(key)
            self._store.delete_key(key)
            self._count[sender] = number + 1
            yield content

    def _key(self, name: str = "state") -> str:
        return f"lrtrack/loss/{self._kind}/{self._number}/{name}"


def _find() -> Place | None:
    """Return the place of this process in its default process group; None before there is one."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return None
    store = group_store()
    if not hasattr(store, "check"):
        raise RuntimeError("the process group has no key-value store")
    if hasattr(store, "clone"):  # its own connection, which no call of the training waits for
        store = store.clone()
        store.set_timeout(_TIMEOUT)
    return Place(store, rank(), distributed.get_world_size())


class Message(NamedTuple):
    """Losses that one process sends.

    Attributes:
        steps: the losses by step.
        until: the last step whose losses do not change any more.
        is_last: whether the process sends no more.
    """

    steps: Mapping[int, Losses]
    until: int
    is_last: bool


def encode(steps: Sequence[tuple[int, Losses]], until: int, *, is_last: bool) -> bytes:
    """Encode a `Message` with the losses of at most `MOST_STEPS` steps; later ones count."""
    return json.dumps({"steps": steps, "until": until, "last": is_last}).encode()


def decode(content: bytes) -> Message:
    """Decode a message; what is no loss is left out, because anyone can write to the store."""
    try:
        message = json.loads(content) if len(content) <= _MOST_BYTES else {}
        entries = message["steps"][:MOST_STEPS]
        steps: dict[int, Losses] = {}
        for step, losses in entries:
            if _is_step(step):
                steps[step] = {**steps.get(step, {}), **_losses(losses)}
        until: Any = message.get("until")
        return Message(steps, until if _is_step(until) else 0, message.get("last") is True)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Message({}, 0, is_last=False)


def _is_step(step: Any) -> bool:
    return type(step) is int and 0 <= step <= _LARGEST


def _losses(losses: Any) -> Losses:
    return {name: value for name, value in losses.items() if type(value) is float}
