"""The parameters of schedules and the settings of runs, as columns of tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lrtrack.errors import clean
from lrtrack.reports.formatting import NONE
from lrtrack.schedules import Schedule
from lrtrack.schedules.schedule import SOURCE
from lrtrack.stats import ComparisonResult
from lrtrack.stats.setup_diff import settings_of

#: The most columns, and the most cells that a table gets in them.
_COLUMNS, _CELLS = 40, 20_000
_LENGTH = 80


@dataclass(frozen=True)
class Parameters:
    """Columns of a table: its titles, and their cells row by row.

    Attributes:
        numbers: for each column whether all its values are numbers.
    """

    titles: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[bool, ...]


def parameters_of(schedule: Schedule) -> dict[str, str]:
    """A schedule's parameters with dotted names, and the names of its inner schedules."""
    return {name: text for name, text in schedule.flat().items() if name not in ("name", SOURCE)}


def of_schedules(comparison: ComparisonResult) -> Parameters:
    """The parameters of the schedules, one row each; those that runs of a row share if it mixes
    several.
    """
    return _columns(
        [
            parameters_of(Schedule(item.schedule, item.params, item.source))
            for item in comparison.schedules
        ]
    )


def of_runs(comparison: ComparisonResult) -> Parameters:
    """The parameters of each run's schedule, and the settings in which runs differ."""
    settings = [settings_of(history) for history in comparison.histories]
    names = dict.fromkeys(name for run in settings for name in run)
    telling = [name for name in names if len({run.get(name) for run in settings}) > 1]
    return _columns(
        [
            {
                **parameters_of(history.run.schedule),
                **{name: run[name] for name in telling if name in run},
            }
            for history, run in zip(comparison.histories, settings, strict=True)
        ]
    )


def _columns(rows: Sequence[Mapping[str, str]]) -> Parameters:
    """Columns for all names, those that most rows have first."""
    users: dict[str, int] = {}
    for row in rows:
        for name in row:
            users[name] = users.get(name, 0) + 1
    most = min(_COLUMNS, _CELLS // max(1, len(rows)))
    names = sorted(users, key=lambda name: -users[name])[:most]
    return Parameters(
        titles=tuple(_cut(name) for name in names),
        rows=tuple(tuple(_cut(row[name]) if name in row else NONE for name in names)
                   for row in rows),
        numbers=tuple(_are_numbers(row[name] for row in rows if name in row) for name in names),
    )  # fmt: skip


def _cut(text: str) -> str:
    text = clean(text)
    return text if len(text) <= _LENGTH else text[: _LENGTH - 1] + "…"


def _are_numbers(values: Iterable[str]) -> bool:
    try:
        return all(float(value) is not None for value in values)
    except ValueError:
        return False
