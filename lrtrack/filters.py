"""Filters of runs: `FIELD OP VALUE`, with one meaning for every tracker.

A tracker may translate a filter into its own language to fetch less; `select` then decides which of
the fetched runs pass.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from lrtrack._optional import load
from lrtrack.errors import UsageError, warn
from lrtrack.fields import JSON, TEXT, names_of, resolve, text_of, unknown_field

T = TypeVar("T")

#: The types of a value in a filter.
Value = str | int | float | bool | None

OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "~")
_ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip

_QUOTED = r""""(?:[^"]|"")*"|'(?:[^']|'')*'|`(?:[^`]|``)*`"""
_FILTER = re.compile(
    rf"\s*(?P<field>{_QUOTED}|[^\s=!<>~\"'`]+)\s*(?P<op>!=|<=|>=|==|=|<|>|~)\s*(?P<value>.*?)\s*",
    re.DOTALL,
)
_TEXT_VALUE = re.compile(r""""(?:[^"]|"")*"|'(?:[^']|'')*'""", re.DOTALL)
_INTEGER = re.compile(r"[+-]?\d{1,300}", re.ASCII)
_NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[iI]nf(inity)?)", re.ASCII)
_WORDS: dict[str, Value] = {"true": True, "false": False, "null": None}
# Signs of a tracker's own language: conditions joined by `and`, and the names of its entities.
_JOINED = re.compile(r"\s(and|or)\s+\S+\s*([=!<>~]|like\b|ilike\b|in\b)", re.IGNORECASE)
_VENDOR = re.compile(r"(params?|parameters?|metrics?|attr(ibute)?s?|tag|summary(_metrics)?)\.")
_LONGEST_PATTERN = 1000


@dataclass(frozen=True)
class Filter:
    """One condition on a field of a run: `seed < 5`, `config.data = "CIFAR 10"`, `name ~ ^warm`.

    A value is a number, `true`, `false`, `null`, or text. Text may be quoted with `"` or `'`, where
    a quote inside is doubled; quoted text is never a number. A field name with spaces is quoted as
    a whole.

    Values compare as follows:

    - A number compares with numbers, and with text that reads as a number, as MLflow stores params
      as text. Every other value is unequal to a number, and neither smaller nor larger.
    - `true` and `false` equal truth values, and text that reads as one.
    - A run without the field has the value `null`. It equals `null` only; with any other value,
      `!=` selects the run and every other operator does not.
    - Everything else compares as the text that tags show. Ids and names always compare as text
      (`lrtrack.fields.TEXT`). Upper and lower case matter, except in `state`.
    - `~` searches the text for a regular expression in RE2 syntax, in linear time.

    Attributes:
        field: the field's name, as the user wrote it; see `lrtrack.fields.resolve`.
        op: one of `OPERATORS`.
        value: the value to compare with; for `~` the pattern.
    """

    field: str
    op: str
    value: Value

    def __post_init__(self) -> None:
        if self.op not in OPERATORS:
            raise UsageError(f"Unknown operator {self.op!r}. Available: {' '.join(OPERATORS)}.")
        if isinstance(self.value, float) and math.isnan(self.value):
            object.__setattr__(self, "value", "nan")  # as text, it equals itself
        if self.op == "~":
            _check_pattern(self.value)
        if self.op in _ORDERED and (self.value is None or isinstance(self.value, bool)):
            raise UsageError(
                f"{text_of(self.value)} has no order: {self}. Fix: use = or !=, or quote the value."
            )

    @classmethod
    def parse(cls, text: str) -> Filter:
        """Read `FIELD OP VALUE`.

        Raises:
            UsageError: the text is no such condition; the message also names the option for the
                tracker's own language.
        """
        match = _FILTER.fullmatch(text)
        if match is None or text.lstrip().startswith("{"):
            raise _unreadable(text, f"it is not FIELD OP VALUE with one of {_OPS}")
        field, op, value = match["field"], match["op"].replace("==", "="), match["value"]
        if field[0] not in "\"'`" and (vendor := _VENDOR.match(field)):
            raise _unreadable(text, f"no field begins with {vendor[0]!r}", _OWN_FIELDS)
        field = _unquoted(field)
        if not field:
            raise _unreadable(text, "the field has no name")
        if not value:
            raise _unreadable(text, f"there is no value after {op}")
        if value[0] in "=!<>~":
            raise _unreadable(text, f"{op}{value[0]} is no operator", "quote the value, ")
        if value[0] in "\"'":
            if _TEXT_VALUE.fullmatch(value) is None:
                raise _unreadable(text, "the value does not end at its closing quote")
            return cls(field, op, _unquoted(value))
        if _JOINED.search(value):
            raise _unreadable(text, "it has several conditions", "repeat --filter for each, ")
        return cls(field, op, value if op == "~" else _value_of(value))

    def __str__(self) -> str:
        field = self.field
        bare = re.fullmatch(r"[^\s=!<>~\"'`]+", field) and not _VENDOR.match(field)
        if not bare or field.startswith("{"):
            field = _quoted(field)
        value = _quoted(self.value) if isinstance(self.value, str) else _text(self.value)
        return f"{field} {self.op} {value}"

    def holds(self, value: JSON) -> bool:
        """Whether the condition holds for a field's value.

        Args:
            value: the value of the field in a run; None if the run lacks the field.
        """
        if self.op == "!=":
            return not self._equals(value)
        if self.op == "=":
            return self._equals(value)
        if value is None:
            return False
        if self.op == "~":
            return _search(str(self.value), text_of(value))
        compare = _ORDERED[self.op]
        if _is_number(self.value) and self.field not in TEXT:
            number = _number_of(value)
            return number is not None and compare(number, self.value)
        return compare(self._text(value), self._text(self.value))

    def _equals(self, value: JSON) -> bool:
        if self.value is None or value is None:
            return (value is None or value == "null") and self.value is None
        if self.field in TEXT:
            return self._text(value) == self._text(self.value)
        if isinstance(self.value, bool):
            return _text(value).lower() == text_of(self.value)
        if _is_number(self.value):
            number = _number_of(value)
            return number is not None and number == self.value
        return _text(value) == self.value

    def _text(self, value: JSON) -> str:
        text = _text(value)
        return text.upper() if self.field == "state" else text


def filters_of(filters: str | Filter | Iterable[str | Filter]) -> tuple[Filter, ...]:
    """Read one filter or several; items that are read already stay as they are.

    Raises:
        UsageError: one of them cannot be read.
    """
    items = [filters] if isinstance(filters, str | Filter) else filters
    return tuple(item if isinstance(item, Filter) else Filter.parse(item) for item in items)


def select(
    items: Iterable[T],
    filters: Sequence[Filter],
    fields_of: Callable[[T], Mapping[str, JSON]],
) -> list[T]:
    """Keep the items for which all filters hold, in their order.

    Args:
        items: runs, in any form.
        filters: the conditions, all of which must hold.
        fields_of: returns the fields of an item, under the names of `Run.fields`.

    Raises:
        UsageError: a field is ambiguous, or no run passes because none has one of the fields.
    """
    every = list(items)
    if not filters or not every:
        return every
    rows = [fields_of(item) for item in every]
    known = names_of(rows)
    tests = [(condition, resolve(condition.field, known)) for condition in filters]
    kept = [
        item
        for item, row in zip(every, rows, strict=True)
        if all(_exact(test, name).holds(row.get(name) if name else None) for test, name in tests)
    ]
    for condition, name in tests:
        if name is not None:
            continue
        if not kept:
            raise unknown_field("filter by", condition.field, known)
        warn(f"No run has the field {condition.field!r}, so {condition} holds for all of them")
    return kept


def is_late(condition: Filter) -> bool:
    """Whether a condition asks for the schedule: in others' runs, only the rates show it."""
    return condition.field in ("schedule", "scheduler") or condition.field.startswith("scheduler.")


def no_raw_filters(tracker: str, filters: Sequence[str]) -> None:
    """Refuse filters in a tracker's own language, for a tracker that has none.

    Raises:
        UsageError: there are any.
    """
    if filters:
        raise UsageError(
            f"The {tracker} tracker has no filter language of its own. Fix: use --filter (in "
            'Python, filters=), for example "seed < 5", instead of --filter-raw.'
        )


def _exact(condition: Filter, name: str | None) -> Filter:
    """The condition on the field's full name, which decides whether it compares as text."""
    if name is None or name == condition.field:
        return condition
    return Filter(name, condition.op, condition.value)


_OPS = " ".join(OPERATORS)
_OWN_FIELDS = "write config.NAME, tags.NAME, scheduler.NAME or optimizer.NAME, "


def _unreadable(text: str, reason: str, fix: str = "") -> UsageError:
    fix = fix or 'write for example "seed < 5" or "scheduler.name = StepLR", '
    return UsageError(
        f"Cannot read the filter {text!r}: {reason}. Fix: {fix}or use --filter-raw (in Python, "
        "filter_raw=) for the tracker's own language."
    )


def _value_of(text: str) -> Value:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        number = float(text)
        # A literal beyond the range of floats stays text, as no run can have such a number.
        return number if math.isfinite(number) or "i" in text.lower() else text
    return text


def _is_number(value: JSON) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number_of(value: JSON) -> int | float | None:
    """A number, or text that reads as one; None for anything else."""
    if isinstance(value, str):
        value = _value_of(value.strip())
    return value if _is_number(value) else None


def _text(value: JSON) -> str:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else text_of(value)


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _unquoted(text: str) -> str:
    quote = text[0]
    return text[1:-1].replace(quote * 2, quote) if quote in "\"'`" else text


def _check_pattern(pattern: Value) -> None:
    if not isinstance(pattern, str):
        raise UsageError(f"~ takes a regular expression as text, not {pattern!r}.")
    if len(pattern) > _LONGEST_PATTERN:
        raise UsageError(
            f"The regular expression has {len(pattern):,} characters; the limit is "
            f"{_LONGEST_PATTERN:,}."
        )
    _search(pattern, "")


def _search(pattern: str, text: str) -> bool:
    # Arrow uses RE2, which takes linear time; Python's `re` may take exponential time.
    array = load("pyarrow").array([text])
    try:
        return bool(load("pyarrow.compute").match_substring_regex(array, pattern)[0].as_py())
    except ValueError as error:
        reason = str(error).partition("\n")[0].removeprefix("Invalid regular expression: ")
        raise UsageError(
            f"Cannot read the regular expression {pattern!r}: {reason}. Fix: use RE2 syntax, which "
            "has no look-around and no back-references."
        ) from error
