"""The momentum and weight decay of an optimizer, which some schedules change."""

from __future__ import annotations

from typing import Any

import torch

from lrtrack.capture.norms import Group

# Tuples, because `int | float` would build a new type at every step.
_NUMBERS, _SEQUENCES = (int, float, torch.Tensor), (list, tuple)


def where_momentum_is(groups: list[Group]) -> tuple[str, Any]:
    """Return the key of group 0's momentum and its value, so that a change is seen by identity.

    If the value may change in place, an object that is never identical to it.
    """
    group = groups[0] if groups else {}
    key = "betas" if group.get("momentum") is None else "momentum"
    value = group.get(key)
    parts = value if type(value) is tuple else (value,)
    rests = all(part is None or type(part) in (int, float) for part in parts)
    return key, value if rests else object()


def momentum_of(groups: list[Group]) -> float | None:
    """Return group 0's `momentum`, or the first of its `betas`; None if it has neither."""
    if not groups:
        return None
    value = groups[0].get("momentum")
    if value is None:
        betas = groups[0].get("betas")
        value = betas[0] if isinstance(betas, _SEQUENCES) and betas else None
    return float(value) if isinstance(value, _NUMBERS) else None


def decay_of(groups: list[Group]) -> Any:
    """Return group 0's `weight_decay`, a number or a tensor; None if it has none."""
    value = groups[0].get("weight_decay") if groups else None
    return value if isinstance(value, _NUMBERS) else None
