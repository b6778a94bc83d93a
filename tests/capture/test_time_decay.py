"""Decay by time, independent of the step rate."""

from __future__ import annotations

import copy
import math
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.optim import lr_scheduler as ls

import lrtrack


class Clock:
    """A clock that is set by hand."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def sgd(*rates: float) -> torch.optim.SGD:
    """Return SGD with one param group for each rate."""
    groups = [{"params": [torch.nn.Parameter(torch.ones(()))], "lr": lr} for lr in rates or (0.5,)]
    return torch.optim.SGD(groups, lr=0.0)


def after(scheduler, seconds: float) -> float:
    """Return the rate of group 0 after a step `seconds` later."""
    scheduler._clock.now += seconds
    scheduler.optimizer.step()
    scheduler.step()
    return scheduler.optimizer.param_groups[0]["lr"]


FORMS = [
    ({"rate": 0.01}, lambda t: 0.5 * math.exp(-0.01 * t)),
    ({"half_life": 600.0}, lambda t: 0.5 * 0.5 ** (t / 600)),
    ({"every": 600.0}, lambda t: 0.5 * 0.5 ** (t // 600)),
    ({"every": 600.0, "factor": 0.25}, lambda t: 0.5 * 0.25 ** (t // 600)),
]


@pytest.mark.parametrize(("form", "expected"), FORMS)
def test_the_rate_is_that_of_the_time_that_has_passed(form, expected):
    """Each form follows its formula at uneven steps, from the initial rate at time 0."""
    scheduler = lrtrack.TimeDecayLR(sgd(), **form, clock=Clock())
    gaps = [0.0, 1.5, 598.5, 0.25, 599.75, 7200.0]
    rates = [scheduler.get_last_lr()[0], *(after(scheduler, gap) for gap in gaps)]

    times = [0.0, 0.0, 1.5, 600.0, 600.25, 1200.0, 8400.0]
    assert [expected(t) for t in times] == rates


def test_the_step_rate_does_not_matter():
    """A thousand steps and ten steps in the same time end at the same rate."""
    slow = lrtrack.TimeDecayLR(sgd(), half_life=100, clock=Clock(0.0))
    fast = lrtrack.TimeDecayLR(sgd(), half_life=100, clock=Clock(0.0))
    slowly = [after(slow, 12.5) for _ in range(10)]
    quickly = [after(fast, 0.125) for _ in range(1000)]

    assert slowly[-1] == quickly[-1] == 0.5 * 0.5**1.25


def test_every_group_decays_to_the_floor():
    """`min_lr` ends the decay; a group that starts below it stays unchanged."""
    optimizer = sgd(0.4, 0.1, 0.01)
    scheduler = lrtrack.TimeDecayLR(optimizer, half_life=10, min_lr=0.05, clock=Clock())
    after(scheduler, 20)

    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.05, 0.01]


def test_time_between_pause_and_resume_does_not_count():
    """Time between `pause()` and `resume()` does not count, and both calls may be repeated."""
    scheduler = lrtrack.TimeDecayLR(sgd(), half_life=10, clock=Clock())
    after(scheduler, 10)
    scheduler.pause()
    scheduler.pause()
    meanwhile = after(scheduler, 500)
    scheduler._clock.now += 500
    scheduler.resume()
    scheduler.resume()

    assert (meanwhile, after(scheduler, 10)) == (0.25, 0.125)


def test_time_between_checkpoint_and_resume_does_not_count():
    """The state holds the elapsed time at which it was taken, also through a pickle."""
    first = lrtrack.TimeDecayLR(sgd(), half_life=10, clock=Clock(7.0))
    after(first, 10)
    first._clock.now += 5
    state = pickle.loads(pickle.dumps(first.state_dict()))
    second = lrtrack.TimeDecayLR(sgd(), half_life=10, clock=Clock(90000.0))
    second._clock.now += 33
    second.load_state_dict(state)

    assert (first.seconds, second.seconds) == (15.0, 15.0)
    assert (after(second, 5), after(first, 5)) == (0.125, 0.125)


def test_taking_a_state_changes_nothing():
    """Taking a state does not change the schedule, and the state contains no clock."""
    scheduler = lrtrack.TimeDecayLR(sgd(), half_life=10, clock=Clock())
    after(scheduler, 10)
    state = scheduler.state_dict()

    assert not {"optimizer", "_clock", "_since"} & state.keys()
    assert after(scheduler, 10) == 0.125


def test_resume_in_another_process(tmp_path: Path):
    """A checkpoint resumes in another process, with that process's own monotonic clock."""
    scheduler = lrtrack.TimeDecayLR(sgd(), every=3600, clock=Clock())
    after(scheduler, 2 * 3600 + 5)
    torch.save(scheduler.state_dict(), tmp_path / "state.pt")
    code = (
        "import torch, lrtrack\n"
        "optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.5)\n"
        "scheduler = lrtrack.TimeDecayLR(optimizer, every=3600)\n"
        f"scheduler.load_state_dict(torch.load({str(tmp_path / 'state.pt')!r}))\n"
        "optimizer.step(); scheduler.step()\n"
        "print(optimizer.param_groups[0]['lr'])\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout == "0.125\n"


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))])
def test_copies_go_on_by_themselves(copied):
    """A deep copy and a pickle continue from the time at which they were made."""
    scheduler = lrtrack.TimeDecayLR(sgd(), half_life=1e12)
    scheduler.optimizer.step()
    scheduler.step()
    scheduler.pause()
    scheduler._before = 1e12
    twin = copied(scheduler)
    twin.step()

    assert (twin.get_last_lr(), [g["lr"] for g in twin.optimizer.param_groups]) == ([0.25], [0.25])
    assert 0.49 < scheduler.optimizer.param_groups[0]["lr"] <= 0.5


def test_a_deep_copy_shares_the_clock():
    """A deep copy uses the same clock as its original."""
    scheduler = lrtrack.TimeDecayLR(sgd(), half_life=10, clock=Clock())
    twin = copy.deepcopy(scheduler)
    scheduler._clock.now += 10

    assert (scheduler.seconds, twin.seconds) == (10.0, 10.0)


def test_in_a_chain_the_time_begins_with_the_turn():
    """In a chain, the time of the warm-up does not count for the decay."""
    optimizer, clock = sgd(), Clock()
    warmup = ls.LinearLR(optimizer, 0.5, total_iters=2)
    decay = lrtrack.TimeDecayLR(optimizer, half_life=10, clock=clock)
    chain = ls.SequentialLR(optimizer, [warmup, decay], [2])
    rates = []
    for _ in range(5):
        rates.append(optimizer.param_groups[0]["lr"])
        clock.now += 10
        optimizer.step()
        chain.step()

    assert rates == [0.25, 0.375, 0.5, 0.25, 0.125]


def test_a_clock_that_runs_backwards_is_no_gain():
    """A clock that runs backwards does not reduce the elapsed time."""
    scheduler = lrtrack.TimeDecayLR(sgd(), half_life=10, clock=Clock())

    assert after(scheduler, -50) == 0.5


def test_it_is_described_by_its_parameters():
    """The description has only the arguments given, is always the same, and excludes the clock."""
    scheduler = lrtrack.TimeDecayLR(sgd(), every=600, clock=Clock())
    before = lrtrack.describe(scheduler)
    after(scheduler, 5000)

    assert before == lrtrack.describe(scheduler)
    assert lrtrack.Schedule("TimeDecayLR", {"every": 600, "factor": 0.5, "min_lr": 0}) == before


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "exactly one of rate, half_life and every; got none"),
        ({"rate": 1.0, "every": 2.0}, "got rate, every"),
        ({"rate": 0.0}, r"rate \(per second\) must be above 0, got 0.0"),
        ({"half_life": -1.0}, r"half_life \(in seconds\) must be above 0"),
        ({"half_life": math.inf}, r"half_life \(in seconds\)"),
        ({"rate": 1.0, "factor": 0.5}, "needs every="),
        ({"every": 1.0, "factor": 1.5}, "must be between 0 and 1, got 1.5"),
        ({"every": 1.0, "min_lr": -1.0}, "min_lr must be at least 0"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, why):
    """Arguments that make no sense are refused before the training starts."""
    with pytest.raises(ValueError, match=why):
        lrtrack.TimeDecayLR(sgd(), **arguments)


def test_inverse_square_root_after_warmup_is_that_of_vaswani():
    """After a warm-up of w steps, the rate is lr · min(step / w, √(w / step))."""
    chain = lrtrack.scheduler(sgd(), "warmup(steps=4, start=0.25) -> inverse_sqrt(timescale=4)")
    rates = []
    for _ in range(12):
        rates.append(chain.optimizer.param_groups[0]["lr"])
        chain.optimizer.step()
        chain.step()

    assert [0.5, 0.5 * math.sqrt(4 / 5), 0.5 * math.sqrt(4 / 6)] == rates[4:7]
    assert 0.25 * 0.5 <= rates[0] < rates[3] < rates[4]


def test_inverse_square_root_needs_a_timescale_above_zero():
    """An inverse square root decay with a timescale of 0 or less is refused."""
    with pytest.raises(ValueError, match="timescale must be a number of steps above 0, got 0"):
        lrtrack.InverseSqrtLR(sgd(), timescale=0)
