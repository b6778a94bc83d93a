"""Scalars that may still be on a device: held without waiting, fetched later in blocks."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from lrtrack.capture.sharded import is_shared, whole

#: Seconds between two checks of a copy in progress.
_GLANCE = 0.002
#: Seconds after which a pause is over even if nobody has ended it.
_LONGEST = 60.0
#: Held during a fetch, and during a pause.
_fetching = threading.Lock()


class DeviceScalar:
    """A number that a device may still be computing; sums and products stay on the device."""

    __slots__ = ("stream", "tensor")

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor
        # Reading from another stream than the computing one would be a race.
        self.stream = torch.cuda.current_stream(tensor.device) if tensor.is_cuda else None


class SharedScalar:
    """A sum whose parts may be on other processes; only `together` adds them up."""

    __slots__ = ("parts", "rest")

    def __init__(self, parts: tuple[torch.Tensor, ...], rest: Scalar | None = None) -> None:
        self.parts = parts
        self.rest = rest


class ClippedScalar:
    """A norm that clipping reduced to at most `max_norm`; computed after fetching it."""

    __slots__ = ("max_norm", "total")

    def __init__(self, total: DeviceScalar, max_norm: float) -> None:
        self.total = total
        self.max_norm = max_norm


class JointNorm:
    """The L2 norm over everything that several norms are over; computed after fetching them."""

    __slots__ = ("norms",)

    def __init__(self, norms: Sequence[Any]) -> None:
        self.norms = norms


class Quotient:
    """One number divided by another; computed after fetching them."""

    __slots__ = ("by", "number")

    def __init__(self, number: Any, by: Any) -> None:
        self.number = number
        self.by = by


Scalar = float | DeviceScalar | SharedScalar | ClippedScalar
#: What `settle` replaces by numbers.
_UNSETTLED = (DeviceScalar, ClippedScalar, JointNorm, Quotient)


def joint(norms: Sequence[float | DeviceScalar | ClippedScalar | JointNorm]) -> Any:
    """Return the root of the sum of squares, without waiting for a device."""
    if len(norms) == 1:
        return norms[0]
    if all(type(norm) is float for norm in norms):
        return math.hypot(*norms)  # type: ignore[arg-type]
    flat = [
        part for norm in norms for part in (norm.norms if isinstance(norm, JointNorm) else [norm])
    ]
    return JointNorm(flat)


def quotient(number: Any, by: Any) -> Any:
    """Return `number` / `by`, 0 where `number` is 0, without waiting for a device.

    Args:
        number, by: as `joint` takes and returns them.
    """
    both_known = type(number) is float and type(by) is float
    return _divided(number, by) if both_known else Quotient(number, by)


def _divided(number: float, by: float) -> float:
    if number == 0.0:
        return 0.0
    return number / by if by else number * math.inf


def after_clipping(total: float, max_norm: float) -> float:
    """Return the norm after `torch.nn.utils.clip_grad_norm_`, which multiplies it by min(1, …)."""
    return total * min(1.0, max_norm / (total + 1e-6))


def hold(tensor: torch.Tensor) -> Scalar:
    """Keep the current value of a one-element tensor without waiting for a device.

    Args:
        tensor: one element, any shape, real.

    Returns:
        A float for tensors in host memory, else a `DeviceScalar` with a copy, because the user may
        overwrite the tensor before it is fetched. For a DTensor, a `SharedScalar` with this
        process's part: other processes may not record this step, so nothing is communicated here.
    """
    if is_shared(tensor):
        return SharedScalar((tensor.detach().clone(),))
    if tensor.is_cpu:
        return float(tensor.item())
    tensor = tensor.detach()
    return DeviceScalar(tensor.to(torch.float64 if tensor.is_cuda else torch.float32, copy=True))


def hold_number(value: Any) -> Scalar:
    """Like `hold`, for tensors and other numbers."""
    return hold(value) if isinstance(value, torch.Tensor) else float(value)


def together(value: Scalar) -> Scalar:
    """Return the sum of all processes' parts; if there are parts, this is a collective.

    Raises:
        UsageError: not all processes would take part.
    """
    if not isinstance(value, SharedScalar):
        return value
    total = value.rest
    for part in value.parts:
        total = add(total, hold(whole(part)))
    return 0.0 if total is None else total


def add(left: Scalar | None, right: Scalar) -> Scalar:
    """Return the sum; None counts as nothing. Stays on the device if both values are there."""
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
    """Divide `value` by a one-element tensor; stays on the device if `value` is there."""
    if isinstance(value, SharedScalar):
        rest = None if value.rest is None else divide(value.rest, by)
        return SharedScalar(tuple(part / by.item() for part in value.parts), rest)
    if isinstance(value, DeviceScalar):
        return DeviceScalar(value.tensor / by.detach().to(value.tensor.device))
    return _now(value) / float(by.item())


def scaled(value: float | DeviceScalar | ClippedScalar, factor: float) -> Scalar:
    """Multiply `value` by a number; stays on the device if `value` is there."""
    if isinstance(value, DeviceScalar):
        return DeviceScalar(value.tensor * factor)
    return _now(value) * factor


def pause() -> None:
    """Fetch nothing until `resume`, after waiting for a fetch that has begun."""
    _fetching.acquire(timeout=_LONGEST)


def resume() -> None:
    """End `pause`. Idempotent."""
    with contextlib.suppress(RuntimeError):  # it has taken too long, and is over already
        _fetching.release()


def settle(rows: Sequence[tuple[int, float, dict[str, Any]]]) -> None:
    """Replace the rows' device scalars by floats, in place, with one copy per device and stream.

    Not for the training thread, because it waits for the device.
    """
    waiting: dict[Any, dict[int, DeviceScalar]] = {}
    unsettled: list[tuple[dict[str, Any], str, Any]] = []
    for _, _, metrics in rows:
        for name, value in metrics.items():
            if isinstance(value, _UNSETTLED):
                unsettled.append((metrics, name, value))
                for scalar in _on_devices(value):
                    key = (scalar.tensor.device, scalar.stream)
                    waiting.setdefault(key, {})[id(scalar)] = scalar
    numbers: dict[int, float] = {}
    for (_, stream), scalars in waiting.items():
        _fetching.acquire(timeout=_LONGEST)
        try:
            values = _fetch([scalar.tensor for scalar in scalars.values()], stream)
        finally:
            resume()
        numbers.update(zip(scalars, values, strict=True))
    for metrics, name, value in unsettled:
        metrics[name] = _settled(value, numbers)


def _on_devices(value: Any) -> Iterator[DeviceScalar]:
    """Yield the scalars that `value` is computed from."""
    if isinstance(value, DeviceScalar):
        yield value
    elif isinstance(value, ClippedScalar):
        yield value.total
    elif isinstance(value, JointNorm):
        for norm in value.norms:
            yield from _on_devices(norm)
    elif isinstance(value, Quotient):
        yield from _on_devices(value.number)
        yield from _on_devices(value.by)


def _settled(value: Any, numbers: Mapping[int, float]) -> Any:
    """Return `value` as a number, given those of the device scalars by their ids."""
    if isinstance(value, DeviceScalar):
        return numbers[id(value)]
    if isinstance(value, ClippedScalar):
        return after_clipping(numbers[id(value.total)], value.max_norm)
    if isinstance(value, JointNorm):
        return math.hypot(*(_settled(norm, numbers) for norm in value.norms))
    if isinstance(value, Quotient):
        return _divided(_settled(value.number, numbers), _settled(value.by, numbers))
    return value


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
        event: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(stream)
    while not event.query():  # polled, because waiting may hold locks that the trainer needs
        time.sleep(_GLANCE)
    return [float(x) for x in host.tolist()]
