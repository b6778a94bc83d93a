"""Watches the upload of a run from the training process, and warns about problems."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection
from pathlib import Path
from typing import Any

from lrtrack.errors import notice, warn
from lrtrack.journal.gate import is_closed
from lrtrack.journal.layout import Layout
from lrtrack.records import Run
from lrtrack.shipping.courier import Courier
from lrtrack.shipping.cursor import Cursor
from lrtrack.shipping.left_runs import LeftRun
from lrtrack.shipping.progress import cursors, journal_size, wait


class UploadMonitor:
    """How far the upload of one run is.

    Args:
        run: the run.
        layout: its journal directory.
        journal: the path of its journal.
        courier: keeps the upload going.
    """

    def __init__(self, run: Run, layout: Layout, journal: Path, courier: Courier) -> None:
        self._run = run
        self._layout = layout
        self._journal = journal
        self._courier = courier
        self._warned = self._noted = False

    def start(self) -> None:
        """Start the upload."""
        self._noted = any(cursor.note for cursor in self._cursors())  # by an earlier process
        self._courier.start(portable=self._layout.marker(self._run.id).exists())

    def stop(self) -> None:
        """Stop the parts of the upload that run in this process. Idempotent."""
        self._courier.stop()

    def withdraw(self) -> bool:
        """Take the run back before any tracker has it; returns whether that was possible."""
        if any(cursor.remote_id or cursor.offset for cursor in self._cursors()):
            return False
        self.stop()
        self._layout.marker(self._run.id).unlink(missing_ok=True)
        return True

    def tick(self) -> None:
        """Keep the upload going and warn about problems; called a few times a second."""
        self._courier.ensure_queued()
        self._courier.ensure_shipper()
        if self._layout.root not in _examined:
            _examined.add(self._layout.root)
            _name_left_runs(list(self._courier.left_runs()), self._layout.root)
        if not (self._warned and self._noted):
            for cursor in self._cursors():
                self._show_note(cursor)
                # A single failure is no reason for a warning: the request is retried soon.
                if cursor.error is not None and (cursor.given_up or cursor.failures > 1):
                    self._warn_of_failure(cursor)

    def flush(self, timeout: float) -> None:
        """Wait until what the journal holds now is uploaded, at most `timeout` seconds."""
        size = journal_size(self._journal)
        self._courier.wake_shipper()
        names = [target.tracker for target in self._run.targets]
        held = {name for name in names if is_closed(self._layout.gate(self._run.id, name))}
        self._wait(size, lambda cursor: cursor.offset >= size, timeout, held)

    def hurry(self) -> None:
        """Have the uploading process read the journal right away."""
        self._courier.wake_shipper()

    def finish(self, timeout: float, skipped: Collection[str] = ()) -> None:
        """Wait for the upload of a run whose journal is closed.

        Args:
            timeout: seconds to wait at most.
            skipped: names of trackers not to wait for.
        """
        size = journal_size(self._journal)

        def is_complete(cursor: Cursor) -> bool:
            return cursor.closed and cursor.offset >= size

        self._wait(size, is_complete, timeout, skipped)
        states = self._cursors(skipped)
        for cursor in states:
            self._show_note(cursor)
            if cursor.missing is not None and is_complete(cursor):
                _warn_of_missing_part(cursor.missing)
        late = [cursor for cursor in states if not is_complete(cursor)]
        for cursor in late:
            if cursor.error is not None:
                self._warn_of_failure(cursor)
        if late and timeout > 0 and not self._warned:
            self._warned = True
            warn(
                f"Upload is still running in the background (after {timeout:g} s). Until it is "
                f"done, the steps are kept in {self._layout.root}."
            )

    def first_cursor(self, timeout: float) -> Cursor | None:
        """The state of the first tracker, after waiting for its run id at most `timeout` seconds.

        None if the run has no tracker to upload to.
        """
        first = self._cursors()[:1]
        if first and first[0].remote_id is None:
            is_opened = lambda cursor: bool(cursor.remote_id or cursor.error)  # noqa: E731
            wait(lambda: self._cursors()[:1], is_opened, 0, timeout)
            first = self._cursors()[:1]
        return first[0] if first else None

    def _show_note(self, cursor: Cursor) -> None:
        """Print what users should know about the run in the tracker, once."""
        if cursor.note is not None and not self._noted:
            self._noted = True
            notice(cursor.note)

    def _warn_of_failure(self, cursor: Cursor) -> None:
        """Warn once that the upload is stuck, and why."""
        if self._warned:
            return
        self._warned = True
        # Advice to set credentials is left out if they have been set since the run began.
        news = self._courier.changed_credentials() if cursor.refused else ""
        reason = f"{cursor.error}: {news}" if news else str(cursor.trouble)
        kept = f"Training continues; the steps are kept in {self._layout.root}"
        if cursor.given_up:  # nothing changes until the user changes something
            warn(
                f"lrtrack cannot upload this run: {_closed(reason)} {kept}, and `lrtrack sync` "
                "uploads them once this is fixed."
            )
            return
        warn(
            f"lrtrack cannot upload at the moment: {_closed(reason)} {kept} and uploaded later, "
            "or by `lrtrack sync`."
        )

    def _wait(self, size: int, done: Any, timeout: float, skipped: Collection[str] = ()) -> None:
        wait(lambda: self._cursors(skipped), done, size, timeout, self._courier.ensure_shipper)

    def _cursors(self, skipped: Collection[str] = ()) -> list[Cursor]:
        targets = [t for t in self._run.targets if t.delivers and t.tracker not in skipped]
        return cursors(self._layout, self._run.id, targets)


#: The journal directories in which this process has looked for runs of other machines.
_examined: set[Path] = set()
#: How many of these runs a message names.
_NAMED = 3


def _name_left_runs(runs: list[LeftRun], root: Path) -> None:
    """Tell the user of runs that no training uploads, unlike others of machines that are gone."""
    if not runs:
        return
    names = [f"{run.name} (on {run.host})" for run in runs[:_NAMED]]
    names += [f"{len(runs) - _NAMED} more"] if len(runs) > _NAMED else []
    many = "A run" if len(runs) == 1 else f"{len(runs)} runs"
    foreign = any(run.is_foreign for run in runs)
    fix = f"`lrtrack sync --adopt {shlex.quote(str(root))}`" if foreign else "`lrtrack sync`"
    notice(
        f"{many} in {root} {'was' if len(runs) == 1 else 'were'} recorded elsewhere, with other "
        f"credentials or another user's key, and not uploaded: {', '.join(names)}. Fix: run {fix}."
    )


def _closed(sentence: str) -> str:
    """The sentence with a full stop."""
    return sentence if sentence.endswith((".", "!", "?", "…")) else f"{sentence}."


#: Kinds of missing parts that this process has warned about.
_reported: set[str] = set()


def _warn_of_missing_part(missing: str) -> None:
    """Warn once per process that trackers lack a part of the runs; run ids have 32 digits."""
    kind = re.sub(r"[0-9a-f]{32}", "", missing)
    if kind not in _reported:
        _reported.add(kind)
        warn(
            f"lrtrack stored the run, without {missing}. Its steps and its end are in the tracker, "
            "and reports read them there. This warning is not repeated for later runs."
        )
