"""The text form of schedules: `warmup(steps=100) -> cosine(steps=900, min_lr=1e-5)`.

spec   = stage { "->" stage }
stage  = NAME [ "(" [ NAME "=" value { "," NAME "=" value } ] ")" ]
value  = number | text | true | false | none | "[" values "]"
       | number ".." number [ "log" ]        a range, for sweeps
       | "{" values "}"                      alternatives, for sweeps
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any

from lrtrack.errors import UsageError

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<number>[+-]inf\b|[+-]?(?:\d+(?:\.(?!\.)\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
      | (?P<word>[A-Za-z_]\w*)
      | (?P<text>'[^']*'|"[^"]*")
      | (?P<sign>->|\.\.|[(),=\[\]{}])
      | (?P<end>$)
    )""",
    re.VERBOSE,
)
#: Number of characters that an error shows on either side of its position.
_AROUND = 100
#: Maximum nesting of lists; no parameter in torch takes more than one level.
_DEEPEST = 10
_WORDS: Mapping[str, Any] = {"true": True, "false": False, "none": None, "null": None}


class SpecError(UsageError):
    """A spec that cannot be parsed; the message points at the character."""

    def __init__(self, text: str, at: int, expected: str) -> None:
        begin = max(0, at - _AROUND) if len(text) > 2 * _AROUND else 0
        around = text[begin : begin + 2 * _AROUND]
        before, after = "…" if begin else "", "…" if begin + len(around) < len(text) else ""
        pointer = " " * (len(before) + at - begin) + "^"
        excerpt = f"{before}{around}{after}"
        super().__init__(f"Cannot read the schedule: {expected}\n  {excerpt}\n  {pointer}")
        self.at = at


@dataclass(frozen=True)
class Range:
    """All numbers from `low` to `high`; with `log`, spread evenly on a logarithmic scale."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Stage:
    """One schedule of a chain.

    Attributes:
        name: as written.
        params: as written; values are JSON, `Range` or `Choice`.
        at: position in the text at which the stage begins.
        places: position in the text of each parameter.
        text: the whole text; empty if the stage was not parsed from one.
    """

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)
    at: int = 0
    places: Mapping[str, int] = field(default_factory=dict)
    text: str = ""

    def wrong(self, what: str, param: str = "") -> UsageError:
        """Return an error that points at the stage, or at a parameter if one is given."""
        if not self.text:
            return UsageError(what)
        return SpecError(self.text, self.places.get(param, self.at), what)


def parse(text: str) -> list[Stage]:
    """Parse a spec.

    Raises:
        SpecError: the text is not a spec; the message gives the position and what was expected.
    """
    return _Parser(text).spec()


def write(stages: list[Stage]) -> str:
    """Return the text that `parse` reads as `stages`."""
    return " -> ".join(
        f"{stage.name}({', '.join(f'{key}={write_value(v)}' for key, v in stage.params.items())})"
        if stage.params
        else stage.name
        for stage in stages
    )


def write_value(value: Any) -> str:
    """Return the text of one value."""
    if isinstance(value, Range):
        return f"{value.low!r}..{value.high!r}{' log' if value.log else ''}"
    if isinstance(value, Choice):
        return "{" + ", ".join(map(write_value, value.values)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(write_value, value)) + "]"
    if value is None or isinstance(value, bool) or type(value).__name__ == "bool":  # or NumPy's
        return str(value).lower()
    if isinstance(value, str):
        return f"'{value}'" if "'" not in value else f'"{value}"'
    return repr(_python(value))


def _python(value: Any) -> Any:
    """Convert a NumPy number, which a sweep may pass, to a Python number."""
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value


class _Parser:
    """A recursive descent parser; `_kind`, `_text` and `_at` describe the next token."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._after = 0
        self._depth = 0
        self._advance()

    def _advance(self) -> None:
        match = _TOKEN.match(self._source, self._after)
        if match is None:
            at = len(self._source) - len(self._source[self._after :].lstrip())
            raise SpecError(self._source, at, f"unexpected character {self._source[at]!r}.")
        self._kind = str(match.lastgroup)
        self._text = match[self._kind]
        self._at = match.start(self._kind)
        self._after = match.end()

    def _fail(self, expected: str) -> SpecError:
        text = self._text if len(self._text) <= _AROUND else f"{self._text[:_AROUND]}…"
        actual = f"found {text!r}" if text else "the text ends"
        return SpecError(self._source, self._at, f"expected {expected}, but {actual}.")

    def _take(self, sign: str) -> bool:
        if self._kind == "sign" and self._text == sign:
            self._advance()
            return True
        return False

    def _need(self, *signs: str) -> str:
        for sign in signs:
            if self._take(sign):
                return sign
        raise self._fail(" or ".join(repr(sign) for sign in signs))

    def spec(self) -> list[Stage]:
        stages = [self._stage()]
        while self._take("->"):
            stages.append(self._stage())
        if self._kind != "end":
            raise self._fail("'->' or the end")
        return stages

    def _stage(self) -> Stage:
        if self._kind != "word":
            raise self._fail("the name of a schedule")
        name, at = self._text, self._at
        self._advance()
        params: dict[str, Any] = {}
        places: dict[str, int] = {}
        if self._take("(") and not self._take(")"):
            while True:
                self._param(params, places)
                if self._need(",", ")") == ")":
                    break
        return Stage(name, params, at, places)

    def _param(self, params: dict[str, Any], places: dict[str, int]) -> None:
        if self._kind != "word":
            raise self._fail("the name of a parameter")
        name, at = self._text, self._at
        if name in params:
            raise SpecError(
                self._source, at, f"{name} is given more than once. Fix: keep one of them."
            )
        self._advance()
        self._need("=")
        params[name], places[name] = self._choice(), at

    def _choice(self) -> Any:
        if self._take("{"):
            return Choice(tuple(self._values("}")))
        return self._scalar()

    def _values(self, closing: str) -> list[Any]:
        values: list[Any] = []
        while not self._take(closing):
            if values:
                self._need(",")
            values.append(self._scalar())
        return values

    def _scalar(self) -> Any:
        kind, text, at = self._kind, self._text, self._at
        if self._take("["):
            self._depth += 1
            if self._depth > _DEEPEST:
                raise SpecError(self._source, at, f"lists are nested more than {_DEEPEST} deep.")
            values = self._values("]")
            self._depth -= 1
            return values
        if kind == "number":
            self._advance()
            return self._range(_number(text), at)
        if kind == "text":
            self._advance()
            return text[1:-1]
        if kind == "word":
            self._advance()
            lowered = text.lower()
            if lowered in ("inf", "nan"):
                return float(lowered)
            return _WORDS.get(lowered, text)
        raise self._fail("a value")

    def _range(self, low: float, at: int) -> Any:
        if not self._take(".."):
            return low
        if self._kind != "number":
            raise self._fail("the upper end of the range")
        high = _number(self._text)
        self._advance()
        log = self._kind == "word" and self._text == "log"
        if log:
            self._advance()
        if not low < high:
            raise SpecError(
                self._source, at, "a range must have its lower end below its upper end."
            )
        if log and low <= 0:
            raise SpecError(self._source, at, "a log range must start above 0.")
        return Range(low, high, log)


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)
