"""L2 norms of gradients as the optimizer receives them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from lrtrack.capture.device_scalars import Scalar, hold
from lrtrack.capture.group_names import group_names
from lrtrack.capture.sharded import Spread, attendance, is_shared, local, spread, total

Group = dict[str, Any]
#: Groups of an optimizer → metric name → norm.
Measure = Callable[[Sequence[Group]], dict[str, Scalar]]
#: Parameters with the name of the part that each belongs to; "" for no part.
Parts = list[tuple[str, torch.Tensor]]

#: Up to this many numbers in host memory, adding them up is faster than building a tensor.
_FEW = 64

_ORDINARY = (torch.Tensor, torch.nn.Parameter)
#: Types in which squares overflow or underflow no earlier than they should.
EXACT = (torch.float32, torch.float64)

KINDS = ("global", "group", "layer", "off")


def measure(kind: str, model: torch.nn.Module | None) -> Measure:
    """Return the function that computes the norms at each step.

    Args:
        kind: one of `KINDS`. The finer ones compute the global norm from their parts, so that every
            gradient is read once.
        model: provides the parameter names for `"layer"`.
    """
    if kind == "off":
        return lambda groups: {}
    if kind == "group":
        return lambda groups: _measured(_by_group(groups))
    if kind == "layer" and model is not None:
        names = {id(p): name for name, p in model.named_parameters()}
        return lambda groups: _measured([(names.get(id(p), ""), p) for p in _parameters(groups)])
    return _global


def _parameters(groups: Sequence[Group]) -> Iterator[torch.Tensor]:
    return (parameter for group in groups for parameter in group["params"])


def _global(groups: Sequence[Group]) -> dict[str, Scalar]:
    """Return the norm over everything, with a fast path for dense gradients on this process."""
    gradients, device = [], None
    for group in groups:
        for parameter in group["params"]:
            gradient = parameter.grad
            if gradient is None:
                if type(parameter) in _ORDINARY:
                    continue
                return _anyhow(groups)
            if (
                type(gradient) not in _ORDINARY
                or gradient.dtype not in EXACT
                or gradient.layout is not torch.strided
                or (device is not None and gradient.device != device)
            ):
                return _anyhow(groups)
            device = gradient.device
            gradients.append(gradient)
    if not gradients:
        return {}
    enabled = torch.is_grad_enabled()
    torch._C._set_grad_enabled(False)  # like `no_grad`, at a third of its cost
    try:
        return _named("grad_norm", list(torch._foreach_norm(gradients, 2.0)))
    finally:
        torch._C._set_grad_enabled(enabled)


@torch.no_grad()
def _anyhow(groups: Sequence[Group]) -> dict[str, Scalar]:
    return _measured([("", parameter) for parameter in _parameters(groups)])


def _by_group(groups: Sequence[Group]) -> Parts:
    named = zip(group_names(groups), groups, strict=True)
    return [(name, parameter) for name, group in named for parameter in group["params"]]


@torch.no_grad()
def _measured(parameters: Parts) -> dict[str, Scalar]:
    """Return the norm over everything and over each part."""
    whole: Parts = []
    shared: Parts = []
    for name, parameter in parameters:
        gradient = parameter.grad
        if is_shared(parameter if gradient is None else gradient):
            shared.append((name, parameter))
        elif gradient is not None:
            whole.append((name, gradient))
    norms: dict[str, list[torch.Tensor]] = {}
    for (name, _), norm in zip(whole, _norms([gradient for _, gradient in whole]), strict=True):
        norms.setdefault(name, []).append(norm)
    for name, norm in _over_processes(shared):
        norms.setdefault(name, []).append(norm)
    metrics = _named("grad_norm", [norm for part_norms in norms.values() for norm in part_norms])
    for name, part_norms in norms.items():
        if name:
            metrics |= _named(f"grad_norm/{name}", part_norms)
    return metrics


def _over_processes(parameters: Parts) -> list[tuple[str, torch.Tensor]]:
    """Return norms of gradients that several processes share, with one collective per mesh.

    The computation depends on the parameters, not on which of them have a gradient here: every
    process has to take part, with zeros if it has no gradients.
    """
    shards: dict[Spread, dict[str, list[torch.Tensor]]] = {}
    for name, parameter in parameters:
        if parameter.grad is not None:
            part, over = local(parameter.grad)
            shards.setdefault(over, {}).setdefault(name, []).append(part)
        elif parameter.requires_grad:
            shards.setdefault(spread(parameter), {}).setdefault(name, [])
    attendance.require(shards)
    norms = []
    for over, named in shards.items():
        sums = total(_squares(list(named.values()), over), over)
        # parts without a gradient here still contribute zeros to the global sum
        names = [name if gradients else "" for name, gradients in named.items()]
        norms += list(zip(names, sums.sqrt().unbind(), strict=True))
    return norms if any(parameter.grad is not None for _, parameter in parameters) else []


def _squares(parts: Sequence[list[torch.Tensor]], over: Spread) -> torch.Tensor:
    """Return each part's sum of squares, shape (parts,), float64, to be added over processes."""
    norms = _norms([gradient for part in parts for gradient in part])
    if not norms:
        return torch.zeros(len(parts), dtype=torch.float64, device=over[0].device_type)
    if len({norm.dtype for norm in norms}) > 1:
        norms = [norm.double() for norm in norms]
    squares = torch.stack(norms).double().square()
    counts = [len(part) for part in parts]
    if all(count == 1 for count in counts):
        return squares
    return torch.stack([each.sum() for each in torch.split(squares, counts)])


def _norms(gradients: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return one norm per gradient, in the same order; uses `_foreach_norm` if possible."""
    if gradients and all(_simple(g) for g in gradients) and len({g.device for g in gradients}) == 1:
        return list(torch._foreach_norm(gradients, 2.0))
    return [_one(gradient) for gradient in gradients]


def _simple(gradient: torch.Tensor) -> bool:
    return (
        gradient.layout is torch.strided and gradient.dtype in EXACT and type(gradient) in _ORDINARY
    )


def _one(gradient: torch.Tensor) -> torch.Tensor:
    if gradient.is_sparse:  # repeated indices add up before they are squared
        gradient = gradient.coalesce().values()
    elif gradient.layout is not torch.strided:
        gradient = gradient.values()
    # Squares of half-precision numbers overflow in their own type.
    wide = gradient.dtype in (torch.float16, torch.bfloat16)
    dtype = torch.float32 if wide else None
    norm: torch.Tensor = torch.linalg.vector_norm(gradient, 2.0, dtype=dtype)
    return norm


def _named(name: str, norms: list[torch.Tensor]) -> dict[str, Scalar]:
    """Return the L2 norm of `norms` under `name`; nothing if there is no gradient."""
    if not norms:
        return {}
    if len(norms) == 1:
        return {name: hold(norms[0])}
    if len(norms) <= _FEW and all(norm.is_cpu for norm in norms):
        return {name: math.hypot(*[norm.item() for norm in norms])}
    first = norms[0]
    alike = all(norm.device == first.device and norm.dtype == first.dtype for norm in norms)
    if not alike:
        wide = torch.float32 if first.device.type == "mps" else torch.float64
        norms = [norm.to(first.device, wide) for norm in norms]
    return {name: hold(torch.linalg.vector_norm(torch.stack(norms), 2.0))}
