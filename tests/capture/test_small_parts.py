"""Small parts of the capture at their boundaries, without a training."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from lrtrack.capture.accumulation import FixedDivisor, exact
from lrtrack.capture.clipping import Clipped
from lrtrack.capture.closures import FirstEvaluation, with_closure
from lrtrack.capture.function_names import function_text
from lrtrack.capture.given_rates import as_given, given_rate
from lrtrack.capture.norms import are_simple, measure, norms_of
from lrtrack.capture.own_schedulers import OneMinusSqrtLR, PiecewiseLR
from lrtrack.capture.safe_access import MISSING, plain_value
from lrtrack.capture.scheduler_copy import stand_in
from lrtrack.capture.wrapping_schedulers import IntervalLR, SkipLR


def sgd(rate: float = 1.0) -> torch.optim.SGD:
    """An optimizer of one parameter."""
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=rate)


def group(*gradients: torch.Tensor | None) -> dict[str, Any]:
    """A param group with these gradients."""
    parameters = []
    for gradient in gradients:
        like = torch.zeros(()) if gradient is None else torch.zeros_like(gradient)
        parameters.append(torch.nn.Parameter(like))
        parameters[-1].grad = gradient
    return {"params": parameters}


def test_where_a_closure_is_passed() -> None:
    """The closure is replaced where it is, and the other arguments stay."""
    assert with_closure("new", ("self", "old", 1, 2), {"x": 3}) == (("self", "new", 1, 2), {"x": 3})
    assert with_closure("new", ("self", 1), {"closure": "old", "x": 3}) == (
        ("self", 1), {"closure": "new", "x": 3},
    )  # fmt: skip


def test_the_first_evaluation_of_a_closure() -> None:
    """Only the first result is looked at, and each is returned."""
    results, seen = iter([1.0, 2.0]), []
    closure = FirstEvaluation(lambda: next(results), seen.append)

    assert ([closure(), closure()], seen) == ([1.0, 2.0], [1.0])


def test_divisors_of_accumulated_losses() -> None:
    """A full group keeps its loss, an incomplete one gets the mean, and several losses a batch."""
    batches = [4]
    weigh = FixedDivisor(lambda: batches[0])

    assert [weigh(count) for count in (4, 2, 1)] == [1.0, 2.0, 4.0]
    assert [weigh(count) for count in (6, 8, 4, 12)] == [1.0, 1.0, 2.0, 1.0]
    batches[0] = 2
    assert [weigh(count) for count in (1, 2)] == [2.0, 1.0]
    batches[0] = 1
    assert weigh(3) is None
    assert exact(3) == 1.0


@pytest.mark.parametrize(
    ("name", "value", "rates", "given"),
    [
        ("min_lr_rate", 1e-5 / 3e-4, (3e-4,), ("min_lr", 1e-5)),
        ("min_lr_rate", 0.01, (3e-4,), ("min_lr_rate", 0.01)),
        ("min_lr_rate", 1 / 3, (1 / 7,), ("min_lr_rate", 1 / 3)),
        ("min_lr_rate", 1e-5 / 3e-4, (7.0, 3e-4), ("min_lr", 1e-5)),
        ("min_lr_rate", 1e-5 / 3e-4, (), ("min_lr_rate", 1e-5 / 3e-4)),
        ("other", 1e-5 / 3e-4, (3e-4,), ("other", 1e-5 / 3e-4)),
        ("min_lr_rate", 1, (3e-4,), ("min_lr_rate", 1)),
    ],
)
def test_rates_as_they_were_given(
    name: str, value: float, rates: tuple[float, ...], given: tuple[str, float]
) -> None:
    """A quotient with many digits of a written rate is that rate again."""
    assert as_given(name, value, rates) == given


def test_the_rate_of_an_optimizer() -> None:
    """The default of a class was given by nobody, and several groups may have their own."""
    two = [{"params": [torch.nn.Parameter(torch.ones(()))]} for _ in range(2)]

    assert given_rate(sgd(0.5)) == 0.5
    assert given_rate(sgd(1e-3)) is None
    assert given_rate(torch.optim.SGD(two, lr=0.5)) is None
    assert given_rate(object()) is None


def test_a_norm_that_clipping_has_computed() -> None:
    """It is that of all gradients, in order, as clipping has left them."""
    groups = [group(torch.tensor([3.0]), None), group(torch.tensor([4.0]))]
    gradients = [p.grad for each in groups for p in each["params"] if p.grad is not None]
    clipped = Clipped(gradients, 5.0, 2.0)

    assert clipped.norm(groups) == 5.0 * (2.0 / (5.0 + 1e-6))
    assert Clipped(gradients, 5.0, 9.0).norm(groups) == 5.0
    assert clipped.norm(groups[:1]) is None
    assert clipped.norm([*groups, group(torch.tensor([1.0]))]) is None
    assert clipped.norm(groups[::-1]) is None
    assert clipped.norm([]) is None
    assert Clipped(gradients, math.inf, 2.0).norm(groups) is None
    assert Clipped(gradients, math.nan, 2.0).norm(groups) is None
    gradients[0].mul_(1.0)
    assert clipped.norm(groups) is None


def test_a_norm_in_half_precision() -> None:
    """Clipping's own norm of rounded gradients is not exact."""
    half = torch.tensor([3.0], dtype=torch.bfloat16)

    assert Clipped([half], 3.0, 9.0).norm([group(half)]) is None


def test_norms_of_few_gradients_are_added_in_double_precision() -> None:
    """The root of a sum of a few squares is as exact as Python's."""
    norms = measure("global", None)([group(torch.ones(1), torch.ones(1), torch.ones(1))])

    assert norms == {"grad_norm": math.sqrt(3.0)}


@pytest.mark.parametrize("kinds", [(torch.bfloat16, torch.float32), (torch.float32, torch.float16)])
def test_norms_of_mixed_precisions(kinds: tuple[torch.dtype, torch.dtype]) -> None:
    """A sum over many numbers in half precision is computed in single precision."""
    gradients = [torch.ones(1000, dtype=kind) for kind in kinds]
    norms = measure("global", None)([group(*gradients)])

    assert norms["grad_norm"] == pytest.approx(math.sqrt(2000.0), rel=1e-6)
    assert [norm.dtype for norm in norms_of(gradients)] == [torch.float32] * 2


def test_which_tensors_are_taken_at_once() -> None:
    """Dense, exact and ordinary ones are; none, sparse ones and those in half precision are not."""
    dense, half = torch.ones(2), torch.ones(2, dtype=torch.bfloat16)
    sparse = torch.ones(2).to_sparse()

    assert [are_simple(each) for each in ([dense], [dense, dense.double()])] == [True, True]
    assert [are_simple(each) for each in ([], [half], [sparse], [dense, sparse])] == [False] * 4
    assert are_simple([torch.nn.Parameter(dense), torch.ones(2, device="meta")]) is False


@pytest.mark.parametrize("norms", ["global", "group"])
def test_norms_of_sparse_gradients(norms: str) -> None:
    """Repeated indices add up before they are squared, beside dense gradients and none."""
    at = torch.tensor([[0, 0, 2]])
    sparse = torch.sparse_coo_tensor(at, [1.0, 2.0, 4.0], (3,), check_invariants=True)
    found = measure(norms, None)([group(sparse, torch.full((3,), 0.0), None)])

    assert found == dict.fromkeys(["grad_norm", "grad_norm/0"][: len(found)], 5.0)


@pytest.mark.parametrize(
    ("step", "factor"), [(0, 0.5), (1, 0.5), (2, 0.5), (3, 0.75), (4, 1.0), (8, 0.5), (13, 0.0)]
)
def test_lines_between_points(step: int, factor: float) -> None:
    """Between two points the factor is on their line; outside, it is that of the nearest."""
    scheduler = PiecewiseLR(sgd(), [2, 4, 12], [0.5, 1.0, 0.0])

    assert scheduler._factor(step) == factor


@pytest.mark.parametrize("end", [0.0, 0.5, 1.0])
def test_where_a_root_ends(end: float) -> None:
    """The factor falls with the root of the steps, from 1 to its end, where it stays."""
    scheduler = OneMinusSqrtLR(sgd(), 4, end)
    found = [scheduler.get_lr()[0]]
    for scheduler.last_epoch in (1, 4, 5):
        found += scheduler.get_lr()

    assert found == [1.0, 1.0 - (1.0 - end) / 2, end, end]
    for wrong in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="from 0 to 1"):
            OneMinusSqrtLR(sgd(), 4, wrong)


def test_wrapped_schedulers() -> None:
    """One steps once an interval, another begins later; both restore their state and epochs."""
    optimizer = sgd()
    every = IntervalLR(optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5), 3)
    rates = []
    optimizer.step()
    for _ in range(7):
        every.step()
        rates += every.get_last_lr()
    state = every.state_dict()
    every.step(3)
    at_three = every.get_last_lr()
    every.load_state_dict(state)

    assert rates == [1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25]
    assert (at_three, every.last_epoch, every.scheduler.last_epoch) == ([0.5], 7, 2)
    assert "optimizer" not in state
    other = sgd()
    late = SkipLR(other, torch.optim.lr_scheduler.StepLR(other, 1, 0.5), 2)
    begun = late.get_last_lr()
    other.step()
    late.step()
    assert (begun, late.get_last_lr()) == ([0.25], [0.125])
    late.step(4)
    assert (late.get_last_lr(), late.last_epoch) == ([0.5**6], 4)
    SkipLR(sgd(), torch.optim.lr_scheduler.StepLR(other, 1, 0.5), 0)
    for wrong in (-1, True, 1.0):
        with pytest.raises(ValueError, match="at least 0"):
            SkipLR(other, late, wrong)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="at least 1"):
            IntervalLR(other, late, wrong)  # type: ignore[arg-type]


def test_how_long_a_container_may_be() -> None:
    """A container with as many items as allowed is plain, and one more is too many."""
    for container in ([0, 1], (0, 1), {"a": 0, "b": 1}):
        assert plain_value(container, longest=2) is not MISSING
        assert plain_value(container, longest=1) is MISSING
    assert plain_value(torch.ones(2), longest=1) is MISSING
    assert plain_value(torch.ones(2), longest=2) == [1.0, 1.0]


def test_what_a_copied_scheduler_sees_of_its_optimizer() -> None:
    """A stand-in has the optimizer's settings and plain attributes, and nothing that may change."""
    optimizer: Any = sgd(0.5)
    optimizer.plain, optimizer.nothing, optimizer.mutable = 5, None, []
    copied, groups = stand_in(torch.optim.lr_scheduler.StepLR(optimizer, 1))
    own = copied.optimizer

    assert (own.plain, own.nothing, own._opt_called) == (5, None, True)
    assert (own.param_groups, groups[0]["lr"]) == (groups, 0.5)
    assert not hasattr(own, "mutable")
    assert not hasattr(own, "missing")


def test_an_array_in_a_closure() -> None:
    """A setting that cannot be read, and cannot be compared either, leaves the others in place."""
    table, gain = np.array([1.0, 0.5]), 0.25

    def rate(step: int) -> float:
        return float(table[step] * gain)

    assert function_text(rate).endswith("test_an_array_in_a_closure.<locals>.rate(gain=0.25)")
