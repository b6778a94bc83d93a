"""The momentum of an optimizer, which some schedules move."""

from __future__ import annotations

from typing import Any

import torch

from lrtrack.capture.norms import Group

# As tuples: `int | float` would build a new type at every step.
_NUMBERS, _SEQUENCES = (int, float, torch.Tensor), (list, tuple)


def where_momentum_is(groups: list[Group]) -> tuple[str, Any]:
    """The key of group 0's momentum and what it holds, which is the same for as long as it rests.

    Where that may change inside, an object that it never is.
    """
    group = groups[0] if groups else {}
    key = "betas" if group.get("momentum") is None else "momentum"
    held = group.get(key)
    parts = held if type(held) is tuple else (held,)
    rests = all(part is None or type(part) in (int, float) for part in parts)
    return key, held if rests else object()


def momentum_of(groups: list[Group]) -> float | None:
    """Momentum of group 0: `momentum`, or the first of `betas`; None where it has neither."""
    if not groups:
        return None
    value = groups[0].get("momentum")
    if value is None:
        betas = groups[0].get("betas")
        value = betas[0] if isinstance(betas, _SEQUENCES) and betas else None
    return float(value) if isinstance(value, _NUMBERS) else None
