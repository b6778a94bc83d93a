"""`track()` around a loop, read back from the journal."""

from __future__ import annotations

import copy
import pickle
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch

import lrtrack
from lrtrack.errors import UsageError
from lrtrack.records import State


def equal(left, right) -> bool:
    """Checks nested states for bit-equality."""
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[k], right[k]) for k in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(equal, left, right))
    return left == right


def test_every_step_is_recorded_as_it_was(training, local) -> None:
    """Learning rate, gradient norm and loss of each step are recorded as the loop saw them."""
    with lrtrack.track(training.optimizer, training.scheduler, tracker="local"):
        training.run()

    (history,) = local()
    assert history.steps.tolist() == list(range(20))
    assert history.metrics["lr"].tolist() == [row["lr"] for row in training.truth]
    assert history.metrics["loss"].tolist() == [row["loss"] for row in training.truth]
    np.testing.assert_allclose(
        history.metrics["grad_norm"], [row["grad_norm"] for row in training.truth], rtol=1e-6
    )
    assert history.state is State.FINISHED


def test_training_is_bit_equal(new_training, store) -> None:
    """Weights, optimizer, scheduler and random numbers are the same with and without tracking."""
    bare = new_training().run().state()
    tracked = new_training()
    with lrtrack.track(tracked.optimizer, tracked.scheduler, norms="layer", model=tracked.model):
        tracked.run()

    assert equal(tracked.state(), bare)


def test_step_counts_from_minus_one(training) -> None:
    """`step` is -1 before the first step, then the number of the step just done."""
    seen = []
    with lrtrack.track(training.optimizer, training.scheduler, tracker="local") as run:
        seen.append(run.step)
        for _ in range(3):
            training.step()
            seen.append(run.step)

    assert seen == [-1, 0, 1, 2]


def test_logged_metrics_belong_to_the_step_just_done(training, local) -> None:
    """`run.log` records at the step just done, and at 0 before the first."""
    with lrtrack.track(training.optimizer, training.scheduler, tracker="local") as run:
        run.log(start=1.0)
        for step in range(6):
            training.step()
            if step % 3 == 2:
                run.log({"val/loss": torch.tensor(0.5)}, val_accuracy=step / 10)

    (history,) = local()
    assert [v.tolist() for v in history.series("start")] == [[0], [1.0]]
    assert [v.tolist() for v in history.series("val/loss")] == [[2, 5], [0.5, 0.5]]
    assert [v.tolist() for v in history.series("val_accuracy")] == [[2, 5], [0.2, 0.5]]


@pytest.mark.parametrize("pause", [0.0, 0.6], ids=["still in memory", "already on disk"])
def test_a_given_loss_replaces_the_captured_one(training, local, pause: float) -> None:
    """`run.log(loss=…)` after a step replaces the loss of that step."""
    with lrtrack.track(training.optimizer, training.scheduler, tracker="local") as run:
        for step in range(3):
            training.step()
            time.sleep(pause)
            run.log(loss=float(step))

    (history,) = local()
    assert history.metrics["loss"].tolist() == [0.0, 1.0, 2.0]
    assert history.metrics["lr"].tolist() == [0.1, 0.1, 0.1]


def test_an_exception_goes_on_unchanged_and_fails_the_run(training, local) -> None:
    """The user's exception leaves the block unchanged, and the run is FAILED."""
    mine = ZeroDivisionError("mine")
    with (
        pytest.raises(ZeroDivisionError) as caught,
        lrtrack.track(training.optimizer, training.scheduler, tracker="local"),
    ):
        training.step()
        raise mine

    assert caught.value is mine
    assert [history.state for history in local()] == [State.FAILED]
    assert len(training.optimizer._optimizer_step_pre_hooks) == 0
    assert len(training.optimizer._optimizer_step_post_hooks) == 0


def test_optimizer_and_scheduler_stay_ordinary_objects(training) -> None:
    """Inside the block, optimizer and scheduler can be deep-copied and pickled."""
    with lrtrack.track(training.optimizer, training.scheduler, tracker="local"):
        training.step()
        copied = copy.deepcopy(training.optimizer)
        pickled = pickle.loads(pickle.dumps(training.optimizer))
        states = training.optimizer.state_dict(), training.scheduler.state_dict()
        copied_scheduler = copy.deepcopy(training.scheduler)

    assert copied.param_groups[0]["lr"] == pickled.param_groups[0]["lr"] == 0.1
    assert states[1]["last_epoch"] == copied_scheduler.last_epoch == 1


def test_two_optimizers_share_a_run_by_prefix(new_training, local) -> None:
    """Each block records its own optimizer, under its own prefix."""
    one, two = new_training(seed=1), new_training(seed=2)
    with (
        lrtrack.track(one.optimizer, one.scheduler, tracker="local", prefix="g/"),
        lrtrack.track(two.optimizer, two.scheduler, tracker="local", prefix="d/"),
    ):
        for _ in range(4):
            one.step()
            two.step()

    found = {history.run.prefix: history for history in local()}
    assert found["g/"].metrics["g/loss"].tolist() == [row["loss"] for row in one.truth]
    assert found["d/"].metrics["d/loss"].tolist() == [row["loss"] for row in two.truth]
    assert found["d/"].series("lr")[1].tolist() == [0.1] * 4


def test_every_thins_the_record(training, local) -> None:
    """`every=k` records the steps 0, k, 2k, …"""
    with lrtrack.track(training.optimizer, training.scheduler, tracker="local", every=7):
        training.run()

    (history,) = local()
    assert history.steps.tolist() == [0, 7, 14]
    assert history.metrics["loss"].tolist() == [training.truth[k]["loss"] for k in (0, 7, 14)]


def test_resume_continues_the_same_run(training, local) -> None:
    """A resumed run continues after the loaded step, and abandons what it had recorded since."""
    with lrtrack.track(training.optimizer, training.scheduler, tracker="local") as run:
        for _ in range(5):
            training.step()
        saved = run.state_dict()
        training.step()
    with lrtrack.track(
        training.optimizer, training.scheduler, tracker="local", resume=run.id
    ) as again:
        again.load_state_dict(saved)
        for _ in range(4):
            training.step()

    (history,) = local()
    assert again.id == run.id
    assert history.steps.tolist() == list(range(9))
    assert history.metrics["loss"].tolist()[:5] == [row["loss"] for row in training.truth[:5]]
    assert history.metrics["loss"].tolist()[5:] == [row["loss"] for row in training.truth[6:10]]


def test_a_value_that_is_no_number_is_left_out_with_one_warning(training, local) -> None:
    """A value that is not a number is skipped with one warning, and training continues."""
    with lrtrack.track(training.optimizer, training.scheduler, tracker="local") as run:
        training.step()
        with pytest.warns(lrtrack.LRTrackWarning, match="'note' is not a number") as caught:
            run.log(note="good", val=1.0)
            run.log(note="better")

    assert len(caught) == 1
    assert local()[0].series("val")[1].tolist() == [1.0]


deep: list[object] = []
for _ in range(60):
    deep = [deep]


@pytest.mark.parametrize(
    ("arguments", "kind", "words"),
    [
        ({"tracker": "mlfow"}, UsageError, "Did you mean 'mlflow'.*Available: .*local, mlflow"),
        ({"norms": "globl"}, UsageError, "Did you mean 'global'.*group, layer, off"),
        ({"norms": "layer"}, UsageError, "Fix: pass model="),
        ({"expermient": "x"}, TypeError, "unexpected keyword argument 'expermient'"),
        ({"every": 0}, UsageError, "at least 1"),
        ({"updates": 0}, UsageError, "updates must be an integer, at least 1; got 0"),
        ({"updates": True}, UsageError, "updates must be an integer, at least 1; got True"),
        ({"updates": 1.5}, UsageError, "updates must be an integer"),
        ({"updates": 15, "every": 10}, UsageError, "only every 30th .*Fix: .* updates=20"),
        ({"norms_every": 15, "every": 10}, UsageError, "only every 30th .* norms_every=20"),
        ({"norms_every": 0}, UsageError, "norms_every must be an integer, at least 1; got 0"),
        ({"seed": "one"}, UsageError, "seed must be an integer"),
        ({"flush_timeout": -1}, UsageError, "flush_timeout must be a number of seconds"),
        ({"config": 3}, UsageError, "config must be a mapping"),
        ({"config": {"deep": deep}}, UsageError, "config is nested more than 50 levels deep"),
        ({"tracker": 3}, UsageError, "a name .*or a tracker object"),
    ],
)
def test_mistakes_are_told_before_any_training(training, arguments, kind, words) -> None:
    """An invalid option is an error before any training."""
    with pytest.raises(kind, match=words):
        lrtrack.track(training.optimizer, training.scheduler, **arguments)


def test_updates_need_an_optimizer() -> None:
    """Without an optimizer object there are no weights to measure, which is said at once."""
    with pytest.raises(UsageError, match=r"updates=… needs an optimizer.*Fix: leave it out"):
        lrtrack.track(None, updates=10)


def test_what_is_no_optimizer_is_a_type_error(training) -> None:
    """A wrong optimizer type is an error that says what was expected and detects swaps."""
    with pytest.raises(TypeError, match=r"expects a torch\.optim\.Optimizer.*torch.*Sequential"):
        lrtrack.track(training.model, training.scheduler)
    with pytest.raises(TypeError, match="swap them"):
        lrtrack.track(training.scheduler, training.optimizer)
    with pytest.raises(TypeError, match=r"scheduler with a step\(\) method.*got float"):
        lrtrack.track(training.optimizer, 0.1)


def test_a_broken_pyproject_is_told_before_any_training(training, clean_place: Path) -> None:
    """An unreadable configuration is an error before any training that names the file."""
    (clean_place / "pyproject.toml").write_text("[tool.lrtrack\n")
    with pytest.raises(UsageError, match=r"Cannot read .*pyproject\.toml"):
        lrtrack.track(training.optimizer, training.scheduler)


def test_settings_choose_the_tracker(training, local, clean_place: Path, monkeypatch) -> None:
    """`[tool.lrtrack]` sets the default tracker, and `LRTRACK_TRACKER` overrides it."""
    (clean_place / "pyproject.toml").write_text(
        '[tool.lrtrack]\ntracker = "nowhere"\nexperiment = "mine"\n'
    )
    with pytest.raises(UsageError, match="'nowhere'"):
        lrtrack.track(training.optimizer, training.scheduler)
    monkeypatch.setenv("LRTRACK_TRACKER", "local")
    with lrtrack.track(training.optimizer, training.scheduler):
        training.step()

    assert [history.run.experiment for history in local()] == ["mine"]


def test_other_processes_of_a_distributed_job_write_nothing(training, local, monkeypatch) -> None:
    """A distributed job has one run, which rank 0 writes."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with lrtrack.track(training.optimizer, training.scheduler, tracker="local") as run:
        training.run()

    assert run.step == 19
    assert local() == []


def test_other_processes_need_no_tracker(training, monkeypatch, tmp_path) -> None:
    """A tracker that would fail on rank 0 does not stop the ranks that write nothing."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank, expected in (("0", pytest.raises(UsageError)), ("1", nullcontext())):
        monkeypatch.setenv("RANK", rank)
        with expected, lrtrack.track(training.optimizer, tracker="wandb") as run:
            training.run()

    assert run.step == 19
    assert run.url is None


def test_a_block_is_entered_once(training) -> None:
    """Entering a block a second time is an error."""
    block = lrtrack.track(training.optimizer, training.scheduler, tracker="local")
    with block, pytest.raises(RuntimeError, match="call track"):
        block.__enter__()
