"""Ways to train of which little or nothing can be observed, told of before they begin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from lrtrack.capture.optimizers import rank
from lrtrack.errors import warn


def observable(who: str, optimizer: Any, models: Iterable[Any] = ()) -> bool:
    """Whether an optimizer's steps can be seen; a warning says what cannot.

    Args:
        who: the callback's name.
        optimizer: what the framework has for one.
        models: what is trained.
    """
    if optimizer is None:
        _tell(
            f"{who}: this training has no optimizer of its own, so nothing of it is observed. Hand "
            "the optimizer over that it steps, or use `with lrtrack.track(optimizer, scheduler)`."
        )
        return False
    if any("DeepSpeed" in kind.__name__ for kind in type(optimizer).__mro__):
        _tell(
            f"{who}: DeepSpeed's engine steps its optimizer itself, in parts, so neither learning "
            "rates, gradient norms nor losses of this training are observed. DDP and FSDP2 are."
        )
        return False
    if any(map(_in_shards, models)):
        _tell(
            f"{who}: under FSDP1, grad_norm is that of rank 0's shard, and the norm before "
            "clipping is not observed. Under FSDP2 (fsdp_version 2) both are global."
        )
    return True


def _in_shards(model: Any) -> bool:
    if not isinstance(model, torch.nn.Module) or not torch.distributed.is_available():
        return False
    from torch.distributed.fsdp import FullyShardedDataParallel

    return any(isinstance(module, FullyShardedDataParallel) for module in model.modules())


def _tell(message: str) -> None:
    if rank() == 0:  # once, not once a process
        warn(message)
