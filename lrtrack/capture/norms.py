"""L2 norms of gradients as the optimizer receives them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from lrtrack.capture.scalars import Scalar, hold

Group = dict[str, Any]
#: Groups of an optimizer → metric name → norm.
Measure = Callable[[Sequence[Group]], dict[str, Scalar]]

KINDS = ("global", "group", "layer", "off")


def measure(kind: str, model: torch.nn.Module | None) -> Measure:
    """Choose what is computed each step.

    Args:
        kind: one of `KINDS`; the finer ones compute the global norm from their parts, so that
            every gradient is read once.
        model: gives the parameters' names for `"layer"`.
    """
    if kind == "off":
        return lambda groups: {}
    if kind == "group":
        return _by_group
    if kind == "layer" and model is not None:
        names = {id(p): name for name, p in model.named_parameters()}
        return lambda groups: _by_layer(groups, names)
    return lambda groups: _named("grad_norm", _norms(_gradients(groups)))


def group_name(group: Group, index: int) -> str:
    """A param group's `"name"`, else its index."""
    return str(group.get("name", index))


def _by_group(groups: Sequence[Group]) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {}
    parts = []
    for index, group in enumerate(groups):
        norms = _norms(_gradients([group]))
        parts += norms
        found |= _named(f"grad_norm/{group_name(group, index)}", norms)
    return _named("grad_norm", parts) | found


def _by_layer(groups: Sequence[Group], names: dict[int, str]) -> dict[str, Scalar]:
    parameters = [p for group in groups for p in group["params"] if p.grad is not None]
    norms = _norms([p.grad for p in parameters])
    found = _named("grad_norm", norms)
    for parameter, norm in zip(parameters, norms, strict=True):
        if id(parameter) in names:
            found[f"grad_norm/{names[id(parameter)]}"] = hold(norm)
    return found


def _gradients(groups: Iterable[Group]) -> list[torch.Tensor]:
    return [p.grad for group in groups for p in group["params"] if p.grad is not None]


@torch.no_grad()
def _norms(gradients: list[torch.Tensor]) -> list[torch.Tensor]:
    """One norm a gradient, in the same order; `_foreach_norm` where it applies."""
    if gradients and all(_simple(g) for g in gradients) and len({g.device for g in gradients}) == 1:
        return list(torch._foreach_norm(gradients, 2.0))
    return [_one(gradient) for gradient in gradients]


def _simple(gradient: torch.Tensor) -> bool:
    return (
        gradient.layout is torch.strided
        and gradient.dtype in (torch.float32, torch.float64)
        and type(gradient) in (torch.Tensor, torch.nn.Parameter)
    )


def _one(gradient: torch.Tensor) -> torch.Tensor:
    if gradient.is_sparse:  # repeated indices add up before they are squared
        gradient = gradient.coalesce().values()
    elif gradient.layout is not torch.strided:
        gradient = gradient.values()
    # Squares of half-precision numbers overflow in their own type.
    wide = gradient.dtype in (torch.float16, torch.bfloat16)
    norm = torch.linalg.vector_norm(gradient, 2.0, dtype=torch.float32 if wide else None)
    full = getattr(norm, "full_tensor", None)  # DTensor: the global norm, every rank takes part
    whole: torch.Tensor = full() if full is not None else norm
    return whole


@torch.no_grad()
def _named(name: str, norms: list[torch.Tensor]) -> dict[str, Scalar]:
    """The L2 norm of `norms` under `name`; nothing where there is no gradient."""
    if not norms:
        return {}
    if len(norms) == 1:
        return {name: hold(norms[0])}
    first = norms[0]
    alike = all(norm.device == first.device and norm.dtype == first.dtype for norm in norms)
    if not alike:
        wide = torch.float32 if first.device.type == "mps" else torch.float64
        norms = [norm.to(first.device, wide) for norm in norms]
    return {name: hold(torch.linalg.vector_norm(torch.stack(norms), 2.0))}
