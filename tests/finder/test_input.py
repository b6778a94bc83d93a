"""Invalid input gives a clear error at the first step or earlier, and everything is restored."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

import lrtrack
from lrtrack.errors import UsageError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": 1.0, "end": 1.0}, "end must be a learning rate above start=1"),
        ({"start": 1.0, "end": 0.1}, "end must be"),
        ({"end": math.inf}, "end must be"),
        ({"end": math.nan}, "end must be"),
        ({"start": 0.0}, "start must be a learning rate above 0"),
        ({"start": -1e-3}, "start must be"),
        ({"start": math.nan}, "start must be"),
        ({"num_steps": 9}, "num_steps must be an integer, at least 10; got 9"),
        ({"num_steps": 20.0}, "num_steps must be an integer"),
        ({"mode": "lin"}, "Unknown mode 'lin'. Did you mean 'linear'"),
        ({"smoothing": 1.0}, r"smoothing must be in \[0, 1\)"),
        ({"smoothing": -0.1}, r"smoothing must be in \[0, 1\)"),
        ({"smoothing": math.nan}, r"smoothing must be in \[0, 1\)"),
        ({"stop_factor": 1.0}, "stop_factor must be above 1"),
        ({"record": True, "track": {"tracker": "mlfow"}}, "Did you mean 'mlflow'"),
        ({"record": True, "track": {"seed": "1"}}, "seed must be an integer"),
        ({"record": True, "track": {"config": 3}}, "config must be a mapping"),
    ],
)
def test_values_that_cannot_be(training, equal, options, message) -> None:
    """An invalid value is a `UsageError` that names the argument, before any step."""
    before = training.state()
    with pytest.raises(UsageError, match=message):
        lrtrack.find_lr(
            training.model, training.optimizer, training.step, **{"record": False, **options}
        )

    assert equal(training.state(), before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": 3}, "expects a torch.nn.Module first, got int"),
        ({"optimizer": "Adam"}, "as its second argument, got str"),
        ({"step": 3}, "as its third argument a function .* got int"),
        ({"scheduler": torch.optim.SGD([torch.zeros(1)])}, "as scheduler .* got SGD"),
        ({"scheduler": 3}, r"as scheduler an object with a step\(\) method, got int"),
        ({"start": "1e-7"}, "start must be a number, got '1e-7'"),
        ({"smoothing": True}, "smoothing must be a number, got True"),
        ({"sped": 1}, "unexpected keyword argument 'sped'"),
        ({"track": {"sped": 1}}, "Unknown option in track 'sped'. Did you mean 'seed'"),
        ({"track": {"every": 2}}, "Unknown option in track 'every'"),
        ({"track": "local"}, "track must be a mapping .* got str"),
    ],
)
def test_arguments_of_the_wrong_kind(training, change, message) -> None:
    """An argument of the wrong type is a `TypeError` with the expected and the actual type."""
    given: dict[str, Any] = {
        "model": training.model, "optimizer": training.optimizer, "step": training.step
    }  # fmt: skip
    with pytest.raises(TypeError, match=message):
        lrtrack.find_lr(**given | change, record=False)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_first_loss_that_is_no_number(training, new_training, equal, loss) -> None:
    """A first loss of NaN or Inf is an error that points at the model."""
    before = training.state()

    def step() -> torch.Tensor:
        return training.step() * loss

    with pytest.raises(UsageError, match=f"The loss is {loss} at the first step"):
        lrtrack.find_lr(training.model, training.optimizer, step, record=False)
    assert equal(training.state(), before)


@pytest.mark.parametrize(
    ("returned", "shown"),
    [
        (None, "got None"),
        ("0.5", "got '0.5'"),
        (True, "got True"),
        (torch.zeros(2), r"a tensor of shape \(2,\)"),
        (torch.tensor(1j), r"a tensor of shape \(\)"),
        ((0.5, {}), r"got \(0.5, {}\)"),
    ],
)
def test_a_step_that_returns_no_number(training, equal, returned, shown) -> None:
    """A `step()` that does not return a number is a `TypeError` that shows the value."""
    before = training.state()

    def step() -> Any:
        training.step()
        return returned

    with pytest.raises(TypeError, match=rf"step\(\) must return the loss as one number.*{shown}"):
        lrtrack.find_lr(training.model, training.optimizer, step, record=False)
    assert equal(training.state(), before)


@pytest.mark.parametrize("kind", [float, np.float32, np.float64, torch.tensor, lambda x: [x][0]])
def test_numbers_of_any_kind(training, kind) -> None:
    """Floats, numpy's numbers and one-element tensors are accepted as losses."""
    values = iter(np.linspace(2, 1, 200).astype(np.float32).tolist())
    given = []

    def step() -> Any:
        training.step()
        given.append(next(values))
        return kind(given[-1])

    result = lrtrack.find_lr(training.model, training.optimizer, step, record=False)

    assert result.losses.tolist() == given


@pytest.mark.parametrize("way", ["plain", "swallowed", "scaler"])
def test_a_step_that_steps_the_optimizer(training, equal, way) -> None:
    """A `step()` that steps the optimizer is rejected before the optimizer changes."""
    before = training.state()
    scaler = torch.amp.GradScaler("cpu", init_scale=1.0)

    def step() -> torch.Tensor:
        loss = training.step()
        if way == "scaler":
            scaler.scale(loss)
            scaler.step(training.optimizer)
        try:
            training.optimizer.step()
        except UsageError:
            if way != "swallowed":
                raise
        return loss

    with pytest.raises(UsageError, match=r"step\(\) called optimizer.step\(\)"):
        lrtrack.find_lr(training.model, training.optimizer, step, record=False)
    assert equal(training.state(), before)


def test_a_step_that_steps_the_scheduler(training, equal) -> None:
    """A `step()` that changes the learning rate is rejected."""
    before = training.state()

    def step() -> torch.Tensor:
        loss = training.step()
        training.optimizer.param_groups[0]["lr"] *= 0.9
        return loss

    with pytest.raises(UsageError, match=r"Fix: remove scheduler\.step\(\)"):
        lrtrack.find_lr(training.model, training.optimizer, step, record=False)
    assert equal(training.state(), before)


def test_a_step_without_backward(training) -> None:
    """A `step()` without `backward()` is an error at the first step."""
    with pytest.raises(UsageError, match=r"call loss.backward\(\)"):
        lrtrack.find_lr(training.model, training.optimizer, lambda: 1.0, record=False)


def test_an_optimizer_of_another_model(training, new_training) -> None:
    """An optimizer of another model is rejected, as its parameters could not be restored."""
    other = new_training()
    with pytest.raises(UsageError, match="6 of the optimizer's 6 parameters are not the model's"):
        lrtrack.find_lr(other.model, training.optimizer, training.step, record=False)


def test_an_optimizer_that_needs_a_closure(training) -> None:
    """An optimizer that needs a closure, such as LBFGS, is rejected."""
    optimizer = torch.optim.LBFGS(training.model.parameters())
    with pytest.raises(UsageError, match=r"LBFGS: its step\(\) needs a closure"):
        lrtrack.find_lr(training.model, optimizer, training.step, record=False)


def test_parameters_without_a_shape() -> None:
    """A lazy module without shapes is rejected until a batch has run through it."""
    model = torch.nn.LazyLinear(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(UsageError, match="parameters without a shape"):
        lrtrack.find_lr(model, optimizer, lambda: 0.0, record=False)


def test_the_import_is_late() -> None:
    """`import lrtrack` offers `find_lr` without loading torch, and no matplotlib before a plot."""
    code = (
        "import sys, lrtrack; assert 'find_lr' in dir(lrtrack); print('torch' in sys.modules);"
        "lrtrack.find_lr; print('torch' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)

    assert done.stdout.splitlines() == ["False", "True False"]
