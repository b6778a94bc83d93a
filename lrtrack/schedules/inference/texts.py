"""The spec text of a chain of pieces, and its distance from a curve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lrtrack.errors import UsageError
from lrtrack.schedules.closed_form import rates
from lrtrack.schedules.inference.pieces import Piece, Values, base_of, stages
from lrtrack.schedules.spec import Stage

#: Significant digits that are tried, the fewest first; with the last, numbers are exact.
_DIGITS = (3, 4, 6, 9, 12, 17)
#: How much further from the curve shortened numbers may lift a chain.
_WORSE = 1.1
#: Parameters that may not be above 1.
_FACTORS = ("start", "end", "factor")


def error_of(pieces: Sequence[Piece], t: Values, y: Values) -> float:
    """The largest distance of a chain from a curve; infinite if the chain is invalid."""
    base = base_of(pieces, float(y.max()))
    return distance(stages(pieces, base, _DIGITS[-1]), base, t, y)


def distance(chain: Sequence[Stage], base: float, t: Values, y: Values) -> float:
    """The largest distance of a spec from a curve; infinite if the spec is invalid."""
    if any(
        stage.params.get(name, 0) > 1
        for stage in chain
        for name in _FACTORS
        if stage.name != "cosine_restarts"
    ):
        return float("inf")  # torch refuses them
    try:
        with np.errstate(all="ignore"):
            values = rates(chain, t, base)
    except (UsageError, ArithmeticError, ValueError):
        return float("inf")
    largest = float(np.abs(values - y).max())
    return largest if np.isfinite(largest) else float("inf")


def shortened(chain: list[Stage], base: float, t: Values, y: Values, near: float) -> list[Stage]:
    """The chain with as few digits in each number as keep it within `near` of the curve."""
    near = max(near, distance(chain, base, t, y))
    for at, stage in enumerate(chain):
        for name, value in stage.params.items():
            if not isinstance(value, float):
                continue
            for digits in _DIGITS:
                short = float(f"{value:.{digits}g}")
                if short == value:
                    break
                plain = int(short) if short.is_integer() else short
                stage = replace(chain[at], params={**chain[at].params, name: plain})
                if distance([*chain[:at], stage, *chain[at + 1 :]], base, t, y) <= near:
                    chain = [*chain[:at], stage, *chain[at + 1 :]]
                    break
    return chain


def shortest(
    pieces: Sequence[Piece], t: Values, y: Values, tight: float, near: float
) -> tuple[list[Stage], float] | None:
    """The shortest spec of a chain, and the initial learning rate.

    Args:
        pieces: the chain.
        t: steps, shape (n,).
        y: learning rates, shape (n,).
        tight: how far the exact chain may be from the curve.
        near: how far the chain with shortened numbers may be from it, if the exact one is nearer.

    Returns:
        None if the chain does not describe the curve.
    """
    base = base_of(pieces, float(y.max()))
    exact = stages(pieces, base, _DIGITS[-1])
    error = distance(exact, base, t, y)
    if error > tight:
        return None
    near = max(near, min(_WORSE * error, tight))
    round_base = float(f"{base:.6g}")
    for digits in _DIGITS:
        for level in (round_base, base):
            short = stages(pieces, level, digits)
            if distance(short, level, t, y) <= near:
                return short, level
    return exact, base
