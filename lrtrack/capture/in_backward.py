"""Finds the optimizers of a training that has one for each parameter.

Most of them step inside `backward()`, as soon as the gradient of their parameter is complete, so
that it can be freed at once. What a program then has at hand is, by package:

- a mapping of parameters to optimizers (GaLore, torch's tutorial);
- an object with such a mapping (torchtune, transformers' GaLore, torchao's offloading to the CPU);
- an optimizer over the parameters that never steps itself. The others are then in the attribute in
  which `torch.distributed.optim._apply_optimizer_in_backward` leaves them, or in what the hooks of
  the parameters refer to. Programs from before torch 2.1 have put these on the nodes of the graph
  that accumulate gradients.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from types import CellType, FunctionType, MethodType, ModuleType
from typing import Any

import torch

from lrtrack.capture.bytecode import use_of

#: Attributes in which objects keep their optimizers, by parameter or by a parameter's name.
_MAPPINGS = ("optim_dict", "optimizer_dict", "optim_map")
#: Where torchao keeps the optimizer of all parameters that are too small for one of their own.
_OF_THE_REST = "d_opt"
#: Where `torch.distributed.optim` leaves a parameter's optimizers.
_OF_TORCH = "_in_backward_optimizers"
#: How many references a hook's optimizer is looked for behind, and in how many objects.
_DEPTH, _OBJECTS = 6, 2_000
_CLOSED = (torch.Tensor, torch.nn.Module, ModuleType, type, str, bytes, int, float)


def of_parameters(optimizer: Any) -> dict[Any, Any] | None:
    """Return the optimizers by their parameters, or by those parameters' names.

    Args:
        optimizer: what `track()` is given.

    Returns:
        None if `optimizer` is none of these forms.
    """
    if isinstance(optimizer, Mapping):
        by_parameter = all(isinstance(key, torch.Tensor) for key in optimizer)
        return dict(optimizer) if optimizer and by_parameter else None
    for name in _MAPPINGS:
        inner = getattr(optimizer, name, None)
        if isinstance(inner, Mapping) and all(map(_is_optimizer, inner.values())):
            rest = getattr(optimizer, _OF_THE_REST, None)
            both = {**inner, _OF_THE_REST: rest} if _is_optimizer(rest) else dict(inner)
            if both:
                return both
    return _behind(optimizer) if isinstance(optimizer, torch.optim.Optimizer) else None


def _is_optimizer(value: Any) -> bool:
    return isinstance(value, torch.optim.Optimizer)


def _behind(optimizer: torch.optim.Optimizer) -> dict[Any, Any] | None:
    """Return the optimizers that step instead of this one, if each of its parameters has one."""
    inner: dict[Any, Any] = {}
    try:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for parameter in parameters:
            if not parameter.requires_grad:
                continue
            own = next(_owners(parameter, optimizer), None)
            if own is None:
                return None
            inner[parameter] = own
    except Exception:  # hooks and attributes are anybody's
        return None
    return inner or None


def _owners(parameter: torch.Tensor, outer: torch.optim.Optimizer) -> Iterator[Any]:
    """Yield the optimizers of this parameter alone; none if `outer` itself steps in a hook."""
    hooks: list[Any] = _hooks_of_node(parameter)
    for attribute in ("_post_accumulate_grad_hooks", "_backward_hooks"):
        hooks += (getattr(parameter, attribute, None) or {}).values()
    candidates = list(parameter.__dict__.get(_OF_TORCH) or ())
    candidates += _reachable(hooks, parameter)
    if any(candidate is outer for candidate in candidates):
        return
    for candidate in candidates:
        own = [p for group in candidate.param_groups for p in group["params"]]
        if len(own) == 1 and own[0] is parameter:
            yield candidate


def _hooks_of_node(parameter: torch.Tensor) -> list[Any]:
    """Return the hooks of the node that accumulates a parameter's gradient.

    The node keeps them in a dictionary that only the handle of a further hook shows.
    """
    if type(parameter) not in (torch.Tensor, torch.nn.Parameter) or not parameter.is_leaf:
        return []  # a distributed tensor computes even its views on several processes
    with torch.enable_grad():
        view: Any = parameter.expand_as(parameter)
    node = view.grad_fn.next_functions[0][0]
    handle = node.register_hook(_ignore)
    try:
        return [hook for hook in handle.hooks_dict_ref().values() if hook is not _ignore]
    finally:
        handle.remove()


def _ignore(*_: Any) -> None:
    """A hook that does nothing."""


def _reachable(hooks: Iterable[Any], parameter: torch.Tensor) -> list[torch.optim.Optimizer]:
    """Return the optimizers that hooks refer to; of mappings by parameter, this parameter's."""
    found: list[torch.optim.Optimizer] = []
    level, seen = list(hooks), set[int]()
    for _ in range(_DEPTH):
        inner: list[Any] = []
        for value in level:
            if id(value) in seen or len(seen) > _OBJECTS:
                continue
            seen.add(id(value))
            if isinstance(value, torch.optim.Optimizer):
                found.append(value)
            elif not isinstance(value, _CLOSED):
                inner += _referred(value, parameter)
        level = inner
    return found


def _referred(value: Any, parameter: torch.Tensor) -> list[Any]:
    """Return what a function, a collection or an object refers to, without calling anything."""
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, MethodType):
        return [value.__self__, value.__func__]
    if isinstance(value, FunctionType):
        cells = _contents(value.__closure__ or ())
        scope = value.__globals__
        names = [name for name in use_of(value.__code__).global_names if name in scope]
        return [*cells, *(value.__defaults__ or ()), *(scope[name] for name in names)]
    if isinstance(value, dict):
        return [value[parameter]] if parameter in value else list(value.values())
    if isinstance(value, list | tuple):
        return list(value)
    return list(getattr(value, "__dict__", {}).values())


def _contents(cells: Iterable[CellType]) -> Iterator[Any]:
    for cell in cells:
        with suppress(ValueError):  # a variable that has not been assigned
            yield cell.cell_contents
