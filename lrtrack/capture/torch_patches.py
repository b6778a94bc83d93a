"""Seeing what torch itself is asked to do, while any block is open.

Six functions of torch are wrapped when the first block opens and put back when the last one
closes. Each wrapper calls the original first-hand and takes a note; notes are kept a thread, so
that two trainings in two threads never mix.

- `torch.autograd.backward`: the loss (`Tensor.backward` ends there too, so each call counts once)
- `clip_grad._get_total_norm`, `._clip_grads_with_norm_`: the norm before clipping, which
  `clip_grad_norm_` finds with the one and hands to the other; wrapped inside their module, so
  that they are seen however the user imported `clip_grad_norm_`
- `GradScaler.scale`, `.step`: the unscaled loss; the end of a step, also where it was skipped
- `ReduceLROnPlateau.step`: the metric it is given
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch._C import _current_graph_task_id as _pass
from torch.compiler import is_compiling
from torch.nn.utils import clip_grad
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lrtrack.capture.clipping import Clipped
from lrtrack.capture.device_scalars import Scalar, add, divide, hold
from lrtrack.capture.thread_state import Notes, current_notes, fresh_notes, new_period, own, period
from lrtrack.errors import warn

#: Under this name a scaled loss's node keeps (the loss, the scale).
_SCALED = "lrtrack.scaled"
#: How many nodes behind a loss are asked.
_NODES = 16

#: Reentrant, as a block may be let go wherever Python collects garbage.
_lock = threading.RLock()
#: Whose capture observes which optimizer.
_watched: dict[int, torch.optim.Optimizer] = {}
_told: set[str] = set()
#: Ids of watched optimizers that a scaler has stepped, or skipped.
_attempted: set[int] = set()
_undo: list[Callable[[], None]] = []
_plateau_listeners: weakref.WeakKeyDictionary[Any, list[Callable[[float], None]]] = (
    weakref.WeakKeyDictionary()
)


def start(capture: object, optimizer: torch.optim.Optimizer) -> None:
    """Begin to observe `optimizer` for `capture`, until its `stop`."""
    with _lock:
        _watched[id(capture)] = optimizer
        if len(_watched) > 1:
            return
        new_period()
        _told.clear()
        _replace(torch.autograd, "backward", _observed_backward)
        for owner, name, note in (
            (clip_grad, "_get_total_norm", _measured),
            (clip_grad, "_clip_grads_with_norm_", _clipping),
            (torch.amp.GradScaler, "scale", _scaled),
            (torch.amp.GradScaler, "step", _scaler_stepped),
            (ReduceLROnPlateau, "step", _plateau_step),
        ):
            _replace(owner, name, functools.partial(_observed, note))


def stop(capture: object) -> None:
    """End what `start` began; with the last one, torch is as it was. Idempotent."""
    with _lock:
        optimizer = _watched.pop(id(capture), None)
        _attempted.discard(id(optimizer))
        if not _watched:
            while _undo:
                _undo[-1]()
                _undo.pop()  # afterwards, so that an interrupt between the two leaves nothing


def attempted(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a gradient scaler has stepped the optimizer in this block, or has skipped a step."""
    return id(optimizer) in _attempted


def listen_to_plateau(scheduler: Any, listener: Callable[[float], None]) -> None:
    """Call `listener` with each value given to this scheduler's `step`."""
    _plateau_listeners.setdefault(scheduler, []).append(listener)


def stop_listening(scheduler: Any, listener: Callable[[float], None]) -> None:
    """End `listen_to_plateau`; idempotent."""
    listeners = _plateau_listeners.get(scheduler, [])
    if listener in listeners:
        listeners.remove(listener)


def quietly(what: str, function: Callable[..., Any], *args: Any) -> Any:
    """Run an observation; its failure must cost the user one warning and nothing else."""
    try:
        return function(*args)
    except Exception as error:
        not_observed(what, error)
    return None


def not_observed(what: str, error: Exception) -> None:
    """Say once that something could not be observed."""
    if what not in _told:
        _told.add(what)
        warn(f"lrtrack could not observe {what}: {error!r}. Training is not affected.")


def _replace(
    owner: Any, name: str, around: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> None:
    """Put what `around` makes of a function in its place, and note how to take it out again."""
    original = owner.__dict__[name] if isinstance(owner, type) else getattr(owner, name)
    observed = functools.wraps(original)(around(original))

    def undo() -> None:
        # Someone who wrapped us meanwhile keeps his wrapper, and ours under it only passes on.
        if getattr(owner, name) is observed:
            setattr(owner, name, original)

    _undo.append(undo)  # before the function is replaced: an interrupt may come in between
    setattr(owner, name, observed)


def _observed(note: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """`original` with a note taken of each call that went well."""
    own_period, name = period(), original.__name__

    def observed(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        # A wrapper of an earlier period may lie under someone else's: only the newest takes notes.
        if _watched and own_period == period() and not current_notes().away:
            quietly(name, note, result, args, kwargs)
        return result

    return observed


def _observed_backward(original: Callable[..., Any]) -> Callable[..., Any]:
    """`torch.autograd.backward` with a note taken of the loss.

    Noted before the pass, as there are loops that step within it, and taken back where it raises.
    Inside a backward pass, backward is called by reentrant checkpointing, not by the user.
    """
    own_period = period()

    def backward(*args: Any, **kwargs: Any) -> Any:
        here = getattr(own, "notes", None)
        if here is None or here.period != own_period:
            here = current_notes()
            if here.period != own_period:  # a wrapper of blocks that are over
                return original(*args, **kwargs)
        if here.away or not _watched or _pass() != -1 or is_compiling():
            return original(*args, **kwargs)
        if here.used:  # as `Notes.clear` does it
            here.used = here.scaling = False
            here.loss = here.preclip = here.total = None
        known, here.clipped = here.loss, None
        try:
            given = args[0] if args else kwargs["tensors"]
            if known is None and not here.scaling and type(given) is Tensor and given.is_cpu:
                value = given.item()
                here.loss, here.count = None if isinstance(value, complex) else value, 1
            else:
                _note_losses(here, given)
        except (RuntimeError, ValueError) as error:
            if type(given) is not Tensor or given.numel() == 1:  # sooner than asking each time
                not_observed("backward", error)
        except Exception as error:
            not_observed("backward", error)
        try:
            return original(*args, **kwargs)
        except BaseException:
            if not here.used and here.loss is not known:
                here.loss = known
                here.count -= 1
            raise

    return backward


def _note_losses(here: Notes, given: Any) -> None:
    known = here.loss
    for tensor in (given,) if isinstance(given, torch.Tensor) else _tensors(given):
        if tensor.numel() == 1 and not tensor.is_complex():
            here.loss = add(here.loss, _unscaled(tensor) if here.scaling else hold(tensor))
    if here.loss is not known:
        here.count = 1 if known is None else here.count + 1


def _unscaled(tensor: torch.Tensor) -> Scalar:
    """A loss as it was before a scaler scaled it, or parts of it; itself where none has.

    Scaled losses may have been divided or added up since: the nodes that made `tensor` know.
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
    known, here.total, here.clipped = here.total, None, None
    if norm is known:
        parameters = args[0] if args else kwargs["parameters"]
        limit = args[1] if len(args) > 1 else kwargs["max_norm"]
        gradients = [p.grad for p in parameters if p.grad is not None]
        here.clipped = Clipped(gradients, here.preclip, float(limit))


def _scaled(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    outputs = args[1] if len(args) > 1 else kwargs["outputs"]
    if result is outputs:
        return  # the scaler is switched off
    fresh_notes().scaling = True
    scale = args[0]._scale.detach().clone()
    for scaled, output in zip(_tensors(result), _tensors(outputs), strict=True):
        node: Any = scaled.grad_fn
        if node is not None:  # the note lives as long as the graph does
            node.metadata[_SCALED] = (output.detach(), scale)


def _tensors(found: Any) -> Iterator[torch.Tensor]:
    """Tensors in a tensor, or in nested lists and tuples; an iterator must not be used up."""
    if isinstance(found, torch.Tensor):
        yield found
    elif isinstance(found, Iterable) and not isinstance(found, Iterator):
        for inner in found:
            yield from _tensors(inner)


def _scaler_stepped(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    given = args[1] if len(args) > 1 else kwargs["optimizer"]
    candidates = (given, getattr(given, "optimizer", None))
    for optimizer in list(_watched.values()):
        if any(optimizer is candidate for candidate in candidates):
            _attempted.add(id(optimizer))
            current_notes().end_step()


def _plateau_step(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    scheduler = args[0]
    value = args[1] if len(args) > 1 else kwargs["metrics"]
    for listener in list(_plateau_listeners.get(scheduler, ())):
        listener(float(value))
