"""Real trainings under `track()`: the steps that are read back equal those of the training."""

from __future__ import annotations

import copy
from typing import Any

import torch

import lrtrack
from lrtrack.records import State
from lrtrack.testing.contract import Contract, same, table_of_history
from lrtrack.trackers.base import Tracker

STEPS = 12


class _Loop:
    """A small training that records its own rates and losses.

    Attributes:
        truth: `lr` and `loss` by step, as the loop itself computed them.
    """

    def __init__(self, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._inputs = torch.randn(8, 4, generator=generator)
        self._weight = torch.nn.Parameter(torch.randn(4, generator=generator))
        self.optimizer = torch.optim.SGD([self._weight], lr=0.1)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, step_size=5)
        self.truth: dict[str, dict[int, str]] = {"lr": {}, "loss": {}}

    def step(self, number: int) -> None:
        """Train one step."""
        self.optimizer.zero_grad()
        loss = (self._inputs @ self._weight).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own
        self.truth["lr"][number] = repr(float(self.optimizer.param_groups[0]["lr"]))
        self.truth["loss"][number] = repr(loss.item())
        self.optimizer.step()
        self.scheduler.step()


class Training(Contract):
    """Trainings under `with lrtrack.track(…, tracker=…)`, read back by `histories()`."""

    def test_a_training_is_read_back(self, tracker: Tracker) -> None:
        """The rate and loss of each step come back to the last bit, under the id of the run."""
        loop = _Loop()
        with self._tracked(tracker, loop, seed=3) as run:
            for number in range(STEPS):
                loop.step(number)
            run.log(val_loss=0.25)
            run_id = run.id
        history = self.only(tracker)
        table = table_of_history(history)
        same(loop.truth, {name: table.get(name) for name in loop.truth}, "the steps")
        same({STEPS - 1: "0.25"}, table.get("val_loss"), "the metric that the user logged")
        same((run_id, 3, State.FINISHED), (history.id, history.run.seed, history.state), "the run")
        same("StepLR", history.run.schedule.name, "the schedule")

    def test_a_training_that_flushes(self, tracker: Tracker) -> None:
        """A step that is changed after it was flushed is stored once."""
        loop = _Loop()
        with self._tracked(tracker, loop) as run:
            for number in range(STEPS):
                loop.step(number)
                if number % 5 == 4:
                    run.flush()
                    run.log(val_loss=float(number), loss=9.5)
                    loop.truth["loss"][number] = "9.5"
        table = table_of_history(self.only(tracker))
        same(loop.truth, {name: table.get(name) for name in loop.truth}, "the steps")
        same({4: "4.0", 9: "9.0"}, table.get("val_loss"), "the metric that the user logged")

    def test_a_training_that_raises(self, tracker: Tracker) -> None:
        """A training that raises is FAILED, and keeps its steps; its exception is not changed."""
        loop = _Loop()
        try:
            with self._tracked(tracker, loop):
                for number in range(5):
                    loop.step(number)
                raise ZeroDivisionError("somewhere in the training")
        except ZeroDivisionError:
            pass
        history = self.only(tracker)
        same((State.FAILED, 5), (history.state, len(history.steps)), "state and steps")

    def test_a_training_that_resumes(self, tracker: Tracker) -> None:
        """A run that is resumed from an earlier checkpoint keeps the steps up to there alone."""
        loop = _Loop()
        with self._tracked(tracker, loop) as run:
            for number in range(6):
                loop.step(number)
            checkpoint = copy.deepcopy(
                (run.state_dict(), loop.optimizer.state_dict(), loop.scheduler.state_dict())
            )
            for number in range(6, 8):  # of these, no checkpoint is written
                loop.step(number)
        loop.optimizer.load_state_dict(checkpoint[1])
        loop.scheduler.load_state_dict(checkpoint[2])
        with self._tracked(tracker, loop, resume=checkpoint[0]["id"]) as run:
            run.load_state_dict(checkpoint[0])
            for number in range(6, STEPS):
                loop.step(number)
        table = table_of_history(self.only(tracker))
        same(loop.truth, {name: table.get(name) for name in loop.truth}, "the steps")

    def test_two_trainings_at_once(self, tracker: Tracker) -> None:
        """Two trainings with two prefixes, side by side, are two runs with their own metrics."""
        loops = [_Loop(seed) for seed in range(2)]
        with (
            self._tracked(tracker, loops[0], seed=0, prefix="g/"),
            self._tracked(tracker, loops[1], seed=1, prefix="d/"),
        ):
            for number in range(STEPS):
                for loop in loops:
                    loop.step(number)
        histories = {history.run.seed: history for history in self.read(tracker)}
        same({0, 1}, set(histories), "the seeds")
        for seed, prefix in enumerate(("g/", "d/")):
            table = table_of_history(histories[seed])
            truth = loops[seed].truth
            same(
                truth, {name: table.get(prefix + name) for name in truth}, f"the steps of {prefix}"
            )
            same(prefix, histories[seed].run.prefix, "the prefix")

    def _tracked(self, tracker: Tracker, loop: _Loop, **options: Any) -> Any:
        self.needs(self.reads, "this tracker cannot read runs back")
        options = {"experiment": self.experiment, "flush_timeout": self.patience, **options}
        return lrtrack.track(loop.optimizer, loop.scheduler, tracker=tracker, **options)
