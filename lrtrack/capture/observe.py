"""Seeing what torch itself is asked to do, while any block is open.

Five functions of torch are wrapped when the first block opens and put back when the last one
closes. Each wrapper calls the original first-hand and takes a note; notes are kept a thread, so
that two trainings in two threads never mix.

- `torch.autograd.backward`: the loss (`Tensor.backward` ends there too, so each call counts once)
- `clip_grad._clip_grads_with_norm_`: the norm before clipping, which `clip_grad_norm_` just found;
  wrapped inside its module, so that it is seen however the user imported `clip_grad_norm_`
- `GradScaler.scale`, `.update`: the unscaled loss; the end of a step that was skipped
- `ReduceLROnPlateau.step`: the metric it is given
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.utils import clip_grad
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lrtrack.capture.scalars import Scalar, add, hold
from lrtrack.errors import warn


class Notes(threading.local):
    """What happened on this thread since the last step of any tracked optimizer."""

    def __init__(self) -> None:
        self.period = -1
        self.loss: Scalar | None = None
        self.preclip: Scalar | None = None
        self.unscaled: dict[int, tuple[weakref.ref[torch.Tensor], torch.Tensor]] = {}

    def clear(self) -> None:
        """Forget everything: a step was made, or skipped."""
        self.loss = None
        self.preclip = None
        self.unscaled.clear()


notes = Notes()
_lock = threading.Lock()
_open = 0
_period = 0
_undo: list[Callable[[], None]] = []
_plateau_listeners: weakref.WeakKeyDictionary[Any, list[Callable[[float], None]]] = (
    weakref.WeakKeyDictionary()
)


def start() -> None:
    """Begin to observe; each call needs its `stop`."""
    global _open, _period
    with _lock:
        _open += 1
        if _open > 1:
            return
        _period += 1
        _undo.extend(
            _wrap(owner, name, note, before)
            for owner, name, note, before in (
                (torch.autograd, "backward", _backward, False),
                (clip_grad, "_clip_grads_with_norm_", _clipping, True),
                (torch.amp.GradScaler, "scale", _scaled, False),
                (torch.amp.GradScaler, "update", _scaler_updated, False),
                (ReduceLROnPlateau, "step", _plateau_step, False),
            )
        )


def stop() -> None:
    """End one `start`; with the last one, torch is as it was."""
    global _open
    with _lock:
        _open -= 1
        if _open == 0:
            while _undo:
                _undo.pop()()


def listen_to_plateau(scheduler: Any, listener: Callable[[float], None]) -> Callable[[], None]:
    """Call `listener` with each value given to this scheduler's `step`; returns the undo."""
    listeners = _plateau_listeners.setdefault(scheduler, [])
    listeners.append(listener)
    return lambda: listeners.remove(listener)


def quietly(what: str, function: Callable[..., None], *args: Any) -> None:
    """Run an observation; its failure must cost the user a warning and nothing else."""
    try:
        function(*args)
    except Exception as error:
        warn(f"lrtrack could not observe {what}: {error!r}. Training is not affected.")


def _wrap(owner: Any, name: str, note: Callable[..., None], before: bool) -> Callable[[], None]:
    original = owner.__dict__[name] if isinstance(owner, type) else getattr(owner, name)

    @functools.wraps(original)
    def observed(*args: Any, **kwargs: Any) -> Any:
        if before:
            quietly(name, note, None, args, kwargs)
        result = original(*args, **kwargs)
        if not before:
            quietly(name, note, result, args, kwargs)
        return result

    setattr(owner, name, observed)

    def undo() -> None:
        # Someone who wrapped us meanwhile keeps his wrapper, and ours under it only passes on.
        if getattr(owner, name) is observed:
            setattr(owner, name, original)

    return undo


def current_notes() -> Notes:
    """This thread's notes, without what is left from before the present blocks."""
    if notes.period != _period:
        notes.clear()
        notes.period = _period
    return notes


def _backward(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if _open == 0 or torch.compiler.is_compiling():
        return
    tensors = args[0] if args else kwargs["tensors"]
    here = current_notes()
    for tensor in [tensors] if isinstance(tensors, torch.Tensor) else tensors:
        if tensor.numel() != 1 or tensor.is_complex():
            continue
        known = here.unscaled.pop(id(tensor), None)
        loss = known[1] if known is not None and known[0]() is tensor else tensor
        here.loss = add(here.loss, hold(loss))


def _clipping(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    norm = args[2] if len(args) > 2 else kwargs["total_norm"]
    if _open:
        current_notes().preclip = hold(norm) if isinstance(norm, torch.Tensor) else float(norm)


def _scaled(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    outputs = args[1] if len(args) > 1 else kwargs["outputs"]
    if _open and isinstance(result, torch.Tensor) and result is not outputs:
        current_notes().unscaled[id(result)] = (weakref.ref(result), outputs.detach())


def _scaler_updated(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    current_notes().clear()


def _plateau_step(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    scheduler = args[0]
    value = args[1] if len(args) > 1 else kwargs["metrics"]
    for listener in list(_plateau_listeners.get(scheduler, ())):
        listener(float(value))
