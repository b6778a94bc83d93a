"""The local tracker: the journals themselves, which every run writes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from lrtrack.errors import ForeignJournal, JournalError, NothingFound, unknown, warn
from lrtrack.filters import no_raw_filters, select
from lrtrack.journal import history_table, overflow
from lrtrack.journal.layout import Layout
from lrtrack.journal.reader import JournalReader
from lrtrack.journal.unended import completed
from lrtrack.records import History, Run, State, Target
from lrtrack.trackers import per_run
from lrtrack.trackers.base import DEFAULT_EXPERIMENT, Progress, Query, Sink


class LocalTracker:
    """Reads journals. It writes nothing, as the journal is the store."""

    name = "local"
    portable = True

    def active(self) -> bool:
        """Always False: users cannot open a journal."""
        return False

    def status(self) -> str:
        """Refers to the list of journals, which `lrtrack doctor` prints below."""
        return "the journals below"

    def target(self, experiment: str | None, default: str = DEFAULT_EXPERIMENT) -> Target:
        """A journal in the journal directory, under the experiment's name."""
        return Target(self.name, experiment=experiment or default, delivers=False)

    def sink(self, run: Run, target: Target, remote_id: str | None) -> Sink | None:
        """None, as there is nothing to deliver."""
        return None

    def histories(self, query: Query, progress: Progress | None = None) -> Iterator[History]:
        """Read the journals of an experiment, newest first; warn about those that are broken.

        Raises:
            NothingFound: there is no such experiment.
            UsageError: a filter names a field that no run has, or there is a raw filter.
        """
        no_raw_filters(self.name, query.raw_filters)
        # By start time, as in other trackers; on a tie, the journal written last comes first.
        runs = sorted(_runs(query), key=lambda pair: -pair[1].started)
        if query.experiment is not None:
            known = {_experiment(run) for _, run in runs}
            if query.experiment not in known:
                where = f"in the journals under {query.directory}"
                raise NothingFound(f"{unknown('experiment', query.experiment, known)} ({where})")
            runs = [pair for pair in runs if _experiment(pair[1]) == query.experiment]
        # The state is at the end of a journal; `fetch` filters the histories by it.
        filters = [condition for condition in query.filters if condition.field != "state"]
        runs = select(runs, filters, lambda pair: pair[1].fields(tracker=self.name))
        left_out = per_run.LeftOut()
        yield from per_run.read_each(
            runs, partial(_read, left_out), _path, left_out, progress=progress
        )


def _experiment(run: Run) -> str:
    return run.experiment or DEFAULT_EXPERIMENT


def _path(pair: tuple[JournalReader, Run]) -> str:
    return str(pair[0].path)


def _read(left_out: per_run.LeftOut, pair: tuple[JournalReader, Run]) -> History:
    reader, run = pair
    history, odd = _history(reader, run)
    history = per_run.checked(history)
    if odd:
        left_out.note_rows(partial(_path, pair), odd, per_run.ODD_ROWS)
    if reader.damage:
        warn(f"{reader.path} is {reader.damage}; damaged records are left out")
    return history


def _runs(query: Query) -> Iterator[tuple[JournalReader, Run]]:
    foreign: list[ForeignJournal] = []
    layout = Layout(query.directory)
    if trouble := layout.trouble():
        raise NothingFound(f"Cannot read the journals under {layout.root}: {trouble}.")
    overflow.merge_all(layout.root / "runs")
    for path in layout.journals():
        try:
            reader = JournalReader(path)
            yield reader, reader.run
        except ForeignJournal as error:
            foreign.append(error)
        except JournalError as error:
            warn(f"{error}; it is left out")
        except Exception as error:  # the directory may hold any file
            warn(f"cannot read {path}: {error!r}; it is left out")
    if foreign:
        others = f" (and {len(foreign) - 1} other journals like it)" if len(foreign) > 1 else ""
        warn(f"{foreign[0]}{others}")


def _history(reader: JournalReader, run: Run) -> tuple[History, int]:
    """Returns the run, and how many of its rows make no sense and are left out."""
    alive = reader.alive()
    course = reader.course()
    table, odd = history_table.sound_rows(course.table)
    kept = history_table.affordable(table)
    if left_out := table.num_columns - kept.num_columns:
        warn(
            f"{reader.path}: {left_out:,} of its {table.num_columns - 2:,} metrics, those that "
            f"appear last, are left out: most of its {table.num_rows:,} steps have none of them, "
            "and all together would take too much memory"
        )
    ending = course.ending
    if ending is not None:
        state, ended = ending.state, ending.time
    elif alive:
        state, ended = State.RUNNING, None
    else:  # killed before it could record its end
        state = State.FAILED
        ended = float(table["time"][-1].as_py()) if table.num_rows else run.started
    arrays = history_table.arrays(kept)
    return History(completed(run, course), state, LocalTracker.name, **arrays, ended=ended), odd
