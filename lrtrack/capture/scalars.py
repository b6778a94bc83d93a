"""Scalars that may still lie on a device: held without waiting, fetched later in blocks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch

#: Seconds between two looks at a copy under way.
_GLANCE = 0.002


class DeviceScalar:
    """A number that a device still has to compute; adding and scaling stay on the device."""

    __slots__ = ("stream", "tensor")

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor
        # Reading from another stream than the one that computes would be a race.
        self.stream = torch.cuda.current_stream(tensor.device) if tensor.is_cuda else None


Scalar = float | DeviceScalar


def hold(tensor: torch.Tensor) -> Scalar:
    """Keep the value that a one-element tensor has now, without waiting for a device.

    Args:
        tensor: one element, any shape, real; of a DTensor the global value.

    Returns:
        A float for tensors in host memory, else a `DeviceScalar` of a copy: the user's tensor may
        be overwritten before it is fetched.
    """
    tensor = tensor.detach()
    full = getattr(tensor, "full_tensor", None)
    if full is not None:  # every rank takes part
        tensor = full()
    if tensor.device.type == "cpu":
        return float(tensor.item())
    return DeviceScalar(tensor.to(torch.float64 if tensor.is_cuda else torch.float32, copy=True))


def add(left: Scalar | None, right: Scalar) -> Scalar:
    """The sum, None counting as nothing; stays on the device where both are there."""
    if left is None:
        return right
    if isinstance(left, DeviceScalar) and isinstance(right, DeviceScalar):
        return DeviceScalar(left.tensor + right.tensor.to(left.tensor.device))
    return _now(left) + _now(right)


def divide(value: Scalar, by: torch.Tensor) -> Scalar:
    """`value` over a one-element tensor; stays on the device where `value` is there."""
    if isinstance(value, DeviceScalar):
        return DeviceScalar(value.tensor / by.detach().to(value.tensor.device))
    return value / float(by.item())


def settle(rows: Sequence[tuple[int, float, dict[str, Any]]]) -> None:
    """Replace the rows' device scalars by floats, in place, with one copy a device and stream.

    Meant for any thread but the training thread: it waits until the device gets there.
    """
    waiting: dict[Any, list[tuple[dict[str, Any], str, DeviceScalar]]] = {}
    for _, _, metrics in rows:
        for name, value in metrics.items():
            if isinstance(value, DeviceScalar):
                key = (value.tensor.device, value.stream)
                waiting.setdefault(key, []).append((metrics, name, value))
    for (_, stream), found in waiting.items():
        values = _fetch([value.tensor for _, _, value in found], stream)
        for (metrics, name, _), number in zip(found, values, strict=True):
            metrics[name] = number


def _now(value: Scalar) -> float:
    return float(value.tensor.item()) if isinstance(value, DeviceScalar) else value


def _fetch(tensors: list[torch.Tensor], stream: Any) -> list[float]:
    if stream is None:
        return [float(x) for x in torch.stack([t.reshape(()) for t in tensors]).cpu().tolist()]
    with torch.cuda.stream(stream):
        stacked = torch.stack([tensor.reshape(()) for tensor in tensors])
        host = torch.empty(stacked.shape, dtype=stacked.dtype, pin_memory=True)
        host.copy_(stacked, non_blocking=True)
        done: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record(stream)
    while not done.query():  # polled, not waited for: a wait may hold locks the trainer needs
        time.sleep(_GLANCE)
    return [float(x) for x in host.tolist()]
