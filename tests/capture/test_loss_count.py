"""The number of backward calls behind a recorded loss."""

from __future__ import annotations

import pytest
import torch
from torch.optim import LBFGS, SGD

import lrtrack
from lrtrack.capture.accumulation import FixedDivisor
from lrtrack.trackers.base import Query
from lrtrack.trackers.local import LocalTracker


@pytest.fixture
def weight() -> torch.nn.Parameter:
    """Return one weight, for losses of any value."""
    return torch.nn.Parameter(torch.zeros(1))


def backward(weight: torch.nn.Parameter, times: int, value: float = 1.0) -> None:
    """Call `backward()` this many times, on losses of this value."""
    for _ in range(times):
        (weight.sum() * 0.0 + value).backward()


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([1, 1, 1], [None] * 3),
        ([4, 4, 3], [4.0, 4.0, 3.0]),
        ([1, 1, 2, 1], [None, None, 2.0, 1.0]),
        ([0, 1, 0, 2, 0], [None, None, None, 2.0, None]),
    ],
)
def test_counts_are_there_from_the_first_unusual_step_on(watch, weight, calls, expected) -> None:
    """Counts start with the first step that has more than one backward call, and need a loss."""
    optimizer = SGD([weight], lr=0.1)
    with watch(optimizer) as recording:
        for times in calls:
            backward(weight, times)
            optimizer.step()

    assert recording.column("loss_count") == expected
    assert recording.column("loss") == [float(times) if times else None for times in calls]


def test_only_calls_that_brought_a_loss_count(watch, weight) -> None:
    """Only successful calls on scalars count; a list of losses is one call."""
    optimizer = SGD([weight], lr=0.1)
    with watch(optimizer) as recording:
        backward(weight, 2)
        with pytest.raises(RuntimeError):
            torch.zeros(()).backward()
        (weight * torch.ones(3)).backward(torch.ones(3))
        torch.autograd.backward([weight.sum() * 0.0 + 2.0, weight.sum() * 0.0 + 3.0])
        optimizer.step()

    assert (recording.column("loss"), recording.column("loss_count")) == ([7.0], [3.0])


def test_a_skipped_step_takes_its_calls_with_it(watch, weight) -> None:
    """The backward calls of a step that a GradScaler skipped do not count in later steps."""
    optimizer, scaler = SGD([weight], lr=0.1), torch.amp.GradScaler("cpu", init_scale=2.0)
    with watch(optimizer) as recording:
        for bad in (False, True, False):
            for _ in range(2):
                scaler.scale(
                    weight.sum() + (float("inf") if bad else 0.0) * weight.sum()
                ).backward()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()

    assert recording.column("loss_count") == [2.0, 2.0]


def test_a_closures_own_loss_is_one(watch, weight) -> None:
    """A closure's loss counts as one call, plus those before it if batches are accumulated."""
    optimizer = LBFGS([weight], max_iter=5)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = (weight.sum() - 3.0) ** 2
        loss.backward()
        return loss

    with watch(optimizer) as recording:
        optimizer.step(closure)
        recording.capture.accumulates = True
        backward(weight, 2)
        optimizer.step(closure)

    assert recording.column("loss_count") == [None, 3.0]


def test_each_optimizer_has_the_calls_before_its_own_step(watch, weight) -> None:
    """Each optimizer counts the calls before its own step, as in a training with two models."""
    other = torch.nn.Parameter(torch.zeros(1))
    first, second = SGD([weight], lr=0.1), SGD([other], lr=0.1)
    with watch(first) as first_recording, watch(second) as second_recording:
        for _ in range(2):
            backward(weight, 2)
            first.step()
            backward(other, 1)
            second.step()

    assert first_recording.column("loss_count") == [2.0, 2.0]
    assert second_recording.column("loss_count") == [None, None]


def test_without_losses_there_are_no_counts(watch, weight) -> None:
    """With `capture_loss=False`, an accumulating loop has neither losses nor counts."""
    optimizer = SGD([weight], lr=0.1)
    with watch(optimizer, capture_loss=False) as recording:
        backward(weight, 4)
        optimizer.step()

    assert recording.column("loss_count") == recording.column("loss") == [None]


def test_training_is_the_same_bit_for_bit(make, watch) -> None:
    """Counting changes neither weights nor random numbers."""
    weights = []
    for observed in (False, True):
        model, loss = make()
        optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
        watched = watch(optimizer) if observed else torch.enable_grad()
        with watched:
            for batch in range(11):
                (loss() / 4).backward()
                if batch % 4 == 3 or batch == 10:
                    optimizer.step()
                    optimizer.zero_grad()
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))

    assert torch.equal(*weights)


def test_summaries_of_a_plain_loop_are_of_means(weight) -> None:
    """Of eleven batches in groups of four, the last group is reported as the mean of its three."""
    optimizer = SGD([weight], lr=0.1)
    with lrtrack.track(optimizer, tracker="local", every=1) as run:
        for batch in range(22):
            backward(weight, 1, 8.0 / 4)
            if batch % 11 in (3, 7, 10):
                optimizer.step()
    (history,) = LocalTracker().histories(Query())

    assert history.series("loss")[1].tolist() == [8.0, 8.0, 6.0] * 2
    assert history.series("loss_count")[1].tolist() == [4.0, 4.0, 3.0] * 2
    assert (run.loss(), run.loss(last=1), run.loss(last=3)) == (8.0, 8.0, 8.0)
    assert run.summary()["loss_final"] == run.summary()["loss_best"] == 8.0


def test_a_loss_of_the_users_own_is_not_scaled(weight) -> None:
    """`run.log(loss=…)` removes the count, because the divisor of such a loss is unknown."""
    optimizer = SGD([weight], lr=0.1)
    with lrtrack.track(optimizer, tracker="local", prefix="a/") as run:
        for calls in (4, 4, 3):
            backward(weight, calls, 2.0)
            optimizer.step()
        run.log(loss=5.0)
    (history,) = LocalTracker().histories(Query())

    assert history.series("loss_count")[1].tolist() == [4.0, 4.0, 0.0]
    assert run.loss() == 5.0


def test_a_resumed_run_goes_on_counting(weight) -> None:
    """A resumed run keeps counting, even if its first group is a single leftover batch."""
    optimizer = SGD([weight], lr=0.1)
    with lrtrack.track(optimizer, tracker="local") as first:
        for _ in range(2):
            backward(weight, 4, 2.0)
            optimizer.step()
    with lrtrack.track(optimizer, tracker="local", resume=first.id) as run:
        backward(weight, 1, 2.0)
        optimizer.step()
    (history,) = LocalTracker().histories(Query())

    assert history.series("loss_count")[1].tolist() == [4.0, 4.0, 1.0]
    assert run.loss() == 8.0


@pytest.mark.parametrize(
    ("divisors", "counts", "expected"),
    [
        ([4] * 3, [4, 3, 1], [1.0, 4 / 3, 4.0]),
        ([4] * 3, [8, 6, 2], [1.0, 8 / 6, 4.0]),  # two losses in each batch
        ([4] * 2, [6, 8], [1.0, 1.0]),
        ([1] * 2, [1, 2], [None, None]),
        ([2, 4, 4], [2, 4, 3], [1.0, 1.0, 4 / 3]),
    ],
)
def test_a_framework_that_divides_by_a_fixed_number(divisors, counts, expected) -> None:
    """A framework's sum over an incomplete group is scaled to the mean, without a count."""
    remaining = iter(divisors)
    weigh = FixedDivisor(lambda: next(remaining))

    assert [weigh(count) for count in counts] == expected
