"""Observes calls to torch itself while any block is open.

Functions of torch are wrapped when the first block opens and restored when the last one closes.
Each wrapper calls the original and takes a note. Notes are kept per thread, and per task of a
loop in which several blocks are open, so that trainings side by side never mix.

- `torch.autograd.backward`: the loss (`Tensor.backward` ends there too, so each call counts once)
- `clip_grad._get_total_norm`, `._clip_grads_with_norm_`: the norm before clipping, which
  `clip_grad_norm_` computes with the first and passes to the second; wrapped inside their module,
  so that they are seen however the user imported `clip_grad_norm_`
- `GradScaler.scale`, `.step`: the unscaled loss; the end of a step, also of a skipped one
- `ReduceLROnPlateau.step`: the metric it receives
- `CUDAGraph.capture_begin`, `.capture_end`: steps in between are not made; see `graph_capture`
- methods of the class of a block's scheduler or engine
"""

from __future__ import annotations

import contextlib
import functools
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch._C import _current_graph_task_id as _pass
from torch.compiler import is_compiling, is_dynamo_compiling
from torch.cuda import CUDAGraph
from torch.nn.utils import clip_grad
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lrtrack.capture import graph_capture
from lrtrack.capture.clipping import Clipped
from lrtrack.capture.device_scalars import Scalar, add, divide, hold
from lrtrack.capture.patching import lock, replace, replace_method, restore
from lrtrack.capture.thread_state import (
    Notes,
    current_notes,
    fresh_notes,
    new_period,
    note_opener,
    own,
    period,
    separate_tasks,
)
from lrtrack.capture.unseen import counted
from lrtrack.errors import warn

#: The key under which a scaled loss's graph node keeps (the loss, the scale).
_SCALED = "lrtrack.scaled"
#: Maximum number of graph nodes searched behind a loss.
_NODES = 16

#: Which capture observes which optimizer.
_watched: dict[int, torch.optim.Optimizer] = {}
#: Which block it belongs to.
_blocks: dict[int, int] = {}
_told: set[str] = set()
#: Id of an observed optimizer → how often a scaler has stepped it, or skipped a step.
_attempts: Counter[int] = Counter()
_load_listeners: weakref.WeakKeyDictionary[Any, list[Callable[[], None]]] = (
    weakref.WeakKeyDictionary()
)
_plateau_listeners: weakref.WeakKeyDictionary[Any, list[Callable[[float], None]]] = (
    weakref.WeakKeyDictionary()
)


def start(capture: object, optimizer: torch.optim.Optimizer, block: int) -> None:
    """Begin to observe `optimizer` for `capture`, until its `stop`.

    Args:
        capture: what observes it.
        optimizer: the optimizer.
        block: a number that the captures of one block share.
    """
    with lock:
        _watched[id(capture)] = optimizer
        _blocks[id(capture)] = block
        if len(_watched) > 1:
            if len(set(_blocks.values())) > 1:
                separate_tasks()
            return
        new_period()
        note_opener()
        _told.clear()
        replace(torch.autograd, "backward", _observed_backward)
        for owner, name, note in (
            (clip_grad, "_get_total_norm", _measured),
            (clip_grad, "_clip_grads_with_norm_", _clipping),
            (torch.amp.GradScaler, "scale", _scaled),
            (torch.amp.GradScaler, "step", _scaler_stepped),
            (ReduceLROnPlateau, "step", _plateau_step),
        ):
            replace(owner, name, functools.partial(_observed, note))
        replace(CUDAGraph, "capture_begin", graph_capture.around_begin)
        replace(CUDAGraph, "capture_end", graph_capture.around_end)


def stop(capture: object) -> None:
    """End what `start` began; the last call restores torch. Idempotent."""
    with lock:
        optimizer = _watched.pop(id(capture), None)
        _blocks.pop(id(capture), None)
        _attempts.pop(id(optimizer), None)
        if not _watched:
            restore()


def attempts(optimizer: torch.optim.Optimizer) -> int:
    """How often a gradient scaler has stepped the optimizer in this block, or skipped a step."""
    return _attempts[id(optimizer)]


def listen_to_plateau(scheduler: Any, listener: Callable[[float], None]) -> None:
    """Call `listener` with each value given to this scheduler's `step`."""
    _plateau_listeners.setdefault(scheduler, []).append(listener)


def stop_listening(scheduler: Any, listener: Callable[[float], None]) -> None:
    """End `listen_to_plateau`. Idempotent."""
    with contextlib.suppress(ValueError):
        _plateau_listeners.get(scheduler, []).remove(listener)


def listen_to_loads(scheduler: Any, listener: Callable[[], None]) -> None:
    """Call `listener` after each `load_state_dict` of this scheduler, if that can be observed."""
    with contextlib.suppress(TypeError):  # a class or an instance that cannot be referenced
        _load_listeners.setdefault(scheduler, []).append(listener)
        around = functools.partial(_observed, _scheduler_loaded)
        replace_method(type(scheduler), "load_state_dict", around)


def stop_listening_to_loads(scheduler: Any, listener: Callable[[], None]) -> None:
    """End `listen_to_loads`. Idempotent."""
    with contextlib.suppress(TypeError, ValueError):
        _load_listeners.get(scheduler, []).remove(listener)


def quietly(what: str, function: Callable[..., Any], *args: Any) -> Any:
    """Run an observation; if it fails, the only effect for the user is one warning."""
    try:
        return function(*args)
    except Exception as error:
        not_observed(what, error)
    return None


def not_observed(what: str, error: Exception) -> None:
    """Warn once that something could not be observed, except in an export, which has no values."""
    if what not in _told and not is_compiling():
        _told.add(what)
        warn(f"lrtrack could not observe {what}: {error!r}. Training is not affected.")


def _observed(note: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Return `original` with a note taken of each successful call."""
    own_period = period()

    def observed(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        # Other code may hold a wrapper of an earlier period: only the newest takes notes.
        if _watched and own_period == period() and not current_notes().away:
            try:
                note(result, args, kwargs)
            except Exception as error:
                not_observed(original.__name__, error)
        return result

    return observed


def _observed_backward(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return `torch.autograd.backward` with a note taken of the loss.

    The note is taken before the pass, as some loops step within it, and removed if it raises.
    Inside a backward pass, backward is called by reentrant checkpointing, not by the user.
    """
    own_period = period()

    def backward(*args: Any, **kwargs: Any) -> Any:
        if is_dynamo_compiling():  # first: compiled code compiles again once what it reads changes
            return original(*args, **kwargs)
        here = getattr(own, "notes", None)
        if here is None or here.period != own_period:
            here = current_notes()
            if here.period != own_period:  # a wrapper of blocks that have closed
                return original(*args, **kwargs)
        if here.away or not _watched or _pass() != -1:
            return original(*args, **kwargs)
        if here.used:  # same as `Notes.clear`
            here.used = here.scaling = False
            here.loss = here.preclip = here.total = None
        earlier, here.clipped = here.loss, None
        try:
            tensors = args[0] if args else kwargs["tensors"]
            if earlier is None and not here.scaling and type(tensors) is Tensor and tensors.is_cpu:
                value = tensors.item()
                here.loss, here.count = None if isinstance(value, complex) else value, 1
            else:
                _note_losses(here, tensors)
        except (RuntimeError, ValueError) as error:
            if type(tensors) is not Tensor or tensors.numel() == 1:  # faster than a check each time
                not_observed("backward", error)
        except Exception as error:
            not_observed("backward", error)
        try:
            return original(*args, **kwargs)
        except BaseException:
            if not here.used and here.loss is not earlier:
                here.loss = earlier
                here.count -= 1
            raise

    return backward


def _note_losses(here: Notes, given: Any) -> None:
    earlier = here.loss
    for tensor in (given,) if isinstance(given, torch.Tensor) else _tensors(given):
        if tensor.numel() == 1 and not tensor.is_complex():
            here.loss = add(here.loss, _unscaled(tensor) if here.scaling else hold(tensor))
    if here.loss is not earlier:
        here.count = 1 if earlier is None else counted(here.count + 1)


def _unscaled(tensor: torch.Tensor) -> Scalar:
    """Return a loss as it was before a scaler scaled it; unchanged if none has.

    Scaled losses may have been divided or added up since; the graph nodes behind `tensor` tell.
    """
    waiting: list[Any] = [tensor.grad_fn]
    for node in waiting:
        found = node.metadata.get(_SCALED) if node is not None else None
        if found is not None:
            output, scale = found
            return hold(output) if node is tensor.grad_fn else divide(hold(tensor), scale)
        if node is not None and len(waiting) < _NODES:
            waiting += [inner for inner, _ in node.next_functions]
    return hold(tensor)


def _measured(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    kind = args[1] if len(args) > 1 else kwargs.get("norm_type", 2.0)
    fresh_notes().total = result if float(kind) == 2.0 else None


def _clipping(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    here = fresh_notes()
    norm = args[2] if len(args) > 2 else kwargs["total_norm"]
    here.preclip = hold(norm) if isinstance(norm, torch.Tensor) else float(norm)
    total, here.total, here.clipped = here.total, None, None
    if norm is total:
        parameters = args[0] if args else kwargs["parameters"]
        limit = args[1] if len(args) > 1 else kwargs["max_norm"]
        gradients = [p.grad for p in parameters if p.grad is not None]
        here.clipped = Clipped(gradients, here.preclip, float(limit))


def _scaled(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    outputs = args[1] if len(args) > 1 else kwargs["outputs"]
    if result is outputs:
        return  # the scaler is disabled
    fresh_notes().scaling = True
    scale = args[0]._scale.detach().clone()
    for scaled, output in zip(_tensors(result), _tensors(outputs), strict=True):
        node: Any = scaled.grad_fn
        if node is not None:  # the note lives as long as the graph
            node.metadata[_SCALED] = (output.detach(), scale)


def _tensors(tensors: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors in a tensor, list or tuple, at any depth; iterators are not consumed."""
    if isinstance(tensors, torch.Tensor):
        yield tensors
    elif isinstance(tensors, Iterable) and not isinstance(tensors, Iterator):
        for inner in tensors:
            yield from _tensors(inner)


def _scaler_stepped(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    stepped = args[1] if len(args) > 1 else kwargs["optimizer"]
    candidates = (stepped, getattr(stepped, "optimizer", None))
    for optimizer in list(_watched.values()):
        if any(optimizer is candidate for candidate in candidates):
            _attempts[id(optimizer)] += 1
            current_notes().end_step(optimizer)


def _scheduler_loaded(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    for listener in list(_load_listeners.get(args[0], ())) if args else ():
        listener()


def _plateau_step(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    value = args[1] if len(args) > 1 else kwargs["metrics"]
    for listener in list(_plateau_listeners.get(args[0], ())):
        listener(float(value))
