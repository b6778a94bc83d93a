"""Reading the runs below a log directory."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lrtrack._optional import load
from lrtrack.errors import warn
from lrtrack.filters import no_raw_filters
from lrtrack.records import History, State
from lrtrack.records.alignment import MAX_TIME, OddRun
from lrtrack.records.logged import LoggedRun, interpret
from lrtrack.trackers import per_run
from lrtrack.trackers.base import ALL, Progress, Query
from lrtrack.trackers.tensorboard import contents, event_file
from lrtrack.trackers.tensorboard.contents import Contents
from lrtrack.trackers.tensorboard.folders import Folder, folders_in, log_directory

NAME = "tensorboard"
#: A larger folder below a run is a run of its own, not settings of that run.
_LARGEST_SUMMARY = 2**18
#: Seconds since the last write within which a file that ends inside a record is still written:
#: writers flush every two minutes.
_RECENT = 300.0


@dataclass(frozen=True)
class _Source:
    """A run: its folder, and folders below it with nothing but its settings."""

    folder: Folder
    started: float
    summaries: tuple[Contents, ...] = ()


def read(query: Query, progress: Progress | None) -> Iterator[History]:
    """Read the runs below the log directory that the query names, newest first.

    Each folder with event files is a run. lrtrack itself writes none, so a query for its own runs
    finds nothing.
    """
    no_raw_filters(NAME, query.raw_filters)
    root = log_directory(query)
    load("tensorboard.compat.proto.event_pb2", "tensorboard")
    folders = folders_in(root)
    if query.runs != ALL:
        return
    left_out = per_run.LeftOut()
    sources = _sources(folders)
    damaged: list[str] = []

    def histories_of(source: _Source) -> list[History]:
        return _histories(source, query, left_out, damaged)

    for histories in per_run.read_each(
        sources, histories_of, lambda source: source.folder.name, left_out, progress=progress
    ):
        yield from histories
    if damaged:
        more = f" (and {len(damaged) - 1} more files)" if len(damaged) > 1 else ""
        warn(f"{damaged[0]}{more}; it is read up to there.")


def _sources(folders: Sequence[Folder]) -> list[_Source]:
    """The runs, newest first, with their settings from folders below them."""
    by_path = {folder.path: folder for folder in folders}
    summaries: dict[Folder, list[Contents]] = {}
    runs: list[Folder] = []
    for folder in folders:
        above = by_path.get(folder.path.parent)
        found = None if above is None or folder.size > _LARGEST_SUMMARY else _summary(folder)
        if above is None or found is None:
            runs.append(folder)
        else:
            summaries.setdefault(above, []).append(found)
    sources = [
        _Source(folder, _started(folder), tuple(summaries.get(folder, ()))) for folder in runs
    ]
    return sorted(sources, key=lambda source: (-source.started, source.folder.name))


def _summary(folder: Folder) -> Contents | None:
    """What a small folder holds, if it is nothing but settings of the run above it."""
    try:
        content = contents.read(folder.files)
    except Exception:  # it is reported where it is read as a run
        return None
    return content if content.is_summary() else None


def _started(folder: Folder) -> float:
    """When the first event was written, in seconds since the epoch."""
    moments = (_first_moment(path) for path in folder.files)
    return next((moment for moment in moments if moment is not None), folder.changed)


def _first_moment(path: Path) -> float | None:
    try:
        record = event_file.first_record(path)
        moment = None if record is None else contents.time_of(record)
    except Exception:  # it is reported where the run is read
        return None
    return None if moment is None or not 0 <= moment < MAX_TIME else moment


def _histories(
    source: _Source, query: Query, left_out: per_run.LeftOut, damaged: list[str]
) -> list[History]:
    """Read one run; none if its files hold neither metrics nor settings.

    Args:
        source: the run.
        query: what is asked for.
        left_out: records values without a valid step or time.
        damaged: collects the files that are damaged.
    """
    folder = source.folder
    content = contents.read(folder.files)
    if content.damage is not None:
        damaged.append(content.damage)
    for summary in source.summaries:
        content.add_summary(summary)
    if not content.metrics and not content.params:
        if content.damage is not None:
            raise OddRun("nothing of it can be read")
        return []
    state = _state(content, folder)
    logged = LoggedRun(
        id=hashlib.sha256(str(folder.path).encode("utf-8", "backslashreplace")).hexdigest()[:16],
        name=folder.name,
        tracker=NAME,
        state=state,
        metrics=content.metrics,
        experiment=query.experiment,
        started=source.started,
        ended=None if state is State.RUNNING or math.isinf(content.last) else content.last,
        params=content.params,
        tags={"folder": str(folder.path)},
    )
    interpretation = interpret(logged, query.roles)
    if interpretation.odd:
        left_out.note_rows(lambda: folder.name, interpretation.odd, per_run.ODD_ROWS)
    return [per_run.checked(interpretation.history)]


def _state(content: Contents, folder: Folder) -> State:
    """How the run ended, as far as event files show it: a writer that was closed leaves no mark."""
    if content.is_torn and time.time() - folder.changed < _RECENT:
        return State.RUNNING
    return State.FAILED if content.failed or content.damage is not None else State.FINISHED
