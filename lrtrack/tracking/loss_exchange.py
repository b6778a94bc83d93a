"""The thread with which a process exchanges its losses with the others, and the sending side.

The training threads only append to a list. See `rank_losses` for the whole.
"""

from __future__ import annotations

import atexit
import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from lrtrack.capture import device_scalars
from lrtrack.capture.optimizers import world_size
from lrtrack.capture.rank_mail import MOST_STEPS, Mailbox, encode
from lrtrack.capture.rounds import Rounds
from lrtrack.capture.step_capture import OnStep
from lrtrack.journal.step_rows import Row
from lrtrack.journal.writer import JournalWriter
from lrtrack.tracking.captures import Capture

#: Seconds between two exchanges; longer in a training of more processes than the store can serve.
PERIOD, _PROCESSES_PER_SECOND = 0.1, 400
#: Seconds that a row waits for the losses of other processes.
PATIENCE = 10.0
#: The same at the end of a run, and of one that failed: the others may be gone, and whoever started
#: the processes may end this one at any moment.
PATIENCE_AT_END, PATIENCE_AFTER_FAILURE = 5.0, 0.25
#: Seconds to wait for the thread to end.
_JOIN = 1.0
#: The most rows that wait, here or in another process.
MOST_ROWS = 100_000


class Alone:
    """Losses of a process that trains alone, or whose losses are its own: nothing is exchanged."""

    def begin(self, capture: Capture, journal: JournalWriter | None) -> None:
        """Begin to exchange losses."""

    def holding(self, record: OnStep, capture: Capture, *, is_whole: bool) -> OnStep:
        """Return `record`, or what prepares the losses of a step's metrics for it.

        Args:
            record: takes a step's record.
            capture: counts the steps.
            is_whole: whether a record has all metrics of its step.
        """
        return record

    def catch_up(self, *, has_failed: bool = False) -> None:
        """Wait a while until the other processes' losses of all steps so far are here."""

    def finish(self) -> None:
        """End the exchange, after the last step. Idempotent."""


class Exchange(Alone):
    """Has a thread that exchanges losses through a mailbox until `finish`.

    Args:
        mailbox: of this block.
        names: the metrics that are losses.
        prefix: the prefix of the block's metrics.
    """

    def __init__(self, mailbox: Mailbox, names: Sequence[str], prefix: str = "") -> None:
        self._mailbox = mailbox
        self._names = tuple(names)
        self._keys = tuple(prefix + name for name in names)
        self._is_over = self._gives_up = False
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def finish(self) -> None:
        """Exchange losses once more and end the thread. Idempotent."""
        self._is_over = True
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_JOIN)  # a store that is gone may keep it waiting
            if thread.is_alive():
                # Python ends daemon threads by force, which torch's code may not survive.
                atexit.register(self._quit, thread)

    def _quit(self, thread: threading.Thread) -> None:
        self._is_over = self._gives_up = True
        self._wake.set()
        thread.join(_JOIN)

    def _start(self) -> None:
        self._mailbox.reserve()
        self._thread = threading.Thread(target=self._work, name="lrtrack-ranks", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        period = max(PERIOD, world_size() / _PROCESSES_PER_SECOND)
        latest = math.inf
        try:
            while not self._gives_up and time.monotonic() < latest:
                self._wake.wait(period)
                self._wake.clear()
                is_over = self._is_over  # before the last look at what waits
                if self._mailbox.connect() and self._exchange(is_over) and is_over:
                    break
                if is_over:
                    latest = min(latest, time.monotonic() + PATIENCE)
            self._mailbox.close()
        except Exception as error:  # training continues whatever happens here
            self._stop(error)

    def _exchange(self, is_last: bool) -> bool:
        """Exchange what is new; returns whether that was possible."""
        raise NotImplementedError

    def _stop(self, error: Exception) -> None:
        raise NotImplementedError


class SentLosses(Exchange):
    """Sends the losses of a process to the first one; for all ranks but 0."""

    def __init__(self, mailbox: Mailbox, names: Sequence[str], prefix: str = "") -> None:
        super().__init__(mailbox, names, prefix)
        self._waiting: deque[Row] = deque(maxlen=MOST_ROWS)
        self._rounds: Rounds | None = None
        self._latest = self._until = 0

    def begin(self, capture: Capture, journal: JournalWriter | None) -> None:
        """Begin to send the losses of each step."""
        waiting, names = self._waiting, self._names

        def note(step: int, when: float, metrics: dict[str, Any]) -> None:
            losses = {name: metrics[name] for name in names if name in metrics}
            waiting.append((capture.made, when, losses))

        capture.on_step = note
        if isinstance(capture, Rounds):
            capture.on_change, self._rounds = note, capture
        self._start()

    def _exchange(self, is_last: bool) -> bool:
        open_round = self._publish()
        rows = [self._waiting.popleft() for _ in range(len(self._waiting))]
        device_scalars.settle(rows)
        self._latest = max([self._latest, *(made for made, *_ in rows[-1:])])
        until = self._latest if open_round is None else min(self._latest, open_round - 1)
        while rows or is_last or until > self._until:
            part, rest = rows[:MOST_STEPS], rows[MOST_STEPS:]
            losses = [(made, of_step) for made, _, of_step in part]
            sent = min(until, rest[0][0] - 1) if rest else until
            if not self._mailbox.send(encode(losses, sent, is_last=is_last and not rest)):
                self._waiting.extendleft(reversed(rows))  # the first process is slow
                return False
            rows, self._until = rest, sent
            if not rest:
                break
        return True

    def _publish(self) -> int | None:
        """Have a round that has not ended noted as it is, and return its number.

        The first process may wait for it, to save a checkpoint, before it goes on to a step that
        this process needs to end the round.
        """
        open_round = None if self._rounds is None else self._rounds.open_round
        if self._rounds is not None and open_round is not None:
            self._rounds.publish()
        return open_round

    def _stop(self, error: Exception) -> None:
        """Give up in silence: the first process, which has the store, is usually gone."""
        self._waiting.clear()
