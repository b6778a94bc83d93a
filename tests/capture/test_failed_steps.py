"""Steps, backward passes and observations that raise."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.optim import SGD

from lrtrack.errors import LRTrackWarning


class Breaks(SGD):
    """An optimizer whose step can be made to fail."""

    broken: Exception | None = None

    def step(self, closure: Any = None) -> Any:
        """Fail, or step."""
        if self.broken is not None:
            raise self.broken
        return super().step(closure)


def test_a_step_that_calls_its_parents_step_is_one_step(make, watch) -> None:
    """torch runs the hooks once for each class's `step`; the record is made once."""
    model, loss = make()
    SGD(model.parameters(), lr=0.1)  # from here on torch's hooks are in SGD.step as well
    optimizer = Breaks(model.parameters(), lr=0.1)
    truth = []
    with watch(optimizer) as seen:
        for _ in range(3):
            optimizer.zero_grad()
            value = loss()
            value.backward()
            truth.append(value.item())
            optimizer.step()

    assert seen.steps == [0, 1, 2]
    assert seen.column("loss") == truth


def test_a_step_that_raises_is_not_counted(make, watch) -> None:
    """The exception is the user's own; the next step has the next number and only its loss."""
    model, loss = make()
    optimizer = Breaks(model.parameters(), lr=0.1)
    truth, mine = [], ZeroDivisionError("mine")
    with watch(optimizer) as seen:
        for step in range(4):
            optimizer.zero_grad()
            value = loss()
            value.backward()
            optimizer.broken = mine if step == 1 else None
            if step == 1:
                with pytest.raises(ZeroDivisionError) as caught:
                    optimizer.step()
            else:
                truth.append(value.item())
                optimizer.step()

    assert caught.value is mine
    assert seen.steps == [0, 1, 2]
    assert seen.column("loss") == truth


def test_a_step_tried_again_keeps_its_loss(make, watch) -> None:
    """A step that fails and then works, on the same gradients, has the loss they came from."""
    model, loss = make()
    optimizer = Breaks(model.parameters(), lr=0.1)
    with watch(optimizer) as seen:
        value = loss()
        value.backward()
        optimizer.broken = ZeroDivisionError()
        with pytest.raises(ZeroDivisionError):
            optimizer.step()
        optimizer.broken = None
        optimizer.step()

    assert seen.column("loss") == [value.item()]


class BadBackward(torch.autograd.Function):
    """A function that cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError("mine")


def test_a_backward_that_raises_counts_in_no_loss(make, watch) -> None:
    """The exception goes through, and the batch that was given up leaves no trace."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    with watch(optimizer) as seen:
        with pytest.raises(ZeroDivisionError, match="mine"):
            BadBackward.apply(loss()).backward()
        value = loss()
        value.backward()
        optimizer.step()

    assert seen.column("loss") == [value.item()]


def test_an_observation_that_fails_is_one_warning(make, watch) -> None:
    """A norm that raises costs the norm, once said; the rest of the record is there."""

    class Weird(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None):
            if "norm" in getattr(function, "__name__", ""):
                raise NotImplementedError("no norm of this")
            return super().__torch_function__(function, types, args, kwargs or {})

    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = SGD([parameter], lr=0.5, foreach=False)
    with watch(optimizer) as seen:
        with pytest.warns(LRTrackWarning, match="could not observe the gradients") as caught:
            for _ in range(3):
                value = (parameter * 2).sum()
                value.backward()
                parameter.grad = torch.ones(3).as_subclass(Weird)
                optimizer.step()

    assert len(caught) == 1
    assert seen.column("lr") == [0.5] * 3
    assert seen.column("loss") == [6.0, 3.0, 0.0]
    assert seen.column("grad_norm") == [None] * 3


def test_a_record_that_cannot_be_taken_is_one_warning(make, watch) -> None:
    """Where the receiver fails, training goes on and steps are counted."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)

    def refuse(*record: Any) -> None:
        raise OSError("no room")

    with watch(optimizer, on_step=refuse) as seen:
        with pytest.warns(LRTrackWarning, match="no room") as caught:
            for _ in range(3):
                loss().backward()
                optimizer.step()

    assert len(caught) == 1
    assert seen.capture.step == 2
