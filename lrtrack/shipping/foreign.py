"""Journals that this user did not write: reported, and accepted at the user's request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lrtrack.errors import ForeignJournal, JournalError, UsageError
from lrtrack.journal.layout import Layout, touch
from lrtrack.journal.reader import JournalReader
from lrtrack.records import Run, Target


@dataclass(frozen=True)
class Foreign:
    """A journal that this user neither wrote nor accepted.

    Attributes:
        reader: the journal.
        run: its run, as the journal describes it.
    """

    reader: JournalReader
    run: Run


def foreign(layout: Layout) -> Iterator[Foreign]:
    """Yields the journals that this user neither wrote nor accepted, newest first.

    Journals without a readable run are left out: there is nothing to accept.
    """
    for path in layout.journals():
        try:
            reader = JournalReader(path)
            _ = reader.run
        except ForeignJournal:
            yield Foreign(reader, reader.claimed_run)
        except (JournalError, OSError):
            continue


def layout_of(directory: Path) -> Layout:
    """Returns the journal directory that the user means: `directory`, or the `.lrtrack` in it.

    Raises:
        UsageError: neither is a journal directory.
    """
    for root in (directory, directory / ".lrtrack"):
        if (root / "runs").is_dir():
            return Layout(root.absolute())
    raise UsageError(
        f"{directory} is not a journal directory: it has neither `runs` nor `.lrtrack/runs` in it. "
        "Fix: give the directory that holds the journals."
    )


def adopt(layout: Layout, journals: list[Foreign]) -> None:
    """Accepts the journals, and queues those that must be delivered.

    Raises:
        JournalError: an acceptance cannot be stored, or the directory cannot be written.
    """
    layout.create()
    for journal in journals:
        journal.reader.adopt()
        if any(target.portable and target.delivers for target in journal.run.targets):
            touch(layout.marker(journal.run.id))


def destination(target: Target) -> str:
    """Returns where a target sends its run, and with which settings."""
    if not target.delivers:
        return f"{target.tracker}: stays in this directory"
    place = target.uri or "its default address"
    into = target.run_id and f"run {target.run_id}"
    into = into or f"experiment {target.experiment or target.experiment_id}"
    settings = " ".join(f"{name}={value}" for name, value in sorted(target.environment.items()))
    return f"{target.tracker} at {place}, {into}" + (f", with {settings}" if settings else "")
