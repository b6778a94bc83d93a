"""Numbers that a device may still be computing: their sums, quotients and norms, once fetched."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from lrtrack.capture import device_scalars
from lrtrack.capture.device_scalars import (
    ClippedScalar,
    DeviceScalar,
    JointNorm,
    Quotient,
    SharedScalar,
    add,
    divide,
    hold,
    hold_number,
    joint,
    quotient,
    scaled,
    settle,
    together,
)


def on_device(value: float) -> DeviceScalar:
    """A number that counts as one on a device."""
    return DeviceScalar(torch.tensor(value))


def fetched(value: Any) -> Any:
    """The number that a journal gets."""
    metrics = {"value": value, "other": 1.0}
    settle([(0, 0.0, metrics)])
    assert metrics["other"] == 1.0
    return metrics["value"]


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (on_device(3.0), 3.0),
        (ClippedScalar(on_device(3.0), 1.0), 3.0 * (1.0 / (3.0 + 1e-6))),
        (ClippedScalar(on_device(0.5), 1.0), 0.5),
        (joint([on_device(3.0), 4.0]), 5.0),
        (joint([joint([on_device(2.0), on_device(3.0)]), 6.0]), 7.0),
        (joint([3.0, 4.0]), 5.0),
        (joint([on_device(3.0)]), 3.0),
        (quotient(on_device(3.0), 4.0), 0.75),
        (quotient(3.0, on_device(4.0)), 0.75),
        (quotient(on_device(0.0), on_device(0.0)), 0.0),
        (quotient(2.0, 0.0), math.inf),
        (quotient(0.0, 0.0), 0.0),
        (quotient(joint([on_device(3.0), 4.0]), ClippedScalar(on_device(0.5), 1.0)), 10.0),
        (add(on_device(3.0), on_device(4.0)), 7.0),
        (add(on_device(3.0), 4.0), 7.0),
        (add(None, on_device(4.0)), 4.0),
        (divide(on_device(3.0), torch.tensor(4.0)), 0.75),
        (divide(3.0, torch.tensor(4.0)), 0.75),
        (scaled(on_device(3.0), 0.5), 1.5),
        (scaled(ClippedScalar(on_device(0.5), 1.0), 0.5), 0.25),
        (scaled(3.0, 0.5), 1.5),
        (hold_number(3), 3.0),
        (hold_number(torch.tensor([[3.0]])), 3.0),
    ],
)
def test_numbers_once_they_are_fetched(value: Any, number: float) -> None:
    """Each of them is what the same operations on floats give."""
    assert fetched(value) == number


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (add(on_device(1.0), on_device(1.0)), DeviceScalar),
        (divide(on_device(1.0), torch.tensor(2.0)), DeviceScalar),
        (scaled(on_device(1.0), 2.0), DeviceScalar),
        (joint([on_device(1.0), 1.0]), JointNorm),
        (joint([1.0, 1.0]), float),
        (quotient(on_device(1.0), 1.0), Quotient),
        (quotient(1.0, on_device(1.0)), Quotient),
        (quotient(1.0, 1.0), float),
        (hold(torch.tensor(1.0)), float),
    ],
)
def test_what_waits_for_a_device(value: Any, kind: type) -> None:
    """Only what needs no number from a device is a float at once."""
    assert type(value) is kind


def test_values_are_fetched_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """All numbers of one device are fetched at once, each of them once; other values stay."""
    calls: list[list[float]] = []

    def fetch(tensors: list[torch.Tensor], stream: Any) -> list[float]:
        assert stream is None
        calls.append([tensor.item() for tensor in tensors])
        return calls[-1]

    monkeypatch.setattr(device_scalars, "_fetch", fetch)
    one, two = on_device(1.0), on_device(2.0)
    rows: list[tuple[int, float, dict[str, Any]]] = [
        (0, 0.0, {"a": one, "b": quotient(one, two)}),
        (1, 0.0, {"a": two, "b": 7.0}),
    ]
    settle(rows)

    assert calls == [[1.0, 2.0]]
    assert [metrics for _, _, metrics in rows] == [{"a": 1.0, "b": 0.5}, {"a": 2.0, "b": 7.0}]
    assert not device_scalars._fetching.locked()


def test_sums_with_parts_of_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts stay apart until they are added up, and what has no parts is added once."""
    monkeypatch.setattr(device_scalars, "whole", lambda part: part)  # alone
    one = SharedScalar((torch.tensor(1.0),))
    total = add(add(4.0, one), add(SharedScalar((torch.tensor(2.0),)), 8.0))
    assert isinstance(total, SharedScalar)

    assert ([part.item() for part in total.parts], total.rest) == ([1.0, 2.0], 12.0)
    assert together(total) == 15.0
    assert together(one) == 1.0
    assert together(SharedScalar(())) == 0.0
    assert together(divide(total, torch.tensor(2.0))) == 7.5
    assert together(divide(one, torch.tensor(2.0))) == 0.5


def test_a_pause_of_the_fetching() -> None:
    """Nothing is fetched during a pause, whose end may be told twice."""
    device_scalars.pause()
    assert device_scalars._fetching.locked()
    device_scalars.resume()
    device_scalars.resume()

    assert fetched(on_device(2.0)) == 2.0
