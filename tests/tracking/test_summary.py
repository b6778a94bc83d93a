"""A run's summary so far, for users who make decisions while it is running."""

from __future__ import annotations

import math

import numpy as np
import pytest

import lrtrack
from lrtrack.errors import UsageError


def test_the_loss_so_far_is_that_of_the_last_steps(training, local) -> None:
    """At each step, `loss()` is the mean of the losses that the loop saw."""
    seen, expected = [], []
    with lrtrack.track(training.optimizer, training.scheduler, tracker="local") as run:
        assert (run.loss(), run.loss(last=3), run.summary()) == (None, None, {})
        for step in range(20):
            training.step()
            training.scheduler.step()
            if step % 4 == 3:
                seen.append((run.loss(last=4), run.loss(last=100)))
                losses = [row["loss"] for row in training.truth]
                expected.append((np.mean(losses[-4:]), np.mean(losses)))

    np.testing.assert_allclose(seen, expected, rtol=1e-12)


def test_the_summary_is_what_trackers_show_of_a_run_that_is_over(training, local) -> None:
    """The summary has the last value of each metric, the best loss, and `loss_final`."""
    with lrtrack.track(training.optimizer, training.scheduler, tracker="local", prefix="a/") as run:
        training.run()
        run.log(val_loss=0.5)
        run.log(val_loss=0.25)
    losses = [row["loss"] for row in training.truth]

    assert run.summary() == {
        "a/lr": training.truth[-1]["lr"],
        "a/grad_norm": pytest.approx(training.truth[-1]["grad_norm"]),
        "a/loss": losses[-1],
        "a/val_loss": 0.25,
        "a/loss_final": losses[-1],
        "a/loss_best": min(losses),
    }
    assert run.loss() == losses[-1]


def test_a_loss_that_the_user_gives_counts_once(training) -> None:
    """A loss logged by the user replaces the captured one, even if that was already read."""
    with lrtrack.track(training.optimizer, training.scheduler, tracker="local") as run:
        training.step()
        training.step()
        first = training.truth[0]["loss"]
        assert run.loss(last=2) == pytest.approx((first + training.truth[1]["loss"]) / 2)
        run.log(loss=7.0)

        assert run.loss(last=2) == pytest.approx((first + 7.0) / 2)


def test_steps_are_counted_and_not_records(training) -> None:
    """With `every=5`, the last 6 steps hold one record or two, and the last 2 the latest one."""
    with lrtrack.track(training.optimizer, training.scheduler, tracker="local", every=5) as run:
        training.run()
        losses = [row["loss"] for row in training.truth]

        assert run.loss(last=6) == pytest.approx((losses[14 - 4] + losses[19 - 4]) / 2)
        assert run.loss(last=2) == losses[15]


def test_a_loss_that_is_not_finite_is_seen(training) -> None:
    """A loss that is not finite shows in `loss()`, so that pruning can react to it."""
    with lrtrack.track(training.optimizer, training.scheduler, tracker="local") as run:
        training.step()
        run.log(loss=math.nan)
        training.step()

        assert math.isnan(run.loss(last=2))
        assert run.summary()["loss_best"] == training.truth[1]["loss"]


def test_no_steps_at_all_cannot_be_asked_for(training) -> None:
    """`loss(last=0)` is an error that explains the argument."""
    with lrtrack.track(training.optimizer, tracker="local") as run:
        with pytest.raises(UsageError, match="at least 1; got 0"):
            run.loss(last=0)
