"""Steps with a closure: the record holds the loss and norm of its first evaluation."""

from __future__ import annotations

import pytest
import torch
from torch.optim import SGD


def test_lbfgs_is_one_record_a_step(make, watch, norm_of) -> None:
    """With a closure evaluated many times, loss and norm are those of its first evaluation."""
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

    with watch(optimizer) as seen:
        for _ in range(3):
            before = len(calls)
            returned = optimizer.step(closure)
            first.append(calls[before])
            assert returned.item() == calls[before][0]

    assert len(calls) > 6
    assert seen.steps == [0, 1, 2]
    assert seen.column("loss") == [value for value, _ in first]
    assert seen.column("grad_norm") == pytest.approx([norm for _, norm in first], rel=1e-6)


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_a_closures_returned_loss_counts(make, watch, by_name: bool, scale: float) -> None:
    """What the closure returns is the loss, whatever backward was called on."""
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

    with watch(optimizer) as seen:
        for _ in range(3):
            given = {"closure": closure} if by_name else {}
            assert optimizer.step(*([] if by_name else [closure]), **given) == truth[-1]

    assert seen.column("loss") == truth


@pytest.mark.parametrize("accumulates", [True, False])
def test_a_closure_may_be_the_last_of_several_micro_batches(make, watch, accumulates: bool) -> None:
    """Then what was seen before counts as well, once; else the closure's own loss alone."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    truth = []

    def closure() -> torch.Tensor:
        value = loss() / 2
        value.backward()
        truth.append(value.item())
        return value

    with watch(optimizer) as seen:
        seen.capture.accumulates = accumulates
        for _ in range(3):
            optimizer.zero_grad()
            closure()
            optimizer.step(closure)

    pairs = list(zip(truth[::2], truth[1::2], strict=True))
    assert seen.column("loss") == [a + b if accumulates else b for a, b in pairs]


def test_a_closure_that_only_clips_keeps_the_loss(make, watch, norm_of) -> None:
    """What backward was called on before it, and the norm that the clipping found."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    truth, found = [], []

    def closure() -> None:
        found.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01).item())

    with watch(optimizer) as seen:
        for _ in range(2):
            optimizer.zero_grad()
            value = loss()
            value.backward()
            truth.append(value.item())
            optimizer.step(closure)

    assert seen.column("loss") == truth
    assert seen.column("grad_norm_preclip") == found
    assert seen.column("grad_norm")[-1] == pytest.approx(norm_of(model.parameters()))


def test_a_closure_that_returns_nothing_leaves_its_backward(make, watch) -> None:
    """Without a returned loss, the one that backward was called on is the loss."""
    model, loss = make()
    model.eval()
    optimizer = SGD(model.parameters(), lr=0.1)
    truth = []

    def closure() -> None:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        truth.append(value.item())

    with watch(optimizer) as seen:
        optimizer.step(closure)
        optimizer.step(closure)

    assert seen.column("loss") == truth


def test_every_with_a_closure(make, watch) -> None:
    """Only the recorded steps' closures are looked at."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    truth = []

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        truth.append(value.item())
        return value

    with watch(optimizer, every=2) as seen:
        for _ in range(5):
            optimizer.step(closure)

    assert (seen.steps, seen.column("loss")) == ([0, 2, 4], truth[::2])


def test_a_closure_that_raises_is_not_counted(make, watch) -> None:
    """The exception is the user's own, and the step is none."""
    model, loss = make()
    optimizer = SGD(model.parameters(), lr=0.1)
    mine = ZeroDivisionError("mine")

    def closure() -> torch.Tensor:
        raise mine

    with watch(optimizer) as seen:
        with pytest.raises(ZeroDivisionError) as caught:
            optimizer.step(closure)
        value = loss()
        value.backward()
        optimizer.step()

    assert caught.value is mine
    assert (seen.steps, seen.column("loss")) == ([0], [value.item()])
