"""L2 norms over all parameters, and over named parts of them.

Those of gradients are as the optimizer receives them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
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
#: The name of a part, where its other parts are, and what this process has; None for nothing.
Shards = list[tuple[str, Spread, Any]]
#: What a process has of several parameters → the L2 norm of each.
Norms = Callable[[list[Any]], list[torch.Tensor]]

#: Up to this many numbers in host memory, adding them up is faster than building a tensor.
_FEW = 64

_ORDINARY = (torch.Tensor, torch.nn.Parameter)
#: Types in which squares overflow or underflow no earlier than they should.
EXACT = (torch.float32, torch.float64)
#: Types whose squares overflow in their own type, so that norms are computed in float32.
_HALF = (torch.float16, torch.bfloat16)

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
    if kind == "group" or (kind == "layer" and model is not None):
        parts = naming(kind, model)
        return lambda groups: _measured(parts(groups))
    return _global


def naming(kind: str, model: torch.nn.Module | None) -> Callable[[Sequence[Group]], Parts]:
    """Return the function that names the part to which each parameter of some groups belongs.

    Args:
        kind, model: as for `measure`; without parts where those have none.
    """
    if kind == "group":
        return _by_group
    layers = model.named_parameters() if kind == "layer" and model is not None else ()
    names = {id(parameter): name for name, parameter in layers}
    return lambda groups: [(names.get(id(p), ""), p) for p in _parameters(groups)]


def _parameters(groups: Sequence[Group]) -> Iterator[torch.Tensor]:
    return (parameter for group in groups for parameter in group["params"])


def _global(groups: Sequence[Group]) -> dict[str, Scalar]:
    """Return the norm over everything, with a fast path for dense gradients on this process."""
    gradients, device, kind, is_mixed = [], None, None, False
    for group in groups:
        for parameter in group["params"]:
            gradient = parameter.grad
            if gradient is None:
                if type(parameter) in _ORDINARY:
                    continue
                return _anyhow(groups)
            if (
                type(gradient) not in _ORDINARY
                or gradient.layout is not torch.strided
                or (device is not None and gradient.device != device)
            ):
                return _anyhow(groups)
            device = gradient.device
            is_mixed = is_mixed or (kind is not None and gradient.dtype is not kind)
            kind = gradient.dtype
            gradients.append(gradient)
    if kind is None:
        return {}
    wide = None
    if is_mixed or kind not in EXACT:
        possible, wide = _common_type({gradient.dtype for gradient in gradients})
        if not possible:
            return _anyhow(groups)
    enabled = torch.is_grad_enabled()
    torch._C._set_grad_enabled(False)  # like `no_grad`, at a third of its cost
    try:
        norms = torch._foreach_norm(gradients, 2.0, dtype=wide)
        if len(norms) == 1 and norms[0].is_cpu:  # as `_named`, in three calls less
            return {"grad_norm": norms[0].item()}
        return _named("grad_norm", list(norms))
    finally:
        torch._C._set_grad_enabled(enabled)


def _common_type(kinds: Collection[torch.dtype]) -> tuple[bool, torch.dtype | None]:
    """Whether one pass can compute the norms of tensors of these types, and in which type.

    The type is None if that of each tensor is exact enough.
    """
    if all(kind in EXACT for kind in kinds):
        return True, None
    is_narrow = all(kind is torch.float32 or kind in _HALF for kind in kinds)
    return is_narrow, torch.float32 if is_narrow else None


@torch.no_grad()
def _anyhow(groups: Sequence[Group]) -> dict[str, Scalar]:
    return _measured([("", parameter) for parameter in _parameters(groups)])


def _by_group(groups: Sequence[Group]) -> Parts:
    named = zip(group_names(groups), groups, strict=True)
    return [(name, parameter) for name, group in named for parameter in group["params"]]


@torch.no_grad()
def _measured(parameters: Parts) -> dict[str, Scalar]:
    """Return the norm of the gradients over everything and over each part."""
    whole: Parts = []
    shards: Shards = []
    for name, parameter in parameters:
        gradient = parameter.grad
        if is_shared(parameter if gradient is None else gradient):
            if gradient is not None:
                part, over = local(gradient)
                shards.append((name, over, part))
            elif parameter.requires_grad:  # every process takes part, with zeros if it has none
                shards.append((name, spread(parameter), None))
        elif gradient is not None:
            whole.append((name, gradient))
    return by_part("grad_norm", whole, shards, norms_of)


def by_part(
    metric: str, whole: Sequence[tuple[str, Any]], shards: Shards, norms: Norms
) -> dict[str, Scalar]:
    """Return the norm over everything under `metric`, and over each part under its name.

    Args:
        metric: the metric of everything.
        whole: the name of a part and what this process alone has of it.
        shards: what several processes share; the same names on all of them.
        norms: computes the norms of what is in `whole` and `shards`.
    """
    parts: dict[str, list[torch.Tensor]] = {}
    together = _over_processes(shards, norms)  # first: other processes wait for this one there
    for (name, _), norm in zip(whole, norms([item for _, item in whole]), strict=True):
        parts.setdefault(name, []).append(norm)
    for name, norm in together:
        parts.setdefault(name, []).append(norm)
    metrics = _named(metric, [norm for part_norms in parts.values() for norm in part_norms])
    for name, part_norms in parts.items():
        if name:
            metrics |= _named(f"{metric}/{name}", part_norms)
    return metrics


def _over_processes(shards: Shards, norms: Norms) -> list[tuple[str, torch.Tensor]]:
    """Return norms of what several processes share, with one collective per mesh.

    The computation depends on the parameters, not on what of them this process has: every process
    has to take part, with zeros if it has nothing, and with NaN if its own norms fail.
    """
    by_mesh: dict[Spread, dict[str, list[Any]]] = {}
    for name, over, item in shards:
        items = by_mesh.setdefault(over, {}).setdefault(name, [])
        items += [] if item is None else [item]
    attendance.require(by_mesh)
    results: list[tuple[str, torch.Tensor]] = []
    failure: Exception | None = None
    for over, named in by_mesh.items():
        try:
            squares = _squares(list(named.values()), over, norms)
        except Exception as error:
            failure, count, device = error, len(named), over[0].device_type
            squares = torch.full((count,), math.nan, dtype=torch.float64, device=device)
        sums = total(squares, over)
        # parts of which this process has nothing still contribute zeros to the global sum
        names = [name if items else "" for name, items in named.items()]
        results += list(zip(names, sums.sqrt().unbind(), strict=True))
    if failure is not None:
        raise failure
    return results if any(item is not None for _, _, item in shards) else []


def _squares(parts: Sequence[list[Any]], over: Spread, of: Norms) -> torch.Tensor:
    """Return each part's sum of squares, shape (parts,), float64, to be added over processes."""
    norms = of([item for part in parts for item in part])
    if not norms:
        return torch.zeros(len(parts), dtype=torch.float64, device=over[0].device_type)
    if len({norm.dtype for norm in norms}) > 1:
        norms = [norm.double() for norm in norms]
    squares = torch.stack(norms).double().square()
    counts = [len(part) for part in parts]
    if all(count == 1 for count in counts):
        return squares
    return torch.stack([each.sum() for each in torch.split(squares, counts)])


def norms_of(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return one norm per tensor, in the same order; uses `_foreach_norm` if possible."""
    possible, wide = _common_type({tensor.dtype for tensor in tensors})
    if possible and _are_alike(tensors):
        return list(torch._foreach_norm(tensors, 2.0, dtype=wide))
    return [_one(tensor) for tensor in tensors]


def are_simple(tensors: Sequence[torch.Tensor]) -> bool:
    """Whether there are tensors, all of which torch's `_foreach` functions can take at once."""
    return all(tensor.dtype in EXACT for tensor in tensors) and _are_alike(tensors)


def _are_alike(tensors: Sequence[torch.Tensor]) -> bool:
    """Whether there are tensors, all of them dense, ordinary and on one device."""
    ordinary = all(t.layout is torch.strided and type(t) in _ORDINARY for t in tensors)
    return ordinary and len({tensor.device for tensor in tensors}) == 1


def _one(gradient: torch.Tensor) -> torch.Tensor:
    if gradient.is_sparse:  # repeated indices add up before they are squared
        gradient = gradient.coalesce().values()
    elif gradient.layout is not torch.strided:
        gradient = gradient.values()
    dtype = torch.float32 if gradient.dtype in _HALF else None
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
