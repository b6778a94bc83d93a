"""A checkpoint of an earlier step abandons the records after it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch

import lrtrack
from lrtrack.errors import LRTrackWarning


class Loop:
    """A training whose losses depend on step and branch, so that each record tells its course."""

    def __init__(self, kind: str = "adam", scheduled: bool = True) -> None:
        torch.manual_seed(0)
        self.weight = torch.nn.Parameter(torch.ones(2))
        makers: dict[str, Callable[..., Any]] = {
            "adam": torch.optim.Adam, "sgd": torch.optim.SGD
        }  # fmt: skip
        self.optimizer = makers[kind]([self.weight], lr=0.1)
        self.scheduler = (
            torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.9) if scheduled else None
        )

    def train(self, steps: int, loss: float) -> None:
        """Trains with a constant loss."""
        for _ in range(steps):
            self.optimizer.zero_grad()
            (self.weight.sum() * 0.0 + loss).backward()
            self.optimizer.step()
            if self.scheduler is not None:
                self.scheduler.step()

    def saved(self) -> list[Any]:
        """A checkpoint."""
        parts = [self.optimizer, *([self.scheduler] if self.scheduler is not None else [])]
        return [copy.deepcopy(part.state_dict()) for part in parts]

    def load(self, saved: list[Any]) -> None:
        """Returns to a checkpoint, which torch would otherwise share with the optimizer."""
        saved = copy.deepcopy(saved)
        self.optimizer.load_state_dict(saved[0])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(saved[1])


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_a_checkpoint_within_a_block(kind: str, local) -> None:
    """Steps after the loaded one are abandoned, and the loop's own count of them goes on."""
    loop = Loop(kind)
    with lrtrack.track(loop.optimizer, loop.scheduler, tracker="local") as run:
        loop.train(4, 1.0)
        saved = loop.saved()
        loop.train(6, 2.0)
        loop.load(saved)
        at = run.step
        loop.train(3, 3.0)
        summary = run.summary()
    (history,) = local()

    assert (at, run.step) == (3, 6)
    assert history.steps.tolist() == list(range(7))
    assert history.metrics["loss"].tolist() == [1.0] * 4 + [3.0] * 3
    assert history.metrics["lr"].tolist() == pytest.approx([0.1 * 0.9**n for n in range(7)])
    assert history.fields()["rewound"] == "4-9"
    assert (summary["loss"], summary["loss_final"]) == (3.0, 3.0)
    assert run.summary() == summary


def test_a_checkpoint_that_is_only_evaluated_abandons_nothing(local) -> None:
    """Loading the best checkpoint at the end of a training leaves its records alone."""
    loop = Loop()
    with lrtrack.track(loop.optimizer, loop.scheduler, tracker="local") as run:
        loop.train(4, 1.0)
        saved = loop.saved()
        loop.train(4, 2.0)
        loop.load(saved)
        run.log(test_accuracy=0.5)
    (history,) = local()

    assert history.steps.tolist() == list(range(8))
    assert history.series("test_accuracy")[0].tolist() == [3]
    assert "rewound" not in history.fields()


def test_a_step_that_nothing_tells(local) -> None:
    """With plain SGD and no scheduler, a load leaves the count as it is."""
    loop = Loop("sgd", scheduled=False)
    with lrtrack.track(loop.optimizer, tracker="local") as run:
        loop.train(4, 1.0)
        saved = loop.saved()
        loop.train(4, 2.0)
        loop.load(saved)
        loop.train(2, 3.0)
    (history,) = local()

    assert run.step == 9
    assert history.metrics["loss"].tolist() == [1.0] * 4 + [2.0] * 4 + [3.0] * 2


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_a_schedule_that_restarts_by_design(kind: str, local) -> None:
    """Warm restarts, `step(0)` and a schedule that is loaded anew from its start are no returns."""
    loop = Loop(kind)
    loop.scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(loop.optimizer, 3)
    begun = copy.deepcopy(loop.scheduler.state_dict())
    with lrtrack.track(loop.optimizer, loop.scheduler, tracker="local"):
        loop.train(5, 1.0)
        loop.scheduler.step(0)
        loop.train(5, 2.0)
        loop.scheduler.load_state_dict(begun)
        loop.train(2, 3.0)
    (history,) = local()

    assert history.metrics["loss"].tolist() == [1.0] * 5 + [2.0] * 5 + [3.0] * 2


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_an_optimizer_and_a_schedule_that_begin_again(kind: str, local) -> None:
    """Loading both from before the first step, as a restart does, is no return."""
    loop = Loop(kind)
    begun = loop.saved()
    with lrtrack.track(loop.optimizer, loop.scheduler, tracker="local"):
        loop.train(4, 1.0)
        loop.load(begun)
        loop.train(2, 2.0)
    (history,) = local()

    assert history.metrics["loss"].tolist() == [1.0] * 4 + [2.0] * 2


def test_a_schedule_that_moves_once_an_epoch(local) -> None:
    """The first step of the loaded epoch is the one that is made next."""
    loop = Loop("sgd")
    scheduler, loop.scheduler = loop.scheduler, None
    saved: list[Any] = []
    with lrtrack.track(loop.optimizer, scheduler, tracker="local") as run:
        for epoch in range(6):
            loop.train(5, float(epoch))
            scheduler.step()
            saved.append(copy.deepcopy(scheduler.state_dict()))
        scheduler.load_state_dict(saved[2])
        loop.train(5, 9.0)
    (history,) = local()

    assert run.step == 19
    assert history.metrics["loss"].tolist() == [0.0] * 5 + [1.0] * 5 + [2.0] * 5 + [9.0] * 5


def test_returns_upon_returns(local) -> None:
    """Each return counts on from its checkpoint, also one of an earlier course."""
    loop = Loop()
    with lrtrack.track(loop.optimizer, loop.scheduler, tracker="local"):
        loop.train(3, 1.0)
        early = loop.saved()
        loop.train(3, 2.0)
        late = loop.saved()
        loop.train(3, 3.0)
        loop.load(late)
        loop.train(2, 4.0)
        loop.load(early)
        loop.train(1, 5.0)
        loop.load(early)
        loop.train(2, 6.0)
    (history,) = local()

    assert history.metrics["loss"].tolist() == [1.0] * 3 + [6.0] * 2
    assert history.fields()["rewound"] == "3-8"


def test_a_range_test_within_a_block(local) -> None:
    """Steps that the block does not see, and the state that they end with, return nowhere."""
    loop = Loop()
    with lrtrack.track(loop.optimizer, loop.scheduler, tracker="local"):
        loop.train(5, 1.0)
        saved = loop.saved()
        unseen = torch.optim.Adam([loop.weight])
        unseen.load_state_dict(copy.deepcopy(saved[0]))
        for _ in range(7):
            unseen.step()
        later = copy.deepcopy(unseen.state_dict())
        loop.optimizer.load_state_dict(later)
        loop.optimizer.load_state_dict(saved[0])
        loop.train(2, 2.0)
    (history,) = local()

    assert history.metrics["loss"].tolist() == [1.0] * 5 + [2.0] * 2


def test_a_rate_that_was_changed_at_a_return(local) -> None:
    """A rate that was changed by hand after a return is diagnosed, with the rates around it."""
    loop = Loop(scheduled=False)
    with pytest.warns(LRTrackWarning, match=r"LR030.* 0\.1 \(step 3\) to 0\.01 \(step 4\)"):
        with lrtrack.track(loop.optimizer, tracker="local"):
            loop.train(4, 1.0)
            saved = loop.saved()
            loop.train(4, 2.0)
            loop.load(saved)
            loop.optimizer.param_groups[0]["lr"] = 0.01
            loop.train(4, 3.0)
    (history,) = local()

    assert [diagnosis["code"] for diagnosis in history.run.diagnoses or ()] == ["LR030"]


def test_user_objects_stay_as_they_are() -> None:
    """Optimizer and scheduler can be copied and pickled inside a block, and keep no trace of it."""
    loop = Loop()
    before = set(vars(loop.scheduler))
    original = torch.optim.lr_scheduler.LRScheduler.load_state_dict
    with lrtrack.track(loop.optimizer, loop.scheduler, tracker="local"):
        loop.train(1, 1.0)
        pickle.loads(pickle.dumps(loop.optimizer))
        copied = copy.deepcopy(loop.scheduler)
        observed = torch.optim.lr_scheduler.LRScheduler.load_state_dict

    assert set(vars(loop.scheduler)) == before == set(vars(copied))
    assert observed is not original
    assert torch.optim.lr_scheduler.LRScheduler.load_state_dict is original
    assert not loop.optimizer._optimizer_load_state_dict_pre_hooks
    assert not loop.optimizer._optimizer_load_state_dict_post_hooks


def test_every_second_step(local) -> None:
    """With `every`, the grid of recorded steps stays that of the run."""
    loop = Loop()
    with lrtrack.track(loop.optimizer, loop.scheduler, tracker="local", every=2):
        loop.train(3, 1.0)
        saved = loop.saved()
        loop.train(6, 2.0)
        loop.load(saved)
        loop.train(4, 3.0)
    (history,) = local()

    assert history.steps.tolist() == [0, 2, 4, 6]
    assert history.metrics["loss"].tolist() == [1.0, 1.0, 3.0, 3.0]


@pytest.mark.parametrize("within", [True, False], ids=["in the block", "before the block"])
@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_a_resumed_run(kind: str, within: bool, local) -> None:
    """A new process that loads an older checkpoint than the last step abandons what follows."""
    loop = Loop(kind)
    with lrtrack.track(loop.optimizer, loop.scheduler, tracker="local") as run:
        loop.train(4, 1.0)
        saved = loop.saved()
        loop.train(6, 2.0)
    loop = Loop(kind)
    if not within:
        loop.load(saved)
    with lrtrack.track(loop.optimizer, loop.scheduler, tracker="local", resume=run.id) as again:
        if within:
            loop.load(saved)
        loop.train(2, 3.0)
        summary = again.summary()
    (history,) = local()

    assert again.step == 5
    assert history.metrics["loss"].tolist() == [1.0] * 4 + [3.0] * 2
    assert (history.fields()["rewound"], summary["loss"]) == ("4-9", 3.0)


def test_a_resumed_run_that_has_loaded_nothing(local) -> None:
    """Without a checkpoint a run goes on after its last step."""
    loop = Loop("sgd")
    with lrtrack.track(loop.optimizer, loop.scheduler, tracker="local") as run:
        loop.train(4, 1.0)
    loop = Loop("sgd")
    with pytest.warns(LRTrackWarning, match=r"LR030.* from 0.0729 \(step 3\) to 0.1 \(step 4\)"):
        with lrtrack.track(loop.optimizer, loop.scheduler, tracker="local", resume=run.id):
            loop.train(4, 2.0)
    (history,) = local()

    assert history.metrics["loss"].tolist() == [1.0] * 4 + [2.0] * 4
    assert [diagnosis["code"] for diagnosis in history.run.diagnoses] == ["LR030"]


@pytest.mark.parametrize("named", [True, False])
def test_a_branch(named: bool, local) -> None:
    """Another name makes a new run that goes on from the checkpoint and leaves its parent alone."""
    loop = Loop()
    with lrtrack.track(loop.optimizer, loop.scheduler, tracker="local", name="stem") as run:
        loop.train(4, 1.0)
        saved = [*loop.saved(), run.state_dict()]
        loop.train(6, 2.0)
    loop = Loop()
    with lrtrack.track(
        loop.optimizer, loop.scheduler, tracker="local", name="branch", resume=run.id
    ) as branch:
        loop.load(saved)
        if named:
            branch.load_state_dict(saved[2])
        loop.train(3, 3.0)
    found, stem = local()

    assert stem.metrics["loss"].tolist() == [1.0] * 4 + [2.0] * 6
    assert found.steps.tolist() == [4, 5, 6]
    fields = found.fields()
    assert (fields["parent"], fields["branched_at"]) == (run.id, 4)
    assert "rewound" not in fields
    assert found.id != run.id


def test_what_was_wrong_with_an_abandoned_course_is_not_diagnosed(local) -> None:
    """A loss that became NaN is forgotten with its course."""
    loop = Loop()
    with lrtrack.track(loop.optimizer, loop.scheduler, tracker="local"):
        loop.train(4, 1.0)
        saved = loop.saved()
        loop.train(2, float("nan"))
        loop.load(saved)
        loop.train(4, 1.0)
    (history,) = local()

    assert history.run.diagnoses == ()
