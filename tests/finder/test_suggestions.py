"""Suggestions against known stability limits, real digits, and simple slow definitions."""

from __future__ import annotations

import itertools
import math
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

import lrtrack
from lrtrack.finder.suggest import METHODS, _longest_descent, suggest

matplotlib.use("agg")


class Quadratic(torch.nn.Module):
    """½ xᵀHx: gradient descent on it is stable below 2 / L, L being the largest eigenvalue of H."""

    def __init__(self, eigenvalues: list[float], seed: int = 0) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        size = len(eigenvalues)
        basis, _ = torch.linalg.qr(
            torch.randn(size, size, dtype=torch.float64, generator=generator)
        )
        self.matrix = basis @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ basis.T
        self.x = torch.nn.Parameter(basis.sum(dim=1))

    def forward(self) -> torch.Tensor:
        """The loss."""
        return 0.5 * self.x @ self.matrix @ self.x


def range_test(model: Quadratic, **options: Any) -> lrtrack.LRFinderResult:
    """Runs the range test with gradient descent on a quadratic."""

    def step() -> torch.Tensor:
        loss = model()
        loss.backward()
        return loss

    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    return lrtrack.find_lr(model, optimizer, step, record=False, **options)


@given(
    eigenvalues=st.lists(st.floats(0.02, 1), min_size=0, max_size=4),
    largest=st.sampled_from([1.0, 8.0, 100.0]),
    smoothing=st.sampled_from([0.0, 0.5, 0.8, 0.9]),
    num_steps=st.integers(50, 200),
)
@settings(max_examples=40, deadline=None)
def test_a_quadratic(eigenvalues, largest, smoothing, num_steps) -> None:
    """On a quadratic, the test ends above the stability limit and suggests rates below it."""
    limit = 2 / largest
    model = Quadratic([largest, *(largest * share for share in eigenvalues)])
    result = range_test(
        model, start=limit / 1e6, end=limit * 50, num_steps=num_steps, smoothing=smoothing
    )

    stable = result.lrs[:-1] < limit
    assert np.all(np.diff(result.losses)[stable] < 0)
    assert result.stopped == "diverged"
    assert limit < result.lrs[-1] < limit * 50
    assert set(result.suggestions) == set(METHODS)
    assert {name for name, rate in result.suggestions.items() if not 0 < rate < limit} == set()
    assert result.suggestion == result.suggestions["minimum"]


def test_the_curve_is_gradient_descent() -> None:
    """Rates, losses and moving averages equal those of a loop written in numpy."""
    model = Quadratic([1.0, 4.0])
    x, matrix = model.x.detach().numpy().copy(), model.matrix.numpy()
    lrs, losses, smoothed, average = np.geomspace(1e-3, 1.0, 30), [], [], 0.0
    for index, lr in enumerate(lrs):
        losses.append(0.5 * x @ matrix @ x)
        average = 0.7 * average + 0.3 * losses[-1]
        smoothed.append(average / (1 - 0.7 ** (index + 1)))
        x = x - lr * (matrix @ x)
    result = range_test(
        model, start=1e-3, end=1.0, num_steps=30, smoothing=0.7, stop_factor=math.inf
    )

    assert result.stopped == "end"
    assert result.lrs.tolist() == lrs.tolist()
    np.testing.assert_allclose(result.losses, losses, rtol=1e-9)
    np.testing.assert_allclose(result.smoothed, smoothed, rtol=1e-9)


def test_a_linear_sweep() -> None:
    """`mode="linear"` spaces the rates evenly from the first to the last."""
    result = range_test(Quadratic([1.0]), start=0.1, end=1.0, num_steps=10, mode="linear")

    assert result.lrs.tolist() == np.linspace(0.1, 1.0, 10).tolist()


def test_groups_keep_their_ratio() -> None:
    """Other groups keep their ratio to group 0, and `initial_lr` takes precedence."""
    model = torch.nn.ModuleList(torch.nn.Linear(1, 1) for _ in range(3))
    rates = zip(model, (0.1, 0.05, 0.4), strict=True)
    optimizer = torch.optim.SGD(
        [{"params": layer.parameters(), "lr": rate} for layer, rate in rates]
    )
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: float(step > 9))  # zero at first
    seen = []

    def step() -> torch.Tensor:
        seen.append([group["lr"] for group in optimizer.param_groups])
        loss = sum(layer(torch.ones(1)).square().sum() for layer in model)
        loss.backward()
        return loss

    result = lrtrack.find_lr(model, optimizer, step, record=False, end=1e-3)

    assert [rates[0] for rates in seen] == result.lrs.tolist()
    np.testing.assert_allclose([r[1] / r[0] for r in seen], 0.5, rtol=1e-12)
    np.testing.assert_allclose([r[2] / r[0] for r in seen], 4.0, rtol=1e-12)
    assert [group["lr"] for group in optimizer.param_groups] == [0.0, 0.0, 0.0]


def test_losses_below_zero() -> None:
    """A negative loss is no divergence: the test continues until the loss rises."""
    model = Quadratic([1.0, 2.0])

    def step() -> torch.Tensor:
        loss = model() - 1000
        loss.backward()
        return loss

    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    result = lrtrack.find_lr(model, optimizer, step, record=False, num_steps=50)

    assert result.losses[0] < 0
    assert result.lrs[-1] > 1.0
    assert 0 < result.suggestion < 1.0


def test_a_loss_that_never_falls() -> None:
    """A loss that never falls gives no suggestion and a warning."""
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, maximize=True)

    def step() -> torch.Tensor:
        loss = model(torch.ones(1)).square().sum() + 1
        loss.backward()
        return loss

    with pytest.warns(lrtrack.LRTrackWarning, match="the loss never fell"):
        result = lrtrack.find_lr(model, optimizer, step, record=False)

    assert (result.suggestion, dict(result.suggestions)) == (None, {})


@pytest.mark.parametrize(
    ("make", "start"),
    [
        (lambda p: torch.optim.SGD(p, lr=1.0), 1e-7),
        (lambda p: torch.optim.SGD(p, lr=1.0, momentum=0.9), 1e-7),
        (lambda p: torch.optim.Adam(p), 1e-7),
    ],
    ids=["SGD", "momentum", "Adam"],
)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.soak)])
def test_handwritten_digits(make, start, seed) -> None:
    """At the suggested rate, the network learns nearly as well as at the best of ten rates."""
    digits = load_digits()
    inputs, labels = torch.tensor(digits.data / 16).float(), torch.tensor(digits.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    train, held_out = order[:1200], order[1200:]

    def built() -> tuple[torch.nn.Module, Any]:
        torch.manual_seed(seed)
        model = torch.nn.Sequential(
            torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)
        )
        return model, make(model.parameters())

    def batch(model: torch.nn.Module) -> torch.Tensor:
        chosen = train[torch.randint(len(train), (64,))]
        loss = cross_entropy(model(inputs[chosen]), labels[chosen])
        loss.backward()
        return loss

    def accuracy(rate: float) -> float:
        model, optimizer = built()
        optimizer.param_groups[0]["lr"] = rate
        for _ in range(300):
            optimizer.zero_grad()
            batch(model)
            optimizer.step()
        with torch.no_grad():
            return float((model(inputs[held_out]).argmax(1) == labels[held_out]).float().mean())

    model, optimizer = built()
    result = lrtrack.find_lr(model, optimizer, lambda: batch(model), record=False)

    assert accuracy(result.suggestion) > 0.92
    assert accuracy(result.suggestion) > max(accuracy(10.0**-k) for k in range(4)) - 0.06
    assert max(result.suggestions.values()) < result.lrs[np.argmin(result.smoothed)] * 1.01


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=9))
def test_the_longest_descent(values) -> None:
    """The descent is as long as the longest of all strictly falling subsequences."""
    longest = max(
        (chosen for size in range(1, len(values) + 1)
         for chosen in itertools.combinations(range(len(values)), size)
         if all(values[a] > values[b] for a, b in itertools.pairwise(chosen))),
        key=len,
    )  # fmt: skip
    first, last = _longest_descent(np.array(values, dtype=float))

    possible = {
        (chosen[0], chosen[-1])
        for chosen in itertools.combinations(range(len(values)), len(longest))
        if all(values[a] > values[b] for a, b in itertools.pairwise(chosen))
    }
    assert (first, last) in possible


@given(
    losses=st.lists(st.floats(0.1, 10), min_size=10, max_size=40),
    unit=st.sampled_from([0.25, 4.0, 1024.0]),
    rate=st.sampled_from([0.5, 8.0]),
)
def test_units_do_not_matter(losses, unit, rate) -> None:
    """Suggestions do not depend on the unit of the loss, and scale with that of the rate."""
    lrs, curve = np.geomspace(1e-5, 1, len(losses)), np.array(losses)
    plain = suggest(lrs, curve)

    assert suggest(lrs, curve * unit) == plain
    moved = suggest(lrs * rate, curve)
    assert moved == pytest.approx({name: each * rate for name, each in plain.items()})


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=0, max_size=30))
def test_any_curve(losses) -> None:
    """For any losses, suggestions are rates of the curve or there are none."""
    lrs = np.geomspace(1e-5, 1, len(losses)) if losses else np.array([])
    with np.errstate(all="ignore"):
        found = suggest(lrs, np.array(losses, dtype=float), 0.8)

    assert all(1e-6 <= rate <= 1.01 for rate in found.values())
