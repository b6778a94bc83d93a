"""The losses of all processes, as their mean in the first one's rows. See `rank_losses`."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from lrtrack.capture import device_scalars
from lrtrack.capture.rank_mail import Losses, Mailbox, decode
from lrtrack.capture.step_capture import OnStep
from lrtrack.errors import warn
from lrtrack.journal.step_rows import Row
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Rewind
from lrtrack.tracking.captures import Capture
from lrtrack.tracking.loss_exchange import (
    MOST_ROWS,
    PATIENCE,
    PATIENCE_AFTER_FAILURE,
    PATIENCE_AT_END,
    Exchange,
)

#: Steps whose losses are kept after their row was written: a round may be written in parts.
_KEPT = 64


class Pending:
    """A loss that stands for the mean over all processes until it is known.

    Attributes:
        made: the number of the step in this process.
        own: this process's loss; None if it has none.
        since: when the step was made, by a monotonic clock, in seconds.
    """

    __slots__ = ("made", "own", "since")

    def __init__(self, made: int, own: Any, since: float) -> None:
        self.made = made
        self.own = own
        self.since = since


class GatheredLosses(Exchange):
    """Turns the losses of the first process into means over all processes.

    It decides which rows of the journal may be written (a `Hold`).
    """

    def __init__(self, mailbox: Mailbox, names: Sequence[str], prefix: str = "") -> None:
        super().__init__(mailbox, names, prefix)
        self._latest = self._released = 0
        self._changed = threading.Condition()
        self._losses: dict[int, dict[int, Losses]] = {}
        # Each process's last step that is complete, and that it has begun; infinite at its end.
        self._heard: dict[int, float] = {}
        self._begun: dict[int, float] = {}
        self._silent: set[int] | None = None  # None: all are, or unknown so far
        self._gave_up = False
        self._warned = False
        self._short: Counter[int] = Counter()

    def begin(self, capture: Capture, journal: JournalWriter | None) -> None:
        """Begin to hold rows of the journal back, unless there is none to write to."""
        if journal is not None:
            journal.hold(self)
            self._start()

    def holding(self, record: OnStep, capture: Capture, *, is_whole: bool) -> OnStep:
        """Return what replaces the losses of a step by `Pending` ones, and then calls `record`."""
        names = self._names

        def hold(step: int, when: float, metrics: dict[str, Any]) -> None:
            made, since = capture.made, time.monotonic()
            for name in names:
                # This process may lack a loss that another has, as in a pipeline's first stage.
                if name in metrics or (is_whole and name == "loss"):
                    metrics[name] = Pending(made, metrics.get(name), since)
            self._latest = made
            record(step, when, metrics)

        return hold

    def catch_up(self, *, has_failed: bool = False) -> None:
        """Wait a while for the losses of all steps so far; then, their rows wait no longer."""
        if self._thread is None or not self._latest:
            return
        latest = self._latest
        patience = PATIENCE_AFTER_FAILURE if has_failed else PATIENCE_AT_END
        self._wake.set()
        with self._changed:
            here = self._changed.wait_for(lambda: self._horizon(self._begun) >= latest, patience)
            if not here:
                self._give_up(self._begun, latest)
            self._released = latest

    def finish(self) -> None:
        """End the exchange, and warn if losses were missing. Idempotent."""
        self._gives_up = True  # `catch_up` has waited for the others
        super().finish()
        short, self._short = self._short, Counter()
        if short and not self._warned:
            counts = ", ".join(f"{n} of rank {sender}" for sender, n in sorted(short.items()))
            warn(
                f"The loss of some steps is the mean over only some of the processes, because "
                f"losses are missing: {counts}. Those processes made fewer steps, or ended early."
            )

    def ready(self, rows: Sequence[Row | Rewind]) -> int:
        """Return how many of the waiting rows, in order, can be written."""
        now = time.monotonic()
        with self._changed:
            horizon = max(self._horizon(self._heard), self._released)
            for at, row in enumerate(rows):
                pending = None if isinstance(row, Rewind) else self._pending(row)
                if pending is None or pending.made <= horizon:
                    continue
                if now - pending.since < PATIENCE and len(rows) - at <= MOST_ROWS:
                    return at
                self._give_up(self._heard, pending.made)
                horizon = self._horizon(self._heard)
        return len(rows)

    def settle(self, rows: Sequence[Row]) -> None:
        """Replace the rows' losses by means, and device scalars by floats, in place."""
        pending = [
            (metrics, key, value)
            for *_, metrics in rows
            for key in self._keys
            if isinstance(value := metrics.get(key), Pending)
        ]
        for metrics, key, value in pending:
            metrics[key] = value.own
            if value.own is None:
                del metrics[key]
        device_scalars.settle(rows)
        with self._changed:
            for metrics, key, value in pending:
                name = self._names[self._keys.index(key)]
                values = [metrics[key]] if key in metrics else []
                values += self._others(value.made, name)
                if values:
                    metrics[key] = sum(values) / len(values)
            if pending:
                self._forget(pending[-1][2].made - _KEPT)

    def _pending(self, row: Row) -> Pending | None:
        values = (row[2].get(key) for key in self._keys)
        return next((value for value in values if isinstance(value, Pending)), None)

    def _others(self, made: int, name: str) -> list[float]:
        for sender, steps in self._losses.items():
            self._short[sender] += name == "loss" and made not in steps
        self._short += Counter()  # without zeros
        losses = (steps.get(made, {}) for steps in self._losses.values())
        return [own[name] for own in losses if name in own]

    def _forget(self, made: int) -> None:
        for steps in self._losses.values():
            while steps and (first := next(iter(steps))) < made:
                del steps[first]

    def _horizon(self, known: dict[int, float]) -> float:
        """The last step that is `known` of all processes that still send losses."""
        if self._gave_up:
            return math.inf
        if self._silent is None:
            return -1
        last = (at for sender, at in known.items() if sender not in self._silent)
        return min(last, default=math.inf)

    def _give_up(self, known: dict[int, float], made: int) -> None:
        """Wait no longer for processes of which step `made` is not `known`."""
        if self._silent is None:
            self._gave_up = True
            self._warn("The processes of this training cannot find each other")
            return
        late = {sender for sender, at in known.items() if at < made} - self._silent
        self._silent |= late
        for sender in late:
            if not self._begun[sender]:  # what it may send later belongs to another block
                self._heard[sender] = self._begun[sender] = math.inf
        if late:
            ranks = ", ".join(map(str, sorted(late)))
            self._warn(f"No losses arrive from rank {ranks}")

    def _warn(self, what: str) -> None:
        if not self._warned:
            self._warned = True
            warn(
                f"{what}, so the recorded loss is the mean over the other processes. Fix: enter "
                'track(…, loss_over="mean") on every rank, with the blocks in the same order.'
            )

    def _exchange(self, is_last: bool) -> bool:
        if self._silent is None:
            with self._changed:
                self._silent, self._gave_up = set(), False
                self._heard = dict.fromkeys(self._mailbox.senders, 0)
                self._begun = dict(self._heard)
                self._losses = {sender: {} for sender in self._mailbox.senders}
        for sender, at in list(self._heard.items()):
            if at != math.inf:
                for content in self._mailbox.receive(sender):
                    self._take(sender, content)
        return True

    def _take(self, sender: int, content: bytes) -> None:
        message = decode(content)
        with self._changed:
            own = self._losses[sender]
            for step, losses in message.steps.items():
                own[step] = {**own.get(step, {}), **losses}
            while len(own) > MOST_ROWS:
                del own[next(iter(own))]
            begun = max(message.steps, default=0)
            self._heard[sender] = max(self._heard[sender], message.until)
            self._begun[sender] = max(self._begun[sender], begun, message.until)
            if message.is_last:
                self._heard[sender] = self._begun[sender] = math.inf
            if self._silent is not None:
                self._silent.discard(sender)
            self._changed.notify_all()

    def _stop(self, error: Exception) -> None:
        with self._changed:
            self._gave_up = True
            self._changed.notify_all()
        if not self._warned and not self._is_over:
            self._warned = True
            warn(
                f"lrtrack cannot gather the losses of other processes ({error}), so the recorded "
                "loss is that of rank 0 from here on."
            )
