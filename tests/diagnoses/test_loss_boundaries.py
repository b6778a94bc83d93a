"""Where the rules on losses and gradients begin: LR021 to LR024."""

from __future__ import annotations

from typing import Any

import pytest

from lrtrack.records import State
from tests.diagnoses.test_boundaries import found


def losses(*parts: tuple[float, int], lr: float = 0.1) -> dict[str, list[float]]:
    """Records with losses, each for so many steps."""
    values = [loss for loss, often in parts for _ in range(often)]
    return {"lr": [lr] * len(values), "loss": values}


def faded(*norms: tuple[float, int], loss: float = 2.0, end: float = 2.0) -> dict[str, list[float]]:
    """Records with gradient norms, each for so many steps, while the loss stays or falls."""
    values = [norm for norm, often in norms for _ in range(often)]
    half = len(values) // 2
    both = [loss] * half + [end] * (len(values) - half)
    return {"lr": [0.1] * len(values), "grad_norm": values, "loss": both}


@pytest.mark.parametrize(
    ("code", "metrics", "without"),
    [
        ("LR021", losses((2.0, 1), (6.0, 1), (2.0, 198)), [
            losses((2.0, 1), (5.99, 1), (2.0, 198)),  # three times the first one
            losses((2.0, 1), (6.0, 1), (2.0, 197)),
            losses((2.0, 20), (6.0, 1), (2.0, 179)),
            losses((2.0, 1), (6.0, 1), (1.89, 198)),
            losses((2.0, 1), (6.0, 1), (3.01, 198)),
        ]),
        ("LR021", losses((2.0, 19), (6.0, 1), (2.0, 180)), []),
        ("LR021", losses((2.0, 1), (6.0, 1), (1.9, 198)), []),
        ("LR021", losses((2.0, 1), (6.0, 1), (3.0, 198)), []),
        ("LR022", losses((2.0, 200)), [
            losses((2.0, 199)), losses((2.0, 200), lr=0.0), losses((0.0, 200)),
            losses((2.0, 150), (-2.0, 1), (2.0, 49)),
        ]),
        ("LR022", losses((2.0, 20), (1.971, 180)), [losses((2.0, 20), (1.969, 180))]),
        ("LR022", losses((2.0, 20), (2.19, 180)), [losses((2.0, 20), (2.21, 180))]),
        ("LR023", faded((1.0, 100), (9.9e-5, 100)), [
            faded((1.0, 100), (1.01e-4, 100)),
            faded((1.0, 100), (9.9e-5, 99)),
            faded((1.0, 100), (9.9e-5, 100), end=1.89),
            faded((0.0, 200)),
            faded((1.0, 100), (9.9e-5, 100), loss=-2.0, end=-2.0),
        ]),
        ("LR023", faded((1.0, 100), (9.9e-5, 100), end=1.9), []),
    ],
)  # fmt: skip
def test_where_a_rule_on_losses_begins(code: str, metrics: Any, without: list[Any]) -> None:
    """A diagnosis is made of the least case, and of none that lacks a little of it."""
    assert found(code, metrics=metrics) is not None
    assert [None] * len(without) == [found(code, metrics=each) for each in without]


@pytest.mark.parametrize("case", [{"state": State.FAILED}, {"steps": 200, "total": 201}])
def test_a_run_whose_losses_do_not_tell(case: dict[str, Any]) -> None:
    """LR022 is made neither of a run that failed nor of one that was continued."""
    assert found("LR022", metrics=losses((2.0, 200)), **case) is None


def test_how_much_of_a_gradient_is_zero() -> None:
    """LR023 says from where to where the norm fell, and in how many steps it is exactly 0."""
    assert found("LR023", metrics=faded((1.0, 150), (0.0, 50))) == (
        "the gradient norm fell from 1 to 0, while the loss has not fallen: 2 in the first step, "
        "2 at the end; it is exactly 0 in 25 % of the steps. The network may be saturated, or its "
        "units dead."
    )
    text = found("LR023", metrics=faded((1.0, 150), (1e-5, 50)))
    assert text is not None
    assert "exactly 0" not in text
