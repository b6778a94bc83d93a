"""How far an optimizer's steps move the weights, beside the norm of the weights.

An update is the difference of the weights before and after a step, computed in float32 or better.
So it holds what the step really did: with momentum, weight decay, and the rounding of weights in
half precision. What changes the weights between two steps is no part of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from lrtrack.capture.device_scalars import Scalar, quotient
from lrtrack.capture.norms import (
    EXACT,
    Group,
    Parts,
    Shards,
    are_simple,
    by_part,
    naming,
    norms_of,
)
from lrtrack.capture.sharded import is_shared, local, spread

#: Elements of half precision that are widened at once, which bounds the memory for that.
_PIECE = 2**24


@dataclass(slots=True)
class Kept:
    """A parameter and its weights before the step; None if the step cannot change them."""

    parameter: torch.Tensor
    before: torch.Tensor | None = None


class UpdateNorms:
    """Measures single steps of one optimizer.

    Parameters that the optimizer cannot move, which are frozen and have no gradient, count in the
    norm of the weights and as 0 in that of the update. They are not copied. Parameters of integers
    and those without a shape so far count in neither.

    Attributes:
        stride: the number of steps from one that is measured to the next.
        kept: the parameters by their parts, from `keep` to `measure`; empty at other times.
        weights: the norms of the weights when `weigh` was last called, by metric.

    Args:
        stride: see above.
        norms, model: as in `track()`; they name the parts.
    """

    def __init__(self, stride: int, norms: str, model: torch.nn.Module | None) -> None:
        self.stride = stride
        self.weights: dict[str, Scalar] = {}
        self._parts = naming(norms, model)
        self.kept: list[tuple[str, Kept]] = []
        self._failure: Exception | None = None

    @torch.no_grad()
    def weigh(self, groups: Sequence[Group]) -> None:
        """Compute the norms of the weights as they are now."""
        self.weights = {}
        whole: Parts = []
        shards: Shards = []
        for name, parameter in self._floating(groups):
            if is_shared(parameter):
                shards.append((name, spread(parameter), _here(parameter)))
            else:
                whole.append((name, parameter.detach()))
        self.weights = by_part("weight_norm", whole, shards, norms_of)

    @torch.no_grad()
    def keep(self, groups: Sequence[Group]) -> None:
        """Copy the weights that the step may change."""
        self.kept = [(name, Kept(parameter)) for name, parameter in self._floating(groups)]
        try:
            for _, kept in self.kept:
                parameter = kept.parameter
                if parameter.requires_grad or parameter.grad is not None:
                    kept.before = _here(parameter).clone()
        except Exception as error:  # too little memory; yet other processes wait in `measure`
            self._failure = error
            for _, kept in self.kept:
                kept.before = None

    @torch.no_grad()
    def measure(self) -> dict[str, Any]:
        """Return the norms of the update since `keep`, of the weights, and their quotients."""
        whole, shards = [], []
        try:
            for name, kept in self.kept:
                if is_shared(kept.parameter):
                    shards.append((name, spread(kept.parameter), kept))
                else:
                    whole.append((name, kept))
            updates = by_part("update_norm", whole, shards, self._moved)
        finally:
            self.drop()
        metrics: dict[str, Any] = {**updates, **self.weights}
        for name, update in updates.items():
            part = name.removeprefix("update_norm")
            weight = self.weights.get(f"weight_norm{part}")
            if weight is not None:
                metrics[f"update_ratio{part}"] = quotient(update, weight)
        return metrics

    def drop(self) -> None:
        """Drop the copies, and every reference to parameters. Idempotent."""
        self.kept, self._failure = [], None

    def _floating(self, groups: Sequence[Group]) -> Iterator[tuple[str, torch.Tensor]]:
        for name, parameter in self._parts(groups):
            if is_lazy(parameter):
                continue
            if parameter.is_floating_point() or parameter.is_complex():
                yield name, parameter

    def _moved(self, all_kept: list[Kept]) -> list[torch.Tensor]:
        """Return the norm of each update; uses up the copies."""
        if self._failure is not None:
            raise self._failure
        before, after = [], []
        movable = [kept.before is not None for kept in all_kept]
        for kept in all_kept:
            if kept.before is not None:
                before.append(kept.before)
                after.append(_here(kept.parameter))
                kept.before = None
        norms = _differences(before, after)
        return [
            next(norms) if moves else torch.zeros((), device=_here(kept.parameter).device)
            for kept, moves in zip(all_kept, movable, strict=True)
        ]


def _here(parameter: torch.Tensor) -> torch.Tensor:
    """Return what this process has of a parameter."""
    return local(parameter)[0].detach() if is_shared(parameter) else parameter.detach()


def _differences(before: list[torch.Tensor], after: list[torch.Tensor]) -> Iterator[torch.Tensor]:
    """Yield the norm of each difference; changes `before`, and empties it."""
    if are_simple([*before, *after]):
        torch._foreach_sub_(before, after)
        norms = torch._foreach_norm(before, 2.0)
        before.clear()
        yield from norms
        return
    before.reverse()
    for weights in after:  # frees each copy before the next is widened
        yield _difference(before.pop(), weights)


def _difference(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """Return the norm of a difference; changes `before`."""
    if before.dtype in EXACT or before.is_complex():
        return _norm(before.sub_(after))
    pairs = zip(_pieces(before), _pieces(after), strict=True)
    norms = [_norm(part.float().sub_(moved)) for part, moved in pairs]
    return norms[0] if len(norms) == 1 else _norm(torch.stack(norms))


def _pieces(tensor: torch.Tensor) -> Sequence[torch.Tensor]:
    """Return views of a tensor, of at most `_PIECE` elements where its rows are that short."""
    rows = tensor if tensor.dim() else tensor.reshape(1)
    pieces: Sequence[torch.Tensor] = torch.split(rows, max(1, _PIECE // max(1, rows[:1].numel())))
    return pieces


def _norm(tensor: torch.Tensor) -> torch.Tensor:
    norm: torch.Tensor = torch.linalg.vector_norm(tensor, 2.0)
    return norm
