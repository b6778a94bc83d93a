"""Parts of a curve that one kind of schedule describes, and their text in the spec language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lrtrack.fields import JSON
from lrtrack.schedules.catalogue import INTERVAL, LASTS, SKIP
from lrtrack.schedules.schedule import CONSTANT
from lrtrack.schedules.spec import Stage

Values = NDArray[np.float64]

#: Parameters that are rates where a piece holds them, and factors of the initial rate in a spec.
_LEVELS = ("start", "end", "factor")
#: torch's default of `LinearLR`, the class of a warm-up.
_DEFAULT_START = 1.0 / 3
#: How close to 0 or 1 a factor is the same, and how far above 1 noise may lift it.
_NOTHING, _ABOVE = 1e-9, 1e-3


@dataclass(frozen=True)
class Piece:
    """One part of a curve.

    Attributes:
        kind: its name in the catalogue.
        params: its parameters by their short names; `start`, `end` and `factor` are rates.
        base: the initial rate of the schedule that it needs; None if any will do.
        lasts: optimizer steps until the next piece begins; None for the last one.
        interval: optimizer steps between two steps of the schedule.
    """

    kind: str
    params: Mapping[str, JSON] = field(default_factory=dict)
    base: float | None = None
    lasts: int | None = None
    interval: int = 1

    def until(self, lasts: int) -> Piece:
        """This piece, followed by another one after `lasts` steps."""
        return replace(self, lasts=lasts)

    def at_intervals(self, interval: int) -> Piece:
        """This piece, moved once in `interval` steps."""
        lasts = None if self.lasts is None else self.lasts * interval
        return replace(self, interval=interval, lasts=lasts)


def base_of(pieces: Sequence[Piece], peak: float) -> float:
    """The initial rate that a chain of pieces needs; else its largest rate, at least `peak`."""
    needed = [piece.base for piece in pieces if piece.base is not None]
    levels = [piece.params.get(key) for piece in pieces for key in _LEVELS]
    return max(needed or [peak, *(level for level in levels if isinstance(level, float))])


def stages(pieces: Sequence[Piece], base: float, digits: int) -> list[Stage]:
    """The stages of a spec for a chain of pieces.

    Args:
        pieces: the chain.
        base: the initial learning rate.
        digits: significant digits of numbers that are not counts.
    """
    return [_stage(piece, base, digits) for piece in pieces]


def _stage(piece: Piece, base: float, digits: int) -> Stage:
    params: dict[str, JSON] = {}
    for key, value in piece.params.items():
        if key in _LEVELS and isinstance(value, float):
            value = value / base if base else 0.0
            value = _factor(value)
        params[key] = _rounded(value, digits)
    name = piece.kind
    if name == "linear" and params["start"] == params["end"]:
        name, params = CONSTANT, {"factor": params["start"]}
    if name == "linear" and params["end"] == 1 and params["start"] != 1:
        name = "warmup"
        del params["end"]
        if params["start"] == _rounded(_DEFAULT_START, digits):
            del params["start"]
    if name == CONSTANT and params.get("factor") == 1:
        del params["factor"]
    own = params.get("steps") if name in _LENGTHS else None
    left = own - params.get(SKIP, 0) if isinstance(own, int) else None
    if piece.lasts is not None and left != piece.lasts / piece.interval:
        params[LASTS] = piece.lasts
    if piece.interval > 1 and name != CONSTANT:
        params[INTERVAL] = piece.interval
    return Stage(name, params)


def _factor(value: float) -> float:
    """A factor as torch accepts it; the error of the text shows whether it still fits."""
    if abs(value) < _NOTHING:
        return 0.0
    return 1.0 if abs(value - 1.0) < _NOTHING or 1.0 < value < 1.0 + _ABOVE else value


#: Kinds whose `steps` are their length.
_LENGTHS = {
    "warmup", "linear", "cosine", "polynomial", "one_minus_sqrt", "onecycle", "wsd", "flat_cosine",
    CONSTANT,
}  # fmt: skip


def _rounded(value: JSON, digits: int) -> JSON:
    if isinstance(value, float):
        short = float(f"{value:.{digits}g}")
        return int(short) if short.is_integer() and abs(short) < 1e15 else short
    if isinstance(value, list):
        return [_rounded(inner, digits) for inner in value]
    return value


def merged(pieces: Sequence[Piece], peak: float) -> list[Piece] | None:
    """The chain as one `wsd` or `flat_cosine`, if it has that form."""
    base = base_of(pieces, peak)
    *before, last = pieces
    flat = before[-1] if before and before[-1].kind == CONSTANT else None
    if flat is None or any(piece.interval != last.interval for piece in pieces):
        return None
    interval, length = last.interval, last.params.get("steps")
    if not isinstance(length, int) or SKIP in last.params:
        return None
    if not _same(flat.params.get("factor"), base):
        return None
    stable = (flat.lasts or 0) // interval
    if stable < 2:  # a peak that is used twice, as in `(step + 1) / warmup`
        return None
    params: dict[str, JSON]
    if last.kind == "cosine" and len(before) == 1:
        low = {key: last.params[key] for key in ("min_lr",) if key in last.params}
        params = {"steps": stable + length, "flat": stable, **low}
        return [Piece("flat_cosine", params, base, interval=interval)]
    shape = {"linear": "linear", "one_minus_sqrt": "sqrt", "cosine": "cosine"}.get(last.kind)
    if shape is None or (last.kind == "linear" and not _same(last.params["start"], base)):
        return None
    warmup = before[0] if len(before) == 2 else None
    if len(before) > 2 or (warmup is not None and not _rises_to(warmup, base)):
        return None
    first = 0 if warmup is None else (warmup.lasts or 0) // interval
    params = {"steps": first + stable + length, "warmup": first, "decay": length}
    if warmup is not None and not _same(warmup.params["start"], base * _DEFAULT_START):
        params["start"] = warmup.params["start"]
    params |= {"shape": shape} if shape != "linear" else {}
    params |= {key: last.params[key] for key in ("end", "min_lr") if last.params.get(key)}
    return [Piece("wsd", params, base, interval=interval)]


def joined(pieces: Sequence[Piece]) -> list[Piece] | None:
    """The chain without constant rates at which the line before them ends; None if it has none.

    A line keeps its last rate, so `warmup(steps=9, lasts=10)` says what a constant rate would.
    """
    chain = list(pieces[:1])
    for piece in pieces[1:]:
        line = chain[-1]
        if piece.kind == CONSTANT and piece.lasts is not None and _ends_at(line, piece):
            chain[-1] = line.until((line.lasts or 0) + piece.lasts)
        else:
            chain.append(piece)
    return chain if len(chain) < len(pieces) else None


def _ends_at(line: Piece, flat: Piece) -> bool:
    end, level = line.params.get("end"), flat.params.get("factor")
    whole = line.params.get("steps") == (line.lasts or 0) / line.interval
    return line.kind == "linear" and whole and isinstance(level, float) and _same(end, level)


def _rises_to(piece: Piece, level: float) -> bool:
    whole = piece.params.get("steps") == (piece.lasts or 0) // piece.interval
    return piece.kind == "linear" and whole and _same(piece.params["end"], level)


def _same(value: JSON, level: float) -> bool:
    return isinstance(value, float) and abs(value - level) <= 1e-4 * abs(level)
