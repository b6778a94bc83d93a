"""Saves everything that a range test may change, and restores it in place, bit for bit."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.optim.lr_scheduler import LRScheduler

from lrtrack.capture.nested_schedulers import nested
from lrtrack.capture.optimizers import unwrap

_Undo = Callable[[], object]


class Snapshot:
    """The current state of a training.

    Objects are kept and their contents copied: after `restore` the same tensors, lists and dicts
    hold their old contents. It takes as much memory as the states themselves.

    Args:
        model: saved with parameters, gradients, buffers and modes; modules that are not torch's
            own also with all attributes that are numbers, tensors or containers of these.
        optimizer: saved with its state, param groups and all other attributes, inside wrappers,
            too.
        scheduler: saved with all its attributes and all schedulers inside it; None: none.
    """

    def __init__(self, model: torch.nn.Module, optimizer: Any, scheduler: Any = None) -> None:
        self._seen: dict[int, Any] = {}
        self._undo: list[_Undo] = [*_random_states()]
        self._keep(model)
        for owner in (optimizer, unwrap(optimizer), *nested(scheduler)):
            self._keep(_attributes(owner))

    def restore(self) -> None:
        """Restore everything. Idempotent.

        Raises:
            RuntimeError: something cannot be restored, as its shape has changed; the rest is
                restored.
        """
        failed: Exception | None = None
        for undo in self._undo:
            try:
                undo()
            except Exception as error:
                failed = failed or error
        if failed is not None:
            raise RuntimeError(f"find_lr() could not restore everything: {failed}") from failed

    def _keep(self, value: Any) -> None:
        """Save the content of an object and of all objects in it."""
        if id(value) in self._seen:
            return
        if isinstance(value, torch.nn.Module):
            inner: Any = _of_module(value)
        elif isinstance(value, torch.optim.Optimizer | LRScheduler):
            inner = [vars(value)]
        elif isinstance(value, torch.Tensor):
            inner = _around(value)
        elif isinstance(value, dict):
            inner = list(value.values())
        elif isinstance(value, list | tuple | set | deque):
            inner = list(value)
        else:
            inner = []
        undo = _undo_of(value)
        if undo is None and not inner:
            return  # immutable numbers and text, and objects of unknown types
        self._seen[id(value)] = value  # kept alive, so that no other object gets this id
        if undo is not None:
            self._undo.append(undo)
        for item in inner:
            self._keep(item)


def _of_module(module: torch.nn.Module) -> list[Any]:
    """The parts of a module that may change; torch's own modules keep them in two attributes."""
    if type(module).__module__.partition(".")[0] != "torch":
        return [vars(module)]
    return [module._parameters, module._buffers, *module.children()]


def _undo_of(value: Any) -> _Undo | None:
    """The function that restores the object's own content, but not that of objects in it."""
    if isinstance(value, torch.nn.Module):
        mode = value.training
        return partial(setattr, value, "training", mode)
    if isinstance(value, torch.Tensor):
        return _undo_of_tensor(value)
    if isinstance(value, np.ndarray):
        array = value.copy()
        return partial(np.copyto, value, array)
    if isinstance(value, dict | set):
        content = value.copy()
        return lambda: (value.clear(), value.update(content))
    if isinstance(value, list | deque):
        items = list(value)
        return lambda: (value.clear(), value.extend(items))
    if isinstance(value, torch.Generator):
        return partial(value.set_state, value.get_state())
    return None


def _undo_of_tensor(tensor: torch.Tensor) -> _Undo:
    content = None if _expanded(tensor) else tensor.detach().clone()
    leaf = tensor.is_leaf
    gradient = tensor.grad if leaf else None

    def undo() -> None:
        with torch.no_grad():
            if content is not None:
                tensor.copy_(content)
        if leaf and tensor.grad is not gradient:
            tensor.grad = gradient

    return undo


def _around(tensor: torch.Tensor) -> list[Any]:
    """Tensors that belong to this one: its gradient, and the base of an expanded tensor."""
    related = [tensor.grad if tensor.is_leaf else None, tensor._base if _expanded(tensor) else None]
    return [other for other in related if other is not None]


def _expanded(tensor: torch.Tensor) -> bool:
    """Whether several elements share memory: such a tensor cannot be copied to."""
    if tensor.layout is not torch.strided:
        return False
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    return any(size > 1 and stride == 0 for size, stride in sizes)


def _attributes(owner: Any) -> dict[str, Any]:
    return getattr(owner, "__dict__", {})


def _random_states() -> list[_Undo]:
    """Restore functions for the global generators of Python, numpy, torch and devices in use."""
    undo: list[_Undo] = [
        partial(random.setstate, random.getstate()),
        partial(np.random.set_state, np.random.get_state()),
        partial(torch.set_rng_state, torch.get_rng_state()),
    ]
    for backend in (torch.cuda, torch.xpu):
        if backend.is_available() and backend.is_initialized():
            undo.append(partial(backend.set_rng_state_all, backend.get_rng_state_all()))
    if torch.backends.mps.is_available():
        undo.append(partial(torch.mps.set_rng_state, torch.mps.get_rng_state()))
    return undo
