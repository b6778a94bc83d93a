"""Detects kinds of training that lrtrack cannot observe, and warns before they begin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from lrtrack.capture.optimizers import rank
from lrtrack.errors import warn


def is_observable(callback: str, optimizer: Any, models: Iterable[Any] = ()) -> bool:
    """Whether the steps of an optimizer can be observed; a warning says what cannot.

    Args:
        callback: the callback's name, for messages.
        optimizer: the framework's optimizer; None: it has none.
        models: the models that are trained.
    """
    if optimizer is None:
        _warn_once(
            f"{callback}: this training has no optimizer of its own, so nothing is recorded. "
            "Fix: pass its optimizer, or use `with lrtrack.track(optimizer, scheduler)`."
        )
        return False
    if any("DeepSpeed" in kind.__name__ for kind in type(optimizer).__mro__):
        _warn_once(
            f"{callback}: DeepSpeed's engine steps its optimizer itself, in parts, so learning "
            "rates, gradient norms and losses are not recorded. Fix: use DDP or FSDP2, or a loop "
            "of your own with lrtrack.start(engine)."
        )
        return False
    if any(map(_has_fsdp1, models)):
        _warn_once(
            f"{callback}: under FSDP1, grad_norm is that of rank 0's shard, and the norm before "
            "clipping is not recorded. Fix: use FSDP2 (fsdp_version 2), where both are global."
        )
    return True


def _has_fsdp1(model: Any) -> bool:
    if not isinstance(model, torch.nn.Module) or not torch.distributed.is_available():
        return False
    from torch.distributed.fsdp import FullyShardedDataParallel

    return any(isinstance(module, FullyShardedDataParallel) for module in model.modules())


def _warn_once(message: str) -> None:
    if rank() == 0:  # not once per process
        warn(message)
