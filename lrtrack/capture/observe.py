"""Seeing what torch itself is asked to do, while any block is open.

Five functions of torch are wrapped when the first block opens and put back when the last one
closes. Each wrapper calls the original first-hand and takes a note; notes are kept a thread, so
that two trainings in two threads never mix.

- `torch.autograd.backward`: the loss (`Tensor.backward` ends there too, so each call counts once)
- `clip_grad._clip_grads_with_norm_`: the norm before clipping, which `clip_grad_norm_` just found;
  wrapped inside its module, so that it is seen however the user imported `clip_grad_norm_`
- `GradScaler.scale`, `.step`: the unscaled loss; the end of a step, also where it was skipped
- `ReduceLROnPlateau.step`: the metric it is given
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.utils import clip_grad
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lrtrack.capture.scalars import Scalar, add, divide, hold
from lrtrack.errors import warn


class Notes(threading.local):
    """What happened on this thread since the last step of any tracked optimizer.

    A step's notes stay readable until something new is noted or another step begins, as several
    captures may observe one optimizer.

    Attributes:
        used: a step has begun since the last note.
        stepping: id of the optimizer whose step is under way.
        away: what happens now is no training, and none of a block's business.
        scaling: a scaler has scaled something, which may be a loss.
    """

    def __init__(self) -> None:
        self.away = False
        self.period = -1
        self.used = False
        self.stepping: int | None = None
        self.loss: Scalar | None = None
        self.preclip: Scalar | None = None
        self.scaling = False

    def clear(self) -> None:
        """Forget everything."""
        self.used = False
        self.loss = None
        self.preclip = None
        self.scaling = False


#: Under this name a scaled loss's node keeps (the loss, the scale).
_SCALED = "lrtrack.scaled"
#: How many nodes behind a loss are asked.
_NODES = 16

notes = Notes()
_lock = threading.Lock()
_watched: list[torch.optim.Optimizer] = []
_told: set[str] = set()
_period = 0
_undo: list[Callable[[], None]] = []
_plateau_listeners: weakref.WeakKeyDictionary[Any, list[Callable[[float], None]]] = (
    weakref.WeakKeyDictionary()
)


def start(optimizer: torch.optim.Optimizer) -> None:
    """Begin to observe for a capture of `optimizer`; each call needs its `stop`."""
    global _period
    with _lock:
        _watched.append(optimizer)
        if len(_watched) > 1:
            return
        _period += 1
        _told.clear()
        _undo.extend(
            _wrap(owner, name, note, before)
            for owner, name, note, before in (
                (torch.autograd, "backward", _backward, True),
                (clip_grad, "_clip_grads_with_norm_", _clipping, True),
                (torch.amp.GradScaler, "scale", _scaled, False),
                (torch.amp.GradScaler, "step", _scaler_stepped, False),
                (ReduceLROnPlateau, "step", _plateau_step, False),
            )
        )


def stop(optimizer: torch.optim.Optimizer) -> None:
    """End one `start`; with the last one, torch is as it was."""
    with _lock:
        _watched.remove(optimizer)
        if not _watched:
            while _undo:
                _undo.pop()()


def begin_step(optimizer: torch.optim.Optimizer) -> None:
    """Say that a step begins, which uses what was noted; what an earlier step used is forgotten."""
    here = current_notes()
    if here.used and here.stepping != id(optimizer):
        here.clear()
    here.used, here.stepping = True, id(optimizer)


def end_step() -> None:
    """Say that a step was made, or skipped."""
    here = current_notes()
    here.used, here.stepping = True, None


@contextmanager
def away() -> Iterator[None]:
    """Let this thread run steps, on any optimizer, that no open block sees."""
    before, notes.away = notes.away, True
    try:
        yield
    finally:
        notes.away = before


def listen_to_plateau(scheduler: Any, listener: Callable[[float], None]) -> Callable[[], None]:
    """Call `listener` with each value given to this scheduler's `step`; returns the undo."""
    listeners = _plateau_listeners.setdefault(scheduler, [])
    listeners.append(listener)
    return lambda: listeners.remove(listener)


def quietly(what: str, function: Callable[..., Any], *args: Any) -> Any:
    """Run an observation; its failure must cost the user one warning and nothing else."""
    try:
        return function(*args)
    except Exception as error:
        if what not in _told:
            _told.add(what)
            warn(f"lrtrack could not observe {what}: {error!r}. Training is not affected.")
    return None


def _wrap(owner: Any, name: str, note: Callable[..., Any], before: bool) -> Callable[[], None]:
    """Put `note` around a function; one taken before may return how to take it back."""
    original = owner.__dict__[name] if isinstance(owner, type) else getattr(owner, name)
    period = _period

    @functools.wraps(original)
    def observed(*args: Any, **kwargs: Any) -> Any:
        # A wrapper of an earlier period may lie under someone else's: only the newest takes notes.
        looking = bool(_watched) and period == _period and not notes.away
        take_back = quietly(name, note, None, args, kwargs) if looking and before else None
        try:
            result = original(*args, **kwargs)
        except BaseException:
            if take_back is not None:
                take_back()
            raise
        if looking and not before:
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


def _fresh_notes() -> Notes:
    """This thread's notes, to be added to: what a step has used is forgotten."""
    here = current_notes()
    if here.used:
        here.clear()
    return here


def _backward(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], None] | None:
    # Noted before the pass, as there are loops that step within it.
    # Inside a backward pass, backward is called by reentrant checkpointing, not by the user.
    if torch.compiler.is_compiling() or torch._C._current_graph_task_id() != -1:
        return None
    here = _fresh_notes()
    known = here.loss

    def take_back() -> None:
        if not here.used:
            here.loss = known

    given = args[0] if args else kwargs["tensors"]
    for tensor in (given,) if isinstance(given, torch.Tensor) else _tensors(given):
        if tensor.numel() == 1 and not tensor.is_complex():
            here.loss = add(here.loss, _unscaled(tensor) if here.scaling else hold(tensor))
    return take_back


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


def _clipping(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    norm = args[2] if len(args) > 2 else kwargs["total_norm"]
    _fresh_notes().preclip = hold(norm) if isinstance(norm, torch.Tensor) else float(norm)


def _scaled(result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    outputs = args[1] if len(args) > 1 else kwargs["outputs"]
    if result is outputs:
        return  # the scaler is switched off
    _fresh_notes().scaling = True
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
    if any(optimizer is candidate for optimizer in _watched for candidate in candidates):
        end_step()


def _plateau_step(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    scheduler = args[0]
    value = args[1] if len(args) > 1 else kwargs["metrics"]
    for listener in list(_plateau_listeners.get(scheduler, ())):
        listener(float(value))
