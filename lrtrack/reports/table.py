"""A report's table: titles, cells and text, independent of the output format."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Tone(StrEnum):
    """The meaning of a cell, for renderers that have colours."""

    PLAIN = "plain"
    GOOD = "good"
    BAD = "bad"
    FAINT = "faint"


@dataclass(frozen=True)
class Cell:
    """One cell: text without control characters, and a shorter form for narrow tables.

    Attributes:
        link: the address of a page about it, for formats that have links.
    """

    text: str
    short: str = ""
    tone: Tone = Tone.PLAIN
    link: str | None = None


@dataclass(frozen=True)
class Column:
    """One column: its title and how to make its cell from a row's data.

    Attributes:
        cell: returns the cell of one row, given the data of that row.
        number: whether cells are aligned right and shortened only to their own short form.
        weight: 0 for a column that is always shown; where space is short, columns with larger
            weights are dropped first.
        whole: whether cells are never shortened although they are text.
        holds: numbers keep their long form until columns of this weight would be dropped.
        group: columns of one group, of the same weight, are shown or dropped together.
        short_title: the title where no cell has room for its long form; empty: the same.
        note: how the column's numbers are computed; `Report.footnotes` has it too.
    """

    title: str
    cell: Callable[[Any], Cell]
    number: bool = True
    weight: int = 0
    whole: bool = False
    note: str = ""
    holds: int | None = None
    short_title: str = ""
    group: str = ""


def rows_of(columns: Iterable[Column], rows: Iterable[Any]) -> tuple[tuple[Cell, ...], ...]:
    """The cells of a table, row by row."""
    columns = tuple(columns)
    return tuple(tuple(column.cell(row) for column in columns) for row in rows)


@dataclass(frozen=True)
class Report:
    """A table and its text, independent of the output format.

    Attributes:
        headline: the result in one sentence.
        footnotes: how to read the table and how its numbers were computed.
        warnings: reasons why the comparison may be unfair or inconclusive.
        shortened: a note for renderers that had to shorten cells or drop columns.
        diagnoses: the diagnoses of single runs, one line each.
        names: the short name of each schedule, in the order of the rows.
    """

    title: str
    headline: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    footnotes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    shortened: str = ""
    diagnoses: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
