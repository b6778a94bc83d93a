"""Settings of schedules that are functions, or classes which keep arguments under other names."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from torch.optim import lr_scheduler as ls

from lrtrack import Schedule, describe
from lrtrack.capture.describe import opaque

from .function_forms import FORMS
from .function_forms import HERE as FORMS_HERE
from .schedulers import sgd
from .setting_cases import BUILT, HERE, Build, cosine_like_diffusers, polynomial_like_diffusers, run

NAMED = {name: form for name, form in FORMS.items() if form[1] is not None}


@pytest.mark.parametrize(("function", "text"), NAMED.values(), ids=NAMED)
def test_text_of_a_functions_settings(function: Callable[[int], Any], text: str) -> None:
    """A function is named with the settings that it carries, wherever it carries them."""
    for width in (5, 9):
        expected = f"{FORMS_HERE}.{text}".replace("N", str(width)).replace("MODULE", FORMS_HERE)

        assert expected == describe(ls.LambdaLR(sgd(), function(width))).params["lr_lambda"]


EACH = pytest.mark.parametrize(("build", "one", "other"), BUILT.values(), ids=BUILT)


@EACH
def test_same_settings_have_one_id(build: Build, one: Any, other: Any) -> None:
    """An id is that of the settings, whatever the optimizer's rate, and differs with them."""
    expected = describe(build(sgd(), one))

    assert expected.id == describe(build(sgd(), one)).id
    assert expected.id == describe(build(sgd(seed=1, lr=0.3), one)).id
    assert expected.id != describe(build(sgd(), other)).id
    assert not opaque(build(sgd(), one))


@EACH
def test_training_leaves_an_id(build: Build, one: Any, other: Any) -> None:
    """An id stays the same during a training and after loading a state."""
    optimizer = sgd()
    scheduler = build(optimizer, one)
    expected = describe(scheduler)
    run(optimizer, scheduler)

    assert expected == describe(scheduler)


RESTORED = {
    name: row
    for name, row in BUILT.items()
    # torch restores the attributes of callable objects, and these have none
    if hasattr(row[0](sgd(), row[1]), "state_dict")
    and name not in ("callable object with slots", "list")
}


@pytest.mark.parametrize(("build", "one", "other"), RESTORED.values(), ids=RESTORED)
def test_a_state_leaves_an_id(build: Build, one: Any, other: Any) -> None:
    """A scheduler that was restored from its state has the id of the saved one."""
    optimizer = sgd()
    scheduler, restored = build(optimizer, one), build(sgd(), one)
    run(optimizer, scheduler, 9)
    restored.load_state_dict(scheduler.state_dict())

    assert describe(build(sgd(), one)) == describe(restored)


def test_settings_are_parameters_and_said_once() -> None:
    """A function's settings are parameters by name, and a label does not repeat them."""
    schedule = describe(cosine_like_diffusers(sgd(), 5))
    settings = {"num_cycles": 0.5, "num_training_steps": 40, "num_warmup_steps": 5}
    text = ", ".join(f"{name}={value}" for name, value in settings.items())
    function = f"{HERE}.cosine_like_diffusers.<locals>.lr_lambda({text})"

    assert {"lr_lambda": function, **settings} == schedule.params
    assert f"LambdaLR(lr_lambda={function})" == schedule.label


def test_the_optimizers_rate_is_no_setting_by_chance() -> None:
    """A setting that happens to equal the optimizer's rate stays, unless its name is a rate's."""
    build = functools.partial(polynomial_like_diffusers, power=1.0)

    assert describe(build(sgd(lr=1.0))) == describe(build(sgd(lr=0.1)))
    assert "power" in describe(build(sgd(lr=1.0))).params


def floored(step: int, *, min_lr_rate: float, num_warmup_steps: int) -> float:
    """Return the factor of a schedule that keeps its lowest rate as transformers does."""
    return max(min_lr_rate, 1.0 - step / num_warmup_steps)


@pytest.mark.parametrize("lowest", [1e-5, 2.5e-6])
def test_a_lowest_rate_that_was_divided_by_the_optimizers(lowest: float) -> None:
    """The id is that of the rate that was given, where digits tell it from a quotient."""

    def at(rate: float) -> Schedule:
        quotient = functools.partial(floored, min_lr_rate=lowest / rate, num_warmup_steps=5)
        return describe(ls.LambdaLR(sgd(lr=rate), quotient))

    assert {at(rate).id for rate in (3e-4, 6e-4, 7e-5, 0.03)} == {at(3e-4).id}
    assert f"min_lr={lowest}" in at(3e-4).label


def test_a_lowest_rate_that_was_given_as_a_quotient() -> None:
    """A short quotient is a setting, whatever the optimizer's rate."""
    quotient = functools.partial(floored, min_lr_rate=0.1, num_warmup_steps=5)
    expected = "min_lr_rate=0.1"

    assert all(
        expected in describe(ls.LambdaLR(sgd(lr=r), quotient)).label for r in (0.1, 3e-4, 7e-5)
    )
