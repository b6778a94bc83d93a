"""Scalars that may still lie on a device: held without waiting, fetched later in blocks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch

from lrtrack.capture.sharded import is_shared, whole

#: Seconds between two looks at a copy under way.
_GLANCE = 0.002


class DeviceScalar:
    """A number that a device still has to compute; adding and scaling stay on the device."""

    __slots__ = ("stream", "tensor")

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor
        # Reading from another stream than the one that computes would be a race.
        self.stream = torch.cuda.current_stream(tensor.device) if tensor.is_cuda else None


class SharedScalar:
    """A sum of which other processes may hold parts; `together` asks them, no earlier."""

    __slots__ = ("parts", "rest")

    def __init__(self, parts: tuple[torch.Tensor, ...], rest: Scalar | None = None) -> None:
        self.parts = parts
        self.rest = rest


class ClippedScalar:
    """A norm of which clipping left at most `max_norm`; worked out where the norm arrives."""

    __slots__ = ("max_norm", "total")

    def __init__(self, total: DeviceScalar, max_norm: float) -> None:
        self.total = total
        self.max_norm = max_norm


Scalar = float | DeviceScalar | SharedScalar | ClippedScalar


def after_clipping(total: float, max_norm: float) -> float:
    """What `torch.nn.utils.clip_grad_norm_` makes of a norm: it multiplies it by min(1, …)."""
    return total * min(1.0, max_norm / (total + 1e-6))


def hold(tensor: torch.Tensor) -> Scalar:
    """Keep the value that a one-element tensor has now, without waiting for a device.

    Args:
        tensor: one element, any shape, real.

    Returns:
        A float for tensors in host memory, else a `DeviceScalar` of a copy: the user's tensor may
        be overwritten before it is fetched. Of a DTensor a `SharedScalar` with this process's
        part: not every process may be looking, nor at this step, so that nobody is asked here.
    """
    if is_shared(tensor):
        return SharedScalar((tensor.detach().clone(),))
    if tensor.is_cpu:
        return float(tensor.item())
    tensor = tensor.detach()
    return DeviceScalar(tensor.to(torch.float64 if tensor.is_cuda else torch.float32, copy=True))


def hold_number(value: Any) -> Scalar:
    """As `hold`, of tensors and of other numbers."""
    return hold(value) if isinstance(value, torch.Tensor) else float(value)


def together(value: Scalar) -> Scalar:
    """The value that all processes' parts make, which is a collective where there are parts.

    Raises:
        UsageError: not all processes would take part.
    """
    if not isinstance(value, SharedScalar):
        return value
    found = value.rest
    for part in value.parts:
        found = add(found, hold(whole(part)))
    return 0.0 if found is None else found


def add(left: Scalar | None, right: Scalar) -> Scalar:
    """The sum, None counting as nothing; stays on the device where both are there."""
    if left is None:
        return right
    if isinstance(left, SharedScalar) or isinstance(right, SharedScalar):
        one, other = (
            x if isinstance(x, SharedScalar) else SharedScalar((), x) for x in (left, right)
        )
        rest = one.rest if other.rest is None else add(one.rest, other.rest)
        return SharedScalar(one.parts + other.parts, rest)
    if isinstance(left, DeviceScalar) and isinstance(right, DeviceScalar):
        return DeviceScalar(left.tensor + right.tensor.to(left.tensor.device))
    return _now(left) + _now(right)


def divide(value: Scalar, by: torch.Tensor) -> Scalar:
    """`value` over a one-element tensor; stays on the device where `value` is there."""
    if isinstance(value, SharedScalar):
        rest = None if value.rest is None else divide(value.rest, by)
        return SharedScalar(tuple(part / by.item() for part in value.parts), rest)
    if isinstance(value, DeviceScalar):
        return DeviceScalar(value.tensor / by.detach().to(value.tensor.device))
    return _now(value) / float(by.item())


def scaled(value: float | DeviceScalar | ClippedScalar, factor: float) -> Scalar:
    """`value` times a number; stays on the device where `value` is there."""
    if isinstance(value, DeviceScalar):
        return DeviceScalar(value.tensor * factor)
    return _now(value) * factor


def settle(rows: Sequence[tuple[int, float, dict[str, Any]]]) -> None:
    """Replace the rows' device scalars by floats, in place, with one copy a device and stream.

    Meant for any thread but the training thread: it waits until the device gets there.
    """
    waiting: dict[Any, list[tuple[dict[str, Any], str, DeviceScalar]]] = {}
    limits: list[tuple[dict[str, Any], str, float]] = []
    for _, _, metrics in rows:
        for name, value in metrics.items():
            if isinstance(value, ClippedScalar):
                limits.append((metrics, name, value.max_norm))
                value = value.total
            if isinstance(value, DeviceScalar):
                key = (value.tensor.device, value.stream)
                waiting.setdefault(key, []).append((metrics, name, value))
    for (_, stream), found in waiting.items():
        values = _fetch([value.tensor for _, _, value in found], stream)
        for (metrics, name, _), number in zip(found, values, strict=True):
            metrics[name] = number
    for metrics, name, limit in limits:
        metrics[name] = after_clipping(metrics[name], limit)


def _now(value: float | DeviceScalar | ClippedScalar) -> float:
    if isinstance(value, ClippedScalar):
        return after_clipping(_now(value.total), value.max_norm)
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
