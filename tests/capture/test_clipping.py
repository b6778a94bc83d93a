"""The norm after clipping is known without reading the gradients again, unless they change."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.utils._python_dispatch import TorchDispatchMode

from lrtrack.capture.step_capture import StepCapture


class Operations(TorchDispatchMode):
    """Counts calls to torch's kernels by name."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(func.overloadpacket))
        return func(*args, **(kwargs or {}))


class Loop:
    """A small model whose steps are observed."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Linear(8, 1))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)
        self.found: list[dict[str, Any]] = []
        self.capture = StepCapture(
            self.optimizer, on_step=lambda step, time, metrics: self.found.append(metrics)
        )

    def backward(self) -> None:
        """Compute fresh gradients, with a norm well above 1."""
        self.optimizer.zero_grad()
        (100 * self.model(torch.randn(16, 4)) - 1).square().mean().backward()

    def truth(self) -> float:
        """Return the gradients' norm in float64."""
        squares = [p.grad.double().square().sum() for p in self.model.parameters()]
        return float(torch.stack(squares).sum().sqrt())


@pytest.fixture
def loop() -> Iterator[Loop]:
    """A loop under observation."""
    found = Loop()
    found.capture.attach()
    yield found
    found.capture.detach()


def step(loop: Loop, change: Callable[[Loop], object]) -> tuple[float, list[str]]:
    """Make a step with gradients changed this way; return the true norm and the norms computed."""
    loop.backward()
    change(loop)
    truth = loop.truth()
    with Operations() as operations:
        loop.optimizer.step()
    return truth, [name for name in operations.seen if "norm" in name]


@pytest.mark.parametrize("limit", [0.5, 1e9])
def test_no_second_pass_over_the_gradients(loop: Loop, limit: float) -> None:
    """After `clip_grad_norm_`, the step records the clipped norm without computing one."""
    truth, norms = step(loop, lambda loop: clip_grad_norm_(loop.model.parameters(), limit))

    assert norms == []
    assert loop.found[0]["grad_norm"] == pytest.approx(truth, rel=1e-6)
    assert loop.found[0]["grad_norm_preclip"] >= loop.found[0]["grad_norm"]


@pytest.mark.parametrize(
    "change",
    [
        lambda loop: clip_grad_norm_(loop.model.parameters(), 0.5, norm_type=float("inf")),
        lambda loop: clip_grad_norm_(loop.model.parameters(), 0.5, 1.0),
        lambda loop: clip_grad_norm_(loop.model[0].parameters(), 0.5),
        lambda loop: clip_grad_norm_(reversed(list(loop.model.parameters())), 0.5),
        lambda loop: [clip_grad_norm_(part.parameters(), 0.5) for part in loop.model],
        lambda loop: [
            clip_grad_norm_(loop.model.parameters(), 0.5),
            loop.model[1].weight.grad.mul_(3.0),
        ],
        lambda loop: [
            clip_grad_norm_(loop.model.parameters(), 0.5),
            clip_grad_value_(loop.model.parameters(), 0.01),
        ],
        lambda loop: [
            clip_grad_norm_(loop.model.parameters(), 0.5),
            setattr(loop.model[1].weight, "grad", loop.model[1].weight.grad * 3.0),
        ],
        lambda loop: [
            clip_grad_norm_(loop.model.parameters(), 0.5),
            (100 * loop.model(torch.randn(16, 4))).square().mean().backward(),
        ],
        lambda loop: None,
    ],
    ids=["inf-norm", "1-norm", "a-part", "another-order", "part-by-part", "changed-in-place",
         "clipped-by-value", "replaced", "added-to", "not-clipped"],
)  # fmt: skip
def test_what_does_not_follow_is_computed(loop: Loop, change: Callable[[Loop], object]) -> None:
    """If anything else changed the gradients after clipping, the norm is computed again."""
    truth, norms = step(loop, change)

    assert norms == ["aten._foreach_norm"]
    assert loop.found[0]["grad_norm"] == pytest.approx(truth, rel=1e-6)


def test_a_norm_of_zero(loop: Loop) -> None:
    """Gradients that are all zero have norm 0 after clipping."""

    def vanish(loop: Loop) -> None:
        for parameter in loop.model.parameters():
            parameter.grad.zero_()
        clip_grad_norm_(loop.model.parameters(), 0.5)

    step(loop, vanish)

    assert loop.found[0]["grad_norm"] == 0.0


def test_gradients_that_are_not_finite(loop: Loop) -> None:
    """An infinite gradient makes the norm after clipping NaN, as it really is."""

    def blow_up(loop: Loop) -> None:
        loop.model[0].weight.grad[0, 0] = float("inf")
        clip_grad_norm_(loop.model.parameters(), 0.5)

    truth, norms = step(loop, blow_up)

    assert norms == ["aten._foreach_norm"]
    assert [math.isnan(norm) for norm in (truth, loop.found[0]["grad_norm"])] == [True, True]


def test_gradients_of_a_skipped_step_are_let_go(loop: Loop) -> None:
    """Gradients that are clipped and then dropped are freed."""
    loop.backward()
    clip_grad_norm_(loop.model.parameters(), 0.5)
    storage = weakref.ref(loop.model[0].weight.grad.untyped_storage())
    gradient = weakref.ref(loop.model[0].weight.grad)
    loop.optimizer.zero_grad()
    gc.collect()

    assert (gradient(), storage()) == (None, None)


def test_two_captures_of_one_optimizer(loop: Loop) -> None:
    """Two captures of one optimizer both record the norm after clipping."""
    records: list[dict[str, Any]] = []
    other = StepCapture(loop.optimizer, on_step=lambda step, time, metrics: records.append(metrics))
    other.attach()
    truth, norms = step(loop, lambda loop: clip_grad_norm_(loop.model.parameters(), 0.5))
    other.detach()

    assert norms == []
    assert [each["grad_norm"] for each in (records[0], loop.found[0])] == pytest.approx([truth] * 2)
