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
        """Fail, or make a step."""
        if self.broken is not None:
            raise self.broken
        return super().step(closure)


def test_a_step_that_calls_its_parents_step_is_one_step(make, watch) -> None:
    """A step that calls its parent's step is recorded once, although torch runs the hooks twice."""
    model, loss = make()
    SGD(model.parameters(), lr=0.1)  # from here on torch's hooks are in SGD.step as well
    optimizer = Breaks(model.parameters(), lr=0.1)
    truth = []
    with watch(optimizer) as recording:
        for _ in range(3):
            optimizer.zero_grad()
            value = loss()
            value.backward()
            truth.append(value.item())
            optimizer.step()

    assert recording.steps == [0, 1, 2]
    assert recording.column("loss") == truth


def test_a_step_that_raises_is_not_counted(make, watch) -> None:
    """After a step that raises, the exception is unchanged and the next step takes its number."""
    model, loss = make()
    optimizer = Breaks(model.parameters(), lr=0.1)
    truth, error = [], ZeroDivisionError("mine")
    with watch(optimizer) as recording:
        for step in range(4):
            optimizer.zero_grad()
            value = loss()
            value.backward()
            optimizer.broken = error if step == 1 else None
            if step == 1:
                with pytest.raises(ZeroDivisionError) as caught:
                    optimizer.step()
            else:
                truth.append(value.item())
                optimizer.step()

    assert caught.value is error
    assert recording.steps == [0, 1, 2]
    assert recording.column("loss") == truth


def test_a_step_tried_again_keeps_its_loss(make, watch) -> None:
    """A step that fails and then succeeds on the same gradients has the loss they came from."""
    model, loss = make()
    optimizer = Breaks(model.parameters(), lr=0.1)
    with watch(optimizer) as recording:
        value = loss()
        value.backward()
        optimizer.broken = ZeroDivisionError()
        with pytest.raises(ZeroDivisionError):
            optimizer.step()
        optimizer.broken = None
        optimizer.step()

    assert recording.column("loss") == [value.item()]


class BadBackward(torch.autograd.Function):
    """A function that cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        raise ZeroDivisionError("mine")


def test_a_backward_that_raises_counts_in_no_loss(make, watch) -> None:
    """A backward call that raises passes its exception on and adds to no loss."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    with watch(optimizer) as recording:
        with pytest.raises(ZeroDivisionError, match="mine"):
            BadBackward.apply(loss()).backward()
        value = loss()
        value.backward()
        optimizer.step()

    assert recording.column("loss") == [value.item()]


def test_an_observation_that_fails_is_one_warning(make, watch) -> None:
    """A norm that raises is missing with one warning, and the rest of the record is complete."""

    class Weird(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None):
            if "norm" in getattr(function, "__name__", ""):
                raise NotImplementedError("no norm of this")
            return super().__torch_function__(function, types, args, kwargs or {})

    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = SGD([parameter], lr=0.5, foreach=False)
    with watch(optimizer) as recording:
        with pytest.warns(LRTrackWarning, match="could not observe the gradients") as caught:
            for _ in range(3):
                value = (parameter * 2).sum()
                value.backward()
                parameter.grad = torch.ones(3).as_subclass(Weird)
                optimizer.step()

    assert len(caught) == 1
    assert recording.column("lr") == [0.5] * 3
    assert recording.column("loss") == [6.0, 3.0, 0.0]
    assert recording.column("grad_norm") == [None] * 3


def test_a_record_that_cannot_be_taken_is_one_warning(make, watch) -> None:
    """If the receiver of records fails, training continues and steps are counted."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)

    def refuse(*record: Any) -> None:
        raise OSError("no room")

    with watch(optimizer, on_step=refuse) as recording:
        with pytest.warns(LRTrackWarning, match="no room") as caught:
            for _ in range(3):
                loss().backward()
                optimizer.step()

    assert len(caught) == 1
    assert recording.capture.step == 2
