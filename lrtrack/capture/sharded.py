"""Tensors whose parts are on several processes (DTensor, FSDP2), combined in few collectives.

They are recognized by their device mesh and placements. A collective never returns if a process is
missing, so each one here runs only if all processes of the mesh observe their optimizers. Each
process announces that beforehand in the process group's key-value store.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import torch

from lrtrack.errors import UsageError

#: A device mesh, and those of its dimensions over which a tensor is split.
Spread = tuple[Any, tuple[int, ...]]

#: Seconds to wait for a process that has not announced its observation yet.
PATIENCE = 5.0


def is_shared(tensor: torch.Tensor) -> bool:
    """Whether the tensor is distributed over several processes."""
    plain = type(tensor) in (torch.Tensor, torch.nn.Parameter)
    return not plain and hasattr(tensor, "placements") and hasattr(tensor, "device_mesh")


def spread(tensor: Any) -> Spread:
    """Return where the parts of a shared tensor are; no dimension if each process has all of it."""
    mesh = tensor.device_mesh
    parts = [at for at, placement in enumerate(tensor.placements) if not placement.is_replicate()]
    return mesh, tuple(at for at in parts if mesh.size(at) > 1)


def local(tensor: Any) -> tuple[torch.Tensor, Spread]:
    """Return this process's part of a shared tensor, and where the others are.

    If values still have to be summed over the processes, they are summed first, with a collective
    for this tensor alone. Gradients are rarely in that state when an optimizer receives them.
    """
    if any(placement.is_partial() for placement in tensor.placements):
        from torch.distributed.tensor import Replicate

        attendance.require([spread(tensor)])
        whole = [Replicate() if p.is_partial() else p for p in tensor.placements]
        tensor = tensor.redistribute(placements=whole)
    return tensor.to_local(), spread(tensor)


def total(parts: torch.Tensor, over: Spread) -> torch.Tensor:
    """Return the sum of all processes' `parts`, with one collective per split dimension."""
    return _reduced(parts, over, torch.distributed.ReduceOp.SUM)


def largest(value: int, over: Iterable[Spread]) -> int:
    """Return the largest of all processes' values."""
    maximum = torch.tensor(value)
    for mesh in over:
        maximum = _reduced(maximum, mesh, torch.distributed.ReduceOp.MAX)
    return int(maximum.item())


def whole(tensor: Any) -> torch.Tensor:
    """Return the global value of a shared tensor, with a collective."""
    attendance.require([spread(tensor)])
    full: torch.Tensor = tensor.full_tensor()
    return full


def _reduced(parts: torch.Tensor, over: Spread, operation: Any) -> torch.Tensor:
    mesh, dimensions = over
    if parts.device.type != mesh.device_type:  # offloaded; communication needs the device
        parts = parts.to(mesh.device_type)
    for dimension in dimensions:
        torch.distributed.all_reduce(parts, operation, group=mesh.get_group(dimension))
    return parts


class Attendance:
    """Knows which processes observe an optimizer with shared parameters."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._store: Any = None
        self._known: dict[Any, bool] = {}

    def enter(self, capture: object) -> None:
        """Announce that this process observes, for `capture`, until its `leave`."""
        self._open.add(id(capture))
        if len(self._open) > 1:
            return
        self._known.clear()
        self._store = group_store()
        if self._store is not None:
            self._store.set(_key(torch.distributed.get_rank()), "1")

    def leave(self, capture: object, failed: bool = False) -> None:
        """End what `enter` began. Idempotent.

        After a failure the store may no longer answer, so it is left alone.
        """
        if id(capture) not in self._open:
            return
        self._open.discard(id(capture))
        if not self._open and self._store is not None and not failed:
            store, self._store = self._store, None
            store.delete_key(_key(torch.distributed.get_rank()))

    def require(self, over: Iterable[Spread]) -> None:
        """Check that all processes will take part.

        Raises:
            UsageError: some will not. All processes of a mesh come to the same conclusion.
        """
        for mesh, dimensions in over:
            if dimensions and mesh not in self._known:
                self._known[mesh] = self._complete(mesh)
            if dimensions and not self._known[mesh]:
                raise UsageError(
                    "parameters are sharded over several processes, but not all of them have "
                    "track() open. Fix: use track() on every rank; only rank 0 writes"
                )

    def _complete(self, mesh: Any) -> bool:
        if self._store is None:
            return True  # no store to ask
        keys = [_key(rank) for rank in mesh.mesh.flatten().tolist()]
        try:
            self._store.wait(keys, timedelta(seconds=PATIENCE))
        except Exception:  # each kind of store raises its own exception
            return False
        return True


#: The attendance as known to this process.
attendance = Attendance()


def _key(rank: int) -> str:
    return f"lrtrack/observes/{rank}"


def group_store() -> Any:
    """Return the default process group's store; None if torch does not provide it."""
    try:
        from torch.distributed.distributed_c10d import _get_default_store

        return _get_default_store()
    except Exception:
        return None
