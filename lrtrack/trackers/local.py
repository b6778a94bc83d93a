"""The local tracker: the journals themselves, written by every run anyway."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa

from lrtrack.errors import JournalError, NothingFound, UsageError, unknown, warn
from lrtrack.journal.layout import Layout
from lrtrack.journal.reader import JournalReader
from lrtrack.records import History, Run, State, Target
from lrtrack.schedules import text_of
from lrtrack.trackers import columns
from lrtrack.trackers.base import Progress, Query, Sink

_COMPARE = re.compile(r"\s*([\w./-]+)\s*(!=|<=|>=|==?|<|>)\s*(.+?)\s*")
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class LocalTracker:
    """Reads journals; writes nothing, as the journal is the store."""

    name = "local"
    portable = True

    def active(self) -> bool:
        """Never: nobody opens a journal by hand."""
        return False

    def status(self) -> str:
        """The journals need nobody's answer."""
        return "the journals below"

    def target(self, experiment: str | None, default: str = "lrtrack") -> Target:
        """Runs are told apart by the experiment's name alone."""
        return Target(self.name, experiment=experiment or default)

    def sink(self, run: Run, target: Target, remote_id: str | None) -> Sink | None:
        """None: nothing is to be delivered."""
        return None

    def histories(self, query: Query, progress: Progress | None = None) -> Iterator[History]:
        """Read the journals of an experiment, newest first; broken ones are named and left out."""
        tests = [_test(expression) for expression in query.filters]
        runs = list(_runs(query))
        if query.experiment is not None:
            known = {run.experiment or "lrtrack" for _, run in runs}
            if query.experiment not in known:
                where = f"in the journals under {query.directory}"
                raise NothingFound(f"{unknown('experiment', query.experiment, known)} ({where})")
            runs = [pair for pair in runs if (pair[1].experiment or "lrtrack") == query.experiment]
        runs = [(reader, run) for reader, run in runs if all(test(run) for test in tests)]
        for done, (reader, run) in enumerate(runs, 1):
            try:
                history = _history(reader, run)
            except (OSError, pa.ArrowException) as error:  # removed, or unreadable since
                warn(f"cannot read {reader.path}: {error}; it is left out")
            else:
                yield history
            if progress is not None:
                progress(done, len(runs))


def _runs(query: Query) -> Iterator[tuple[JournalReader, Run]]:
    for path in Layout(query.directory).journals():
        try:
            reader = JournalReader(path)
            yield reader, reader.run
        except (JournalError, OSError) as error:
            warn(f"{error}; it is left out")


def _history(reader: JournalReader, run: Run) -> History:
    alive = reader.alive()
    table, ending = reader.table()
    if ending is not None:
        state, ended = ending.state, ending.time
    elif alive:
        state, ended = State.RUNNING, None
    else:  # killed: nobody was left to write how it ended
        state = State.FAILED
        ended = float(table["time"][-1].as_py()) if table.num_rows else run.started
    return History(run, state, LocalTracker.name, **columns.arrays(table), ended=ended)


def fields(run: Run) -> dict[str, Any]:
    """What a filter may ask: identity, `scheduler.…`, `optimizer.…`, config and tags."""
    found: dict[str, Any] = {**run.tags, **run.config}
    found |= {"name": run.name, "group": run.group, "seed": run.seed, "device": run.device_type}
    found |= {"scheduler": run.schedule.name, "optimizer": run.optimizer.get("name")}
    found |= {f"scheduler.{key}": value for key, value in run.schedule.flat().items()}
    found |= {f"optimizer.{key}": value for key, value in run.optimizer.items()}
    return found | {"scheduler.id": run.schedule.id}


def _test(expression: str) -> Callable[[Run], bool]:
    """Parse `FIELD OP VALUE`; numbers compare as numbers, all else as text."""
    match = _COMPARE.fullmatch(expression)
    if match is None:
        raise UsageError(
            f"Cannot read the filter {expression!r}: write FIELD OP VALUE with one of "
            f"{' '.join(_OPERATORS)}, for instance seed=0 or optimizer.lr<0.1"
        )
    field, sign, text = match.groups()
    wanted = text.strip("'\"")

    def holds(run: Run) -> bool:
        value = fields(run).get(field)
        if value is None:
            return False
        try:
            return _OPERATORS[sign](float(value), float(wanted))
        except (TypeError, ValueError):
            return _OPERATORS[sign](text_of(value), wanted)

    return holds
