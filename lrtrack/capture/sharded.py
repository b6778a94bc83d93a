"""Tensors that several processes hold in parts (DTensor, FSDP2): put together in few collectives.

They are known by what they carry, a device mesh and placements. A collective in which a process is
missing never returns, so that every one here is taken only where all processes of the mesh observe
their optimizers: each says so beforehand in the process group's own key-value store.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import torch

from lrtrack.errors import UsageError

#: A device mesh, and those of its dimensions over which the parts of a tensor are spread.
Spread = tuple[Any, tuple[int, ...]]

#: Seconds to wait for a process that has not said yet that it observes.
PATIENCE = 5.0


def is_shared(tensor: torch.Tensor) -> bool:
    """Whether several processes hold the tensor together."""
    plain = type(tensor) in (torch.Tensor, torch.nn.Parameter)
    return not plain and hasattr(tensor, "placements") and hasattr(tensor, "device_mesh")


def spread(tensor: Any) -> Spread:
    """Where the parts of a shared tensor are; no dimension where each process has it whole."""
    mesh = tensor.device_mesh
    parts = [at for at, each in enumerate(tensor.placements) if not each.is_replicate()]
    return mesh, tuple(at for at in parts if mesh.size(at) > 1)


def local(tensor: Any) -> tuple[torch.Tensor, Spread]:
    """This process's part of a shared tensor, and where the others are.

    What is still to be summed up over the processes is summed up first, which is a collective for
    this tensor alone; gradients are hardly ever in that state when an optimizer gets them.
    """
    if any(each.is_partial() for each in tensor.placements):
        from torch.distributed.tensor import Replicate

        attendance.require([spread(tensor)])
        whole = [Replicate() if each.is_partial() else each for each in tensor.placements]
        tensor = tensor.redistribute(placements=whole)
    return tensor.to_local(), spread(tensor)


def total(parts: torch.Tensor, over: Spread) -> torch.Tensor:
    """The sum of all processes' `parts`: one collective for each dimension that is spread."""
    return _reduced(parts, over, torch.distributed.ReduceOp.SUM)


def largest(value: int, over: Iterable[Spread]) -> int:
    """The largest of all processes' values."""
    found = torch.tensor(value)
    for each in over:
        found = _reduced(found, each, torch.distributed.ReduceOp.MAX)
    return int(found.item())


def whole(tensor: Any) -> torch.Tensor:
    """The global value of a shared tensor, which is a collective."""
    attendance.require([spread(tensor)])
    found: torch.Tensor = tensor.full_tensor()
    return found


def _reduced(parts: torch.Tensor, over: Spread, operation: Any) -> torch.Tensor:
    mesh, dimensions = over
    if parts.device.type != mesh.device_type:  # offloaded, but the processes talk over the device
        parts = parts.to(mesh.device_type)
    for dimension in dimensions:
        torch.distributed.all_reduce(parts, operation, group=mesh.get_group(dimension))
    return parts


class Attendance:
    """Which processes have an optimizer with shared parameters under observation."""

    def __init__(self) -> None:
        self._open: set[int] = set()
        self._store: Any = None
        self._known: dict[Any, bool] = {}

    def enter(self, capture: object) -> None:
        """Say that this process observes, for `capture`, until its `leave`."""
        self._open.add(id(capture))
        if len(self._open) > 1:
            return
        self._known.clear()
        self._store = _store()
        if self._store is not None:
            self._store.set(_key(torch.distributed.get_rank()), "1")

    def leave(self, capture: object, failed: bool = False) -> None:
        """End what `enter` began; after a failure the store, too, may no longer answer.

        Idempotent.
        """
        if id(capture) not in self._open:
            return
        self._open.discard(id(capture))
        if not self._open and self._store is not None and not failed:
            store, self._store = self._store, None
            store.delete_key(_key(torch.distributed.get_rank()))

    def require(self, over: Iterable[Spread]) -> None:
        """Make sure that all processes will take part.

        Raises:
            UsageError: they will not. All processes of a mesh come to the same conclusion.
        """
        for mesh, dimensions in over:
            if dimensions and mesh not in self._known:
                self._known[mesh] = self._complete(mesh)
            if dimensions and not self._known[mesh]:
                raise UsageError(
                    "parameters are sharded over several processes, and not all of these have "
                    "track() open: use it on every rank, only rank 0 writes"
                )

    def _complete(self, mesh: Any) -> bool:
        if self._store is None:
            return True  # there is no way to ask
        keys = [_key(rank) for rank in mesh.mesh.flatten().tolist()]
        try:
            self._store.wait(keys, timedelta(seconds=PATIENCE))
        except Exception:  # each kind of store has its own
            return False
        return True


#: The processes' attendance, as far as this process knows.
attendance = Attendance()


def _key(rank: int) -> str:
    return f"lrtrack/observes/{rank}"


def _store() -> Any:
    """The default process group's store; None where torch does not give it away."""
    try:
        from torch.distributed.distributed_c10d import _get_default_store

        return _get_default_store()
    except Exception:
        return None
