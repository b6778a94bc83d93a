"""Where the rules on schedule and learning rate begin: LR014 to LR018 and LR030."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lrtrack.records import State
from lrtrack.schedules import Schedule
from lrtrack.stats.diagnose.rate_jumps import RateJump, rate_jumps
from tests.diagnoses.test_boundaries import found


def decaying(gamma: float, steps: int, every: int = 1) -> dict[str, list[float]]:
    """Rates that fall by a factor after every so many steps, from 0.1."""
    return {"lr": [0.1 * gamma ** (step // every) for step in range(steps)]}


def exponential(gamma: float) -> Schedule:
    """An exponential schedule."""
    return Schedule("ExponentialLR", {"gamma": gamma})


def stepwise(size: int, gamma: float = 0.1) -> Schedule:
    """A schedule that cuts the rate every so many steps."""
    return Schedule("StepLR", {"step_size": size, "gamma": gamma})


def milestones(*steps: int) -> Schedule:
    """A schedule that cuts the rate to a tenth at some steps."""
    return Schedule("MultiStepLR", {"milestones": list(steps), "gamma": 0.1})


def cosine(lowest: float) -> Schedule:
    """A cosine that ends at a rate."""
    return Schedule("CosineAnnealingLR", {"T_max": 20, "eta_min": lowest})


def cut(at: int, steps: int = 200, to: float = 0.01) -> dict[str, list[float]]:
    """Rates that fall once."""
    return {"lr": [0.1] * at + [to] * (steps - at)}


def restarting(cycle: int, times: int, steps: int = 440) -> dict[str, list[float]]:
    """Rates that fall within each cycle, and rise again so often."""
    rates = [0.1 * (1.0 - step % cycle / cycle) for step in range(cycle * (times + 1))]
    return {"lr": (rates + [rates[-1]] * steps)[: max(steps, len(rates))]}


def warm(cycle: int, **params: Any) -> Schedule:
    """Warm restarts."""
    return Schedule("CosineAnnealingWarmRestarts", {"T_0": cycle, **params})


RESTS = {"steps": 20, "begun": 0, "position": 20, "used": 20, "moves": 5}


@pytest.mark.parametrize(
    ("code", "case", "changes"),
    [
        ("LR014", {"schedule": exponential(0.9), "metrics": decaying(0.9, 200)}, [
            {"metrics": decaying(0.9, 199)},
            {"metrics": decaying(0.9, 400, every=2)},
            {"metrics": {"lr": decaying(0.9, 200)["lr"][:60] * 4}},  # never idle
            {"schedule": Schedule("LambdaLR", {})},
        ]),
        ("LR014", {"schedule": exponential(0.99), "metrics": decaying(0.99, 2000)}, [
            {"schedule": exponential(0.991)}, {"schedule": exponential(1.0)},
        ]),
        ("LR014", {"schedule": stepwise(20), "metrics": decaying(0.1, 200, every=20)}, [
            {"schedule": stepwise(21)}, {"schedule": stepwise(13)},
        ]),
        ("LR014", {"schedule": milestones(10, 20), "metrics": cut(20)}, [
            {"schedule": milestones(10, 21)}, {"metrics": cut(20, to=0.0101)},
            {"metrics": cut(23)}, {"metrics": cut(9)}, {"schedule": milestones()},
        ]),
        ("LR014", {"schedule": milestones(10, 20), "metrics": cut(22)}, []),
        ("LR014", {"schedule": milestones(10, 20), "metrics": cut(10)}, []),
        ("LR014", {"schedule": warm(20), "metrics": restarting(20, 20)}, [
            {"schedule": warm(21)}, {"schedule": warm(20, T_mult=2)},
            {"metrics": restarting(20, 19)}, {"metrics": restarting(31, 20)},
        ]),
        ("LR015", {**RESTS, "schedule": exponential(0.9)}, [
            {"moves": 4}, {"metrics": {"lr": [0.1] * 19}}, {"used": 2}, {"begun": 18},
            {"position": None}, {"schedule": exponential(1.0)}, {"schedule": Schedule("constant")},
            {"metrics": {"lr": [0.1] * 20 + [0.2]}},
        ]),
        ("LR015", {**RESTS, "schedule": exponential(0.9), "used": 3}, []),
        ("LR015", {**RESTS, "schedule": exponential(0.9), "begun": 17}, []),
        ("LR015", {**RESTS, "schedule": exponential(0.9), "used": 5, "steps": 40}, [{"used": 4}]),
        ("LR015", {**RESTS, "schedule": stepwise(10), "used": 12}, [
            {"used": 11}, {"begun": 10}, {"schedule": stepwise(0)}, {"schedule": stepwise(10, 1.0)},
        ]),
        ("LR015", {**RESTS, "schedule": stepwise(25), "position": 13}, [
            {"position": 12}, {"position": 25}, {"state": State.FAILED},
            {"schedule": stepwise(25, 1.0)},
        ]),
        ("LR015", {**RESTS, "schedule": milestones(5, 18)}, [{"begun": 18}]),
        ("LR015", {**RESTS, "schedule": milestones(19, 21), "position": 18}, [{"position": 19}]),
        ("LR015", {**RESTS, "schedule": Schedule("CyclicLR", {"base_lr": 0.1, "max_lr": 0.2})}, [
            {"schedule": Schedule("CyclicLR", {"base_lr": 0.1, "max_lr": 0.1})},
        ]),
        ("LR015", {**RESTS, "schedule": cosine(0.2)}, [{"schedule": cosine(0.1)}]),
        ("LR016", {
            "steps": 5, "given_rate": 0.301, "schedule": Schedule("OneCycleLR", {"max_lr": 0.1}),
        }, [
            {"given_rate": 0.3}, {"given_rate": 0.0}, {"given_rate": None}, {"given_rate": 0.00134},
            {"schedule": Schedule("OneCycleLR", {})},
        ]),
        ("LR016", {"steps": 5, "given_rate": 0.0033, "schedule": Schedule(
            "CyclicLR", {"base_lr": 0.01, "max_lr": 0.1}
        )}, [
            {"given_rate": 0.0034},
            {"schedule": Schedule("CosineAnnealingLR", {"base_lr": 0.01, "max_lr": 0.1})},
        ]),
        ("LR017", {"schedule": cosine(0.2)}, [
            {"schedule": cosine(0.1)},
            {"schedule": Schedule("CosineAnnealingLR", {"T_max": 9})},
            {"schedule": Schedule("StepLR", {"eta_min": 0.2})},
            {"metrics": {"lr": [0.0] * 20}},
        ]),
        ("LR018", {"metrics": {"lr": [0.1] * 5, "lr/a": [0.1] * 5, "lr/b": [0.0] * 5}}, [
            {"metrics": {"lr": [0.1] * 4, "lr/a": [0.1] * 4, "lr/b": [0.0] * 4}},
            {"metrics": {"lr": [0.1] * 5, "lr/a": [0.1] * 5, "lr/b": [0.0] * 4 + [1e-9]}},
            {"state": State.FAILED},
        ]),
    ],
)  # fmt: skip
def test_where_a_rule_on_the_rate_begins(
    code: str, case: dict[str, Any], changes: list[dict[str, Any]]
) -> None:
    """A diagnosis is made of the least case, and of none that lacks a little of it."""
    assert found(code, **case) is not None
    assert [None] * len(changes) == [found(code, **{**case, **change}) for change in changes]


def test_the_ratio_of_a_rate_that_was_replaced() -> None:
    """LR016 says from where to where the schedule goes, and how far that is from the rate."""
    params = {"max_lr": 0.1, "div_factor": 10.0}
    one_cycle = Schedule("OneCycleLR", params)

    assert found("LR016", schedule=one_cycle, steps=5, given_rate=0.001) == (
        "the optimizer's lr=0.001 was never used: OneCycleLR sets the learning rate itself, from "
        "0.01 (div_factor=10) to 0.1 (max_lr), 100 times lr."
    )
    assert found("LR016", schedule=one_cycle, steps=5, given_rate=1.0) == (
        "the optimizer's lr=1 was never used: OneCycleLR sets the learning rate itself, from "
        "0.01 (div_factor=10) to 0.1 (max_lr), 10 times below lr."
    )


def test_one_part_of_a_sequence_replaces_the_rate() -> None:
    """LR016 looks at all parts of a schedule, not only at the first one."""
    parts = [Schedule("LinearLR", {}), Schedule("OneCycleLR", {"max_lr": 0.1})]
    sequence = Schedule(
        "SequentialLR",
        {"schedulers": [part.to_dict() for part in parts], "milestones": [5]},
    )

    assert found("LR016", schedule=sequence, steps=5, given_rate=0.301) is not None


@pytest.mark.parametrize(
    ("vanished", "words"),
    [
        (1, "a was"),
        (2, "a (and of 1 other group) was"),
        (3, "a (and of 2 other groups) was"),
    ],
)
def test_which_groups_have_vanished(vanished: int, words: str) -> None:
    """LR004 names one group whose rate has vanished, and counts the others."""
    groups = {f"lr/{name}": [0.1] * 18 + [0.0] * 2 for name in "abc"[:vanished]}
    message = found("LR004", metrics={"lr": [0.1] * 18 + [0.0] * 2, **groups, "lr/z": [0.1] * 20})

    assert message is not None
    assert message.startswith(f"the learning rate of param group {words} 0 or under a millionth")


@pytest.mark.parametrize(
    ("rests", "words"),
    [
        ("a", "param group a had"),
        ("ab", "param groups a, b had"),
        ("abcde", "param groups a, b, c, d, e had"),
        ("abcdef", "param groups a, b, c, d, e, … had"),
    ],
)
def test_which_groups_rest(rests: str, words: str) -> None:
    """LR018 names up to five groups, and for how many records they had the rate 0."""
    groups = {f"lr/{name}": [0.0] * 5 for name in rests}

    assert found("LR018", metrics={"lr": [0.0] * 5, **groups, "lr/z": [0.1] * 5}) == (
        f"{words} the learning rate 0 in all 5 recorded steps: these parameters were never "
        "trained, although their gradients were computed."
    )


def jumps(rates: list[float], breaks: list[int], counts: list[int] | None = None) -> list[RateJump]:
    """The jumps of rates at steps 10, 11, …"""
    steps = np.arange(10, 10 + len(rates))
    return list(
        rate_jumps(steps, np.array(rates), breaks, None if counts is None else np.array(counts))
    )


def test_which_changes_are_jumps() -> None:
    """A jump exceeds a hundredth of the largest rate and twice the largest other change."""
    assert jumps([1.0, 1.0, 0.9899, 0.9899], [12]) == [RateJump(12, 11, 0.9899, 1.0, False)]
    assert jumps([1.0, 1.0, 0.9901, 0.9901], [12]) == []
    assert jumps([1.0, 0.9, 0.69, 0.6], [12]) == [RateJump(12, 11, 0.69, 0.9, False)]
    assert jumps([1.0, 0.9, 0.71, 0.7], [12]) == []
    assert jumps([1.0, 0.5, 1.0], [12]) == []
    assert jumps([1.0, 1.0, 0.5, 1.0], [13, 12]) == [
        RateJump(13, 12, 1.0, 0.5, True),
        RateJump(12, 11, 0.5, 1.0, False),
    ]


def test_breaks_beside_the_records() -> None:
    """A break before the second record, or after the last one, has no change to look at."""
    assert jumps([1.0, 0.1], [10]) == []
    assert jumps([1.0, 0.1], [12]) == []
    assert jumps([1.0, 0.1], [11]) == [RateJump(11, 10, 0.1, 1.0, False)]


def test_a_count_that_begins_again() -> None:
    """A count that falls is a lost schedule from the step on at which it moves again."""
    rates = [1.0, 0.9, 0.8, 0.8, 1.0]

    assert jumps(rates, [12], [0, 1, 0, 0, 1]) == [RateJump(14, 11, 1.0, 0.9, False, True)]
    assert jumps(rates, [12], [0, 1, 1, 2, 3]) == []
    assert jumps(rates, [12], [0, 1, -1, -1, -1]) == []
    assert jumps([1.0] * 5, [12], [0, 1, 0, 0, 1]) == []
