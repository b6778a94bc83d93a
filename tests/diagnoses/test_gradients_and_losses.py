"""LR019 to LR024: each mistake that gradients and losses show, and its twin without it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import lr_scheduler as ls

from lrtrack.records import State
from tests.diagnoses.loops import Records, messages_of, network, train

OPTIMIZERS: dict[str, Any] = {
    "SGD": lambda p: torch.optim.SGD(p, 0.01),
    "SGD with momentum": lambda p: torch.optim.SGD(p, 0.01, momentum=0.9),
    "Adam": lambda p: torch.optim.Adam(p, 1e-3),
}
CLASSES = {"model": {"num_classes": 10}}


def losses(values: Any, **setup: Any) -> Records:
    """Records of losses that are given."""
    values = np.asarray(values, dtype=float)
    return Records({"lr": [0.1] * values.size, "loss": values.tolist()}, **setup)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_gradients_that_are_never_zeroed(optimizer: Any) -> None:
    """LR019: norms grow with the number of steps; certain after 40 of them."""
    mistake = train(optimizer, 45, zeroes=False)
    message = messages_of(mistake, State.RUNNING)["LR019"]

    assert message.startswith("the gradient norm grew with the number of steps, from ")
    assert messages_of(train(optimizer, 45)) == {}


def test_clipping_hides_no_growth() -> None:
    """LR019 looks at the norms before clipping, where they were recorded."""
    mistake = train(OPTIMIZERS["SGD"], 45, zeroes=False)
    mistake.metrics["grad_norm_preclip"] = mistake.metrics["grad_norm"]
    mistake.metrics["grad_norm"] = [0.1] * 45

    assert "LR019" in messages_of(mistake)


def test_growth_that_is_no_sum() -> None:
    """Norms that grow exponentially, or from step to step at random, are not LR019."""
    for norms in (1.2 ** np.arange(60), np.arange(1.0, 61.0) * np.tile([0.5, 2.0], 30)):
        assert messages_of(Records({"lr": [0.1] * 60, "grad_norm": norms.tolist()})) == {}


@pytest.mark.parametrize(
    ("divisor", "config", "codes"),
    [(1, CLASSES, ["LR020"]), (4, CLASSES, []), (1, {}, [])],
    ids=["a sum", "a mean", "classes unknown"],
)
def test_accumulated_losses(divisor: int, config: Any, codes: list[str]) -> None:
    """LR020: four losses were added, which only the number of classes can show."""
    records = train(OPTIMIZERS["SGD"], 10, calls=4, divisor=divisor, config=config)

    assert list(messages_of(records, State.RUNNING)) == codes


def test_the_figures_of_a_sum() -> None:
    """LR020 has the number of calls, the first loss, and that of a guess."""
    message = messages_of(train(OPTIMIZERS["SGD"], 10, calls=4, config=CLASSES))["LR020"]

    assert "4 times 2.3, which a constant guess among 10 classes has" in message


@pytest.mark.parametrize(("lr", "codes"), [(10.0, ["LR021"]), (0.1, [])])
def test_a_rate_that_is_too_high(lr: float, codes: list[str]) -> None:
    """LR021: the first steps threw the loss up, and the network only guesses from then on."""
    records = train(lambda p: torch.optim.SGD(p, lr), 220)

    assert list(messages_of(records, State.RUNNING)) == codes


def test_worse_than_a_guess() -> None:
    """LR021 compares with a constant guess where the number of classes is known."""
    noise = np.random.default_rng(0).normal(0.0, 0.02, 300)
    values = np.where(np.arange(300) < 10, [2.4, *[3.6] * 299], 2.4) + noise
    messages = messages_of(losses(values, config=CLASSES))

    assert messages["LR021"].endswith("; a constant guess among 10 classes has 2.3.")
    assert "LR021" not in messages_of(losses(values))


@pytest.mark.parametrize("lr", [0.0, 1e-9])
def test_a_loss_that_never_falls(lr: float) -> None:
    """LR022: nothing is learned; only the end shows it, and a rate of 0 has a rule of its own."""
    records = train(lambda p: torch.optim.SGD(p, lr), 220, config=CLASSES)
    message = messages_of(records).get("LR022", "")

    assert ("as a constant guess among 10 classes does" in message) == (lr > 0.0)
    assert messages_of(records, State.RUNNING) == {}


SCHEDULES: dict[str, Any] = {
    "constant": None,
    "cosine": lambda o: ls.CosineAnnealingLR(o, 300),
    "one-cycle": lambda o: ls.OneCycleLR(o, 0.02, total_steps=301, cycle_momentum=False),
    "step": lambda o: ls.StepLR(o, 100),
    "multistep": lambda o: ls.MultiStepLR(o, [150, 225]),
    "exponential": lambda o: ls.ExponentialLR(o, 0.99),
    "warm-up": lambda o: ls.LinearLR(o, 1e-3, total_iters=50),
    "restarts": lambda o: ls.CosineAnnealingWarmRestarts(o, 75),
    "cyclic": lambda o: ls.CyclicLR(o, 1e-3, 0.02, 25, cycle_momentum=False),
    "polynomial": lambda o: ls.PolynomialLR(o, 300),
}


@pytest.mark.soak
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("scheduler", SCHEDULES.values(), ids=SCHEDULES)
def test_sound_trainings(scheduler: Any, optimizer: Any) -> None:
    """Trainings without a mistake have no diagnosis, whatever the schedule."""
    for widths in ((32,), (48, 48)):
        torch.manual_seed(1)
        model = network(*widths)
        records = train(optimizer, 300, model=model, scheduler_of=scheduler, config=CLASSES)

        assert messages_of(records) == {}


RANDOM = np.random.default_rng(1)
STEPS = np.arange(400)
#: Losses of sound trainings that do not fall as those of a classifier do.
SOUND = {
    "rewards": 10.0 + RANDOM.normal(0.0, 3.0, 400) - STEPS / 400,
    "temporal differences": RANDOM.exponential(1.0, 400),
    "around zero": RANDOM.normal(0.0, 0.1, 400),
    "negative": -10.0 + RANDOM.normal(0.0, 0.01, 400),
    "values that grow": (0.1 + 5.0 * (1.0 - np.exp(-STEPS / 50))) * RANDOM.gamma(50, 0.02, 400),
    "adversarial": np.abs(0.7 + np.cumsum(RANDOM.normal(0.0, 0.03, 400))),
    "a plateau at first": 5.5 - np.maximum(STEPS - 300, 0) / 50 + RANDOM.normal(0.0, 0.01, 400),
    "zero": np.zeros(400),
    "low from the start": 0.05 * np.exp(-STEPS / 400) * RANDOM.gamma(2.0, 0.5, 400),
    "a noisy fall by 3 %": 1.9 - 0.06 * STEPS / 400 + RANDOM.normal(0.0, 0.2, 400),
    "a peak at first": 2.3 * np.exp(-STEPS / 150) + 9.0 * np.exp(-STEPS / 5) * (STEPS > 0),
}


@pytest.mark.parametrize("values", SOUND.values(), ids=SOUND)
def test_losses_that_are_no_finding(values: np.ndarray) -> None:
    """Losses whose course is not that of one that is minimized, or is drowned in noise."""
    assert messages_of(losses(values)) == {}


def test_losses_that_work_against_each_other() -> None:
    """LR021 and LR022 are silent where a prefix shows that there are other losses."""
    flat = np.full(300, 0.69)

    assert list(messages_of(losses(flat))) == ["LR022"]
    assert messages_of(losses(flat, prefix="G/")) == {}


def test_losses_at_some_steps() -> None:
    """A loss that only each fifth record has is judged by its own number of values."""
    records = losses(np.full(900, 2.3))
    records.metrics["loss"] = [2.3 if step % 5 == 0 else math.nan for step in range(900)]

    assert messages_of(records) == {}


@pytest.mark.parametrize(
    ("activation", "codes"), [(torch.nn.Sigmoid, ["LR023"]), (torch.nn.ReLU, [])]
)
def test_gradients_that_vanish_on_their_way(activation: Any, codes: list[str]) -> None:
    """LR023: a deep network of sigmoids passes hardly any gradient to its first layer."""
    torch.manual_seed(0)
    model = network(*[16] * 8, activation=activation)
    records = train(OPTIMIZERS["Adam"], 70, model=model, layers=True)

    assert list(messages_of(records, State.RUNNING)) == codes


def test_the_layer_where_a_gradient_has_vanished() -> None:
    """LR023 names the layers with the smallest and the largest norm."""
    records = Records({"lr": [0.1] * 70, "grad_norm/a.weight": [1e-9] * 70})
    records.metrics |= {"grad_norm/b.weight": [0.1] * 70, "grad_norm/a.bias": [1e-20] * 70}

    assert messages_of(records) == {
        "LR023": "the gradient vanishes on its way through the network: its norm is typically "
        "1e-09 in a.weight, 1×10⁸ times less than in b.weight (0.1)."
    }


@pytest.mark.parametrize(("end", "codes"), [(2.3, ["LR023"]), (0.01, [])])
def test_a_gradient_that_fades(end: float, codes: list[str]) -> None:
    """LR023: the norm falls to nothing while the loss stays; a training that is done is sound."""
    records = losses([2.3 + (end - 2.3) * min(step / 100, 1.0) + step % 7 for step in range(400)])
    records.metrics["loss"] = [
        value - step % 7 for step, value in enumerate(records.metrics["loss"])
    ]
    records.metrics["grad_norm"] = [max(0.5**step, 1e-12) for step in range(400)]
    messages = messages_of(records)

    assert [code for code in messages if code == "LR023"] == codes


@pytest.mark.parametrize("shift", [0.0, 1e-12])
def test_infinite_gradients(shift: float) -> None:
    """LR024: torch.where drops the square root of 0, but not its infinite gradient."""
    torch.manual_seed(0)
    model = network(8)
    model.register_parameter("extra", torch.nn.Parameter(torch.zeros(1)))

    def loss_of(outputs: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        dropped = torch.where(torch.tensor(True), 0.0, (model.extra + shift).sqrt())
        return outputs.square().mean() + dropped.sum()

    records = train(OPTIMIZERS["SGD"], 3, model=model, loss_of=loss_of)
    messages = messages_of(records, State.RUNNING)

    assert list(messages) == ["LR024"] * (shift == 0.0)
    assert all(
        text.startswith("the gradient norm was not finite in 3 recorded steps, first at step 0")
        for text in messages.values()
    )


def test_one_infinite_norm_before_a_bad_loss() -> None:
    """LR006 names the infinite norm just before the loss is lost, and LR024 does not repeat it."""
    records = Records({"lr": [0.1] * 3, "loss": [1.0, 1.0, math.nan]})
    records.metrics["grad_norm"] = [1.0, math.inf, math.nan]

    assert messages_of(records) == {}
