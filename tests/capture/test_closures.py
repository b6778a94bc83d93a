"""Steps with a closure: the record holds the loss and norm of its first evaluation."""

from __future__ import annotations

import pytest
import torch
from torch.optim import SGD


def test_lbfgs_is_one_record_a_step(make, watch, norm_of) -> None:
    """Of a closure that is evaluated many times, the first loss and norm are recorded."""
    model, loss = make()
    model.eval()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=5)
    first: list[tuple[float, float]] = []
    calls = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        calls.append((value.item(), norm_of(model.parameters())))
        return value

    with watch(optimizer) as recording:
        for _ in range(3):
            before = len(calls)
            returned = optimizer.step(closure)
            first.append(calls[before])
            assert returned.item() == calls[before][0]

    assert len(calls) > 6
    assert recording.steps == [0, 1, 2]
    assert recording.column("loss") == [value for value, _ in first]
    assert recording.column("grad_norm") == pytest.approx([norm for _, norm in first], rel=1e-6)


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_a_closures_returned_loss_counts(make, watch, by_name: bool, scale: float) -> None:
    """The loss is what the closure returns, not the tensor that backward was called on."""
    model, loss = make()
    model.eval()
    optimizer = SGD(model.parameters(), lr=0.1)
    truth = []

    def closure() -> float:
        optimizer.zero_grad()
        value = loss()
        (value * scale).backward()
        truth.append(value.item())
        return value.item()

    with watch(optimizer) as recording:
        for _ in range(3):
            named = {"closure": closure} if by_name else {}
            assert optimizer.step(*([] if by_name else [closure]), **named) == truth[-1]

    assert recording.column("loss") == truth


@pytest.mark.parametrize("accumulates", [True, False])
def test_a_closure_may_be_the_last_of_several_micro_batches(make, watch, accumulates: bool) -> None:
    """A closure's loss is added to the losses before it only with accumulation."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    truth = []

    def closure() -> torch.Tensor:
        value = loss() / 2
        value.backward()
        truth.append(value.item())
        return value

    with watch(optimizer) as recording:
        recording.capture.accumulates = accumulates
        for _ in range(3):
            optimizer.zero_grad()
            closure()
            optimizer.step(closure)

    pairs = list(zip(truth[::2], truth[1::2], strict=True))
    assert recording.column("loss") == [a + b if accumulates else b for a, b in pairs]


def test_a_closure_that_only_clips_keeps_the_loss(make, watch, norm_of) -> None:
    """A closure that only clips adds its norm and keeps the loss of the backward call before it."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    truth, norms = [], []

    def closure() -> None:
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01).item())

    with watch(optimizer) as recording:
        for _ in range(2):
            optimizer.zero_grad()
            value = loss()
            value.backward()
            truth.append(value.item())
            optimizer.step(closure)

    assert recording.column("loss") == truth
    assert recording.column("grad_norm_preclip") == norms
    assert recording.column("grad_norm")[-1] == pytest.approx(norm_of(model.parameters()))


def test_a_closure_that_returns_nothing_leaves_its_backward(make, watch) -> None:
    """If a closure returns nothing, the loss is the tensor that backward was called on."""
    model, loss = make()
    model.eval()
    optimizer = SGD(model.parameters(), lr=0.1)
    truth = []

    def closure() -> None:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        truth.append(value.item())

    with watch(optimizer) as recording:
        optimizer.step(closure)
        optimizer.step(closure)

    assert recording.column("loss") == truth


def test_every_with_a_closure(make, watch) -> None:
    """With `every=2`, only the closures of recorded steps are observed."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    truth = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        truth.append(value.item())
        return value

    with watch(optimizer, every=2) as recording:
        for _ in range(5):
            optimizer.step(closure)

    assert (recording.steps, recording.column("loss")) == ([0, 2, 4], truth[::2])


def test_a_closure_that_raises_is_not_counted(make, watch) -> None:
    """An exception in a closure reaches the user, and the step is not counted."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    error = ZeroDivisionError("mine")

    def closure() -> torch.Tensor:
        raise error

    with watch(optimizer) as recording:
        with pytest.raises(ZeroDivisionError) as caught:
            optimizer.step(closure)
        value = loss()
        value.backward()
        optimizer.step()

    assert caught.value is error
    assert (recording.steps, recording.column("loss")) == ([0], [value.item()])
