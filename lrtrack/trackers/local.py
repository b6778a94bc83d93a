"""The local tracker: the journals themselves, written by every run anyway."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lrtrack.errors import ForeignJournal, JournalError, NothingFound, UsageError, unknown, warn
from lrtrack.journal import history_table, overflow
from lrtrack.journal.layout import Layout
from lrtrack.journal.reader import JournalReader
from lrtrack.records import History, Run, State, Target
from lrtrack.schedules import text_of
from lrtrack.trackers import per_run
from lrtrack.trackers.base import Progress, Query, Sink

# An operator at the beginning of the value is a mistake, as in `lr=<0.1`.
_COMPARE = re.compile(r"\s*([\w./-]+)\s*(!=|<=|>=|==?|<|>)\s*([^\s=<>!].*?)\s*")
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
        return Target(self.name, experiment=experiment or default, delivers=False)

    def sink(self, run: Run, target: Target, remote_id: str | None) -> Sink | None:
        """None: nothing is to be delivered."""
        return None

    def histories(self, query: Query, progress: Progress | None = None) -> Iterator[History]:
        """Read the journals of an experiment, newest first; broken ones are named and left out.

        Raises:
            NothingFound: no such experiment.
            UsageError: a filter that cannot be read, or asks for a field that no run has.
        """
        tests = [_Test.parse(expression) for expression in query.filters]
        # By the start, as other trackers do; of equal ones the journal written last goes first.
        runs = sorted(_runs(query), key=lambda pair: -pair[1].started)
        if query.experiment is not None:
            known = {run.experiment or "lrtrack" for _, run in runs}
            if query.experiment not in known:
                where = f"in the journals under {query.directory}"
                raise NothingFound(f"{unknown('experiment', query.experiment, known)} ({where})")
            runs = [pair for pair in runs if (pair[1].experiment or "lrtrack") == query.experiment]
        runs = _passing(runs, tests)
        yield from per_run.read_each(
            runs, _read, lambda pair: str(pair[0].path), per_run.LeftOut(), progress=progress
        )


def _read(pair: tuple[JournalReader, Run]) -> History:
    reader, run = pair
    history = per_run.checked(_history(reader, run))
    if reader.damage:
        warn(f"{reader.path} is {reader.damage}; what was there is left out")
    return history


def _runs(query: Query) -> Iterator[tuple[JournalReader, Run]]:
    foreign: list[ForeignJournal] = []
    layout = Layout(query.directory)
    overflow.merge_all(layout.root / "runs")
    for path in layout.journals():
        try:
            reader = JournalReader(path)
            yield reader, reader.run
        except ForeignJournal as error:
            foreign.append(error)
        except JournalError as error:
            warn(f"{error}; it is left out")
        except Exception as error:  # any file may lie in that directory
            warn(f"cannot read {path}: {error!r}; it is left out")
    if foreign:
        others = f" (and {len(foreign) - 1} others like it)" if len(foreign) > 1 else ""
        warn(f"{foreign[0]}{others}")


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
    whole = run if ending is None else ending.completed(run)
    return History(whole, state, LocalTracker.name, **history_table.arrays(table), ended=ended)


def fields(run: Run) -> dict[str, Any]:
    """What a filter may ask: identity, `scheduler.…`, `optimizer.…`, config and tags."""
    found: dict[str, Any] = {"kind": run.kind, **run.tags, **_dotted(run.config)}
    found |= {"name": run.name, "group": run.group, "seed": run.seed, "device": run.device_type}
    found |= {"scheduler": run.schedule.name, "optimizer": run.optimizer.get("name")}
    found |= {f"scheduler.{key}": value for key, value in run.schedule.flat().items()}
    found |= {f"optimizer.{key}": value for key, value in run.optimizer.items()}
    return found | {"scheduler.id": run.schedule.id}


def _dotted(config: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Inner mappings by dotted keys, as MLflow's params have them."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat |= _dotted(value, f"{before}{name}.")
        else:
            flat[before + name] = value
    return flat


@dataclass(frozen=True)
class _Test:
    """`FIELD OP VALUE`; numbers compare as numbers, all else as text."""

    field: str
    sign: str
    wanted: str

    @classmethod
    def parse(cls, expression: str) -> _Test:
        match = _COMPARE.fullmatch(expression)
        if match is None:
            raise UsageError(
                f"Cannot read the filter {expression!r}: write FIELD OP VALUE with one of "
                f"{' '.join(_OPERATORS)}, for instance seed=0 or optimizer.lr<0.1"
            )
        field, sign, text = match.groups()
        return cls(field, sign, text.strip("'\""))

    def holds(self, found: Mapping[str, Any]) -> bool:
        value = found.get(self.field)
        if value is None:
            return False
        text, compare = text_of(value), _OPERATORS[self.sign]
        # An id is hexadecimal: 12e45678 would be infinite as a number, like many another one.
        if text == self.wanted or self.field == "scheduler.id":
            return compare(text, self.wanted)
        try:
            return compare(float(value), float(self.wanted))
        except (TypeError, ValueError):
            return compare(text, self.wanted)


def _passing(
    runs: Sequence[tuple[JournalReader, Run]], tests: Sequence[_Test]
) -> list[tuple[JournalReader, Run]]:
    found = [fields(run) for _, run in runs]
    for test in tests:
        if runs and all(each.get(test.field) is None for each in found):
            known = {name for each in found for name, value in each.items() if value is not None}
            raise UsageError(unknown("field to filter by", test.field, known))
    pairs = zip(runs, found, strict=True)
    return [pair for pair, each in pairs if all(test.holds(each) for test in tests)]
