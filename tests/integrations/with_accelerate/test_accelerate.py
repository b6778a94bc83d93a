"""accelerate's loop with the tracker, compared with the same training as a plain loop."""

from __future__ import annotations

import pytest
import torch
import transformers
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import StepLR

import lrtrack
from lrtrack.errors import LRTrackWarning, UsageError
from lrtrack.integrations.accelerate import LRTrack
from lrtrack.records import State

from .loops import prepare, train


@pytest.mark.parametrize(("accumulate", "clip"), [(1, None), (3, 0.5)])
@pytest.mark.parametrize("way", ["log_with", "track"])
def test_records_equal_those_of_a_plain_loop(
    digits, accelerator, local, steps_of, accumulate: int, clip: float | None, way: str
) -> None:
    """Records equal those of a plain loop bit for bit, as a tracker and in a block."""
    plain = digits(batches=12 * accumulate).plain(accumulate, clip)
    task = digits(batches=12 * accumulate)
    with_it = {"log_with": LRTrack(tracker="local")} if way == "log_with" else {}
    accelerated = accelerator(gradient_accumulation_steps=accumulate, **with_it)
    prepare(accelerated, task)
    if way == "log_with":
        accelerated.init_trackers("digits")
        train(accelerated, task, clip)
        accelerated.end_training()
    else:
        with lrtrack.track(task.optimizer, task.scheduler, tracker="local"):
            train(accelerated, task, clip)
    (history,) = local()

    assert steps_of(history) == steps_of(plain)
    assert history.run.schedule == plain.run.schedule
    assert history.run.optimizer == plain.run.optimizer
    assert (history.state, history.run.diagnoses) == (State.FINISHED, ())


def test_weights_are_the_same_without(digits, accelerator) -> None:
    """Weights are bit-equal with and without lrtrack."""
    weights = []
    for with_it in ({}, {"log_with": LRTrack(tracker="local", norms="group")}):
        task, accelerated = digits(), accelerator(**with_it)
        prepare(accelerated, task)
        accelerated.init_trackers("digits")
        train(accelerated, task, clip=0.5)
        accelerated.end_training()
        weights.append(torch.cat([p.detach().flatten() for p in task.model.parameters()]))

    assert torch.equal(*weights)


def test_half_precision(digits, accelerator, local, steps_of) -> None:
    """In bfloat16, losses and norms are those of the bfloat16 pass."""
    task, losses = digits(), []
    for inputs, labels in task.batches():
        with torch.autocast("cpu", torch.bfloat16):
            output = task.model(inputs)
        loss = cross_entropy(output.float(), labels)
        losses.append(loss.item())
        loss.backward()
        task.optimizer.step()
        task.scheduler.step()
        task.optimizer.zero_grad()
    task = digits()
    accelerated = accelerator(mixed_precision="bf16", log_with=LRTrack(tracker="local"))
    prepare(accelerated, task)
    accelerated.init_trackers("digits")
    train(accelerated, task)
    accelerated.end_training()
    (history,) = local()

    assert list(steps_of(history)["loss"].values()) == losses


def test_what_accelerate_is_told_is_in_the_run(digits, accelerator, local, steps_of) -> None:
    """Project, configuration and metrics given to accelerate are in the run, at their steps."""
    plain, task = digits().plain(), digits()
    accelerated = accelerator(
        log_with=LRTrack(tracker="local", seed=3, config={"depth": 2, "width": 8})
    )
    prepare(accelerated, task)
    accelerated.init_trackers("my-project", config={"batch_size": 16, "depth": 9})
    run = accelerated.get_tracker("lrtrack", unwrap=True)

    def log(number: int) -> None:
        if number % 4 == 3:
            rate = task.scheduler.get_last_lr()[0]
            accelerated.log(
                {"val_loss": 1.0 / number, "lr": rate, "note": "text"}, step=number // 4
            )

    with pytest.warns(LRTrackWarning, match="'note' is not a number"):
        train(accelerated, task, each=log)
    accelerated.end_training()
    accelerated.log({"val_loss": 9.0})
    (history,) = local()
    steps = steps_of(history)

    assert run.step == 11
    assert steps["val_loss"] == {3: 1.0 / 3, 7: 1.0 / 7, 11: 1.0 / 11}
    assert steps["lr"] == steps_of(plain)["lr"]
    assert (history.run.experiment, history.run.seed) == ("my-project", 3)
    assert history.run.config == {"batch_size": 16, "depth": 2, "width": 8}


@pytest.mark.parametrize("ours_is", ["last", "first"])
def test_the_run_of_another_tracker_is_joined(digits, accelerator, store, ours_is: str) -> None:
    """The run of accelerate's own MLflow tracker is joined; if that comes last, with a config."""
    import mlflow

    task, tracker = digits(), LRTrack(flush_timeout=300.0)
    accelerated = accelerator(
        log_with=["mlflow", tracker] if ours_is == "last" else [tracker, "mlflow"]
    )
    prepare(accelerated, task)
    accelerated.init_trackers("digits", config={"batch_size": 16} if ours_is == "first" else None)
    train(accelerated, task, each=lambda number: accelerated.log({"seen": number}, step=number))
    accelerated.end_training()
    client = mlflow.MlflowClient(tracking_uri=store)
    (run,) = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    steps = [point.step for point in client.get_metric_history(run.info.run_id, "lr")]

    assert sorted(steps) == list(range(12))
    assert (run.info.status, run.data.metrics["seen"]) == ("FINISHED", 11.0)
    assert run.data.params["lrtrack.scheduler"] == "OneCycleLR"
    assert tracker.run.id == run.info.run_id


def test_several_optimizers(digits, accelerator, local) -> None:
    """Each of several optimizers has its own scheduler, and its class as prefix."""
    first, second = digits(), digits()
    second.optimizer = torch.optim.SGD(second.model.parameters(), lr=0.5)
    second.scheduler = StepLR(second.optimizer, 5)
    accelerated = accelerator(log_with=LRTrack(tracker="local", prefix="fold1/"))
    for task in (first, second):
        prepare(accelerated, task)
    accelerated.init_trackers("digits")
    for inputs, labels in first.batches():
        for task in (first, second):
            accelerated.backward(task.loss(inputs, labels))
            task.optimizer.step()
            task.scheduler.step()
            task.optimizer.zero_grad()
    accelerated.end_training()
    schedules = {
        name: history.run.schedule.name
        for history in local()
        for name in history.metrics
        if name.endswith("/lr")
    }

    assert schedules == {"fold1/SGD/lr": "OneCycleLR", "fold1/SGD-1/lr": "StepLR"}


def test_trackers_begun_before_there_is_an_optimizer(digits, accelerator, local) -> None:
    """Starting trackers before there is an optimizer is reported at once, unless one was given."""
    accelerated = accelerator(log_with=LRTrack(tracker="local"))
    with pytest.raises(UsageError, match=r"after accelerator\.prepare"):
        accelerated.init_trackers("digits")
    task = digits()
    accelerated = accelerator(log_with=LRTrack(task.optimizer, task.scheduler, tracker="local"))
    accelerated.init_trackers("digits", config={"depth": 1})
    prepare(accelerated, task)
    train(accelerated, task)
    accelerated.end_training()

    assert [(h.run.schedule.name, len(h.steps)) for h in local()] == [("OneCycleLR", 12)]


def test_a_scheduler_that_was_not_prepared(digits, accelerator, local, steps_of) -> None:
    """A scheduler that was not prepared is reported, and its rates are recorded."""
    task = digits()
    accelerated = accelerator(log_with=LRTrack(tracker="local"))
    task.model, task.optimizer = accelerated.prepare(task.model, task.optimizer)
    task.prepared = accelerated.prepare(task.loader())
    with pytest.warns(LRTrackWarning, match=r"SGD has a scheduler that did not go through prepare"):
        accelerated.init_trackers("digits")
    train(accelerated, task)
    accelerated.end_training()

    assert len(set(steps_of(local()[0])["lr"].values())) == 12


def test_an_engine_that_cannot_be_observed(digits, accelerator, local) -> None:
    """An engine that cannot be observed is reported, and the training continues."""
    from accelerate.utils.deepspeed import DeepSpeedOptimizerWrapper

    accelerator()  # its optimizers need one
    optimizer = DeepSpeedOptimizerWrapper(digits().optimizer)
    accelerated = accelerator(log_with=LRTrack(optimizer))
    with pytest.warns(LRTrackWarning, match="DeepSpeed"):
        accelerated.init_trackers("digits")
    accelerated.log({"val_loss": 1.0})
    accelerated.end_training()

    assert local() == []


def test_the_mean_loss_needs_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """In several processes, `loss_over="mean"` is refused in all of them, with what to do."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(UsageError, match=r"with lrtrack\.track\(optimizer, scheduler, loss_over="):
        LRTrack(loss_over="mean")


def test_a_schedule_of_transformers(digits, accelerator, local) -> None:
    """A schedule of transformers' `get_scheduler` has the name by which it was chosen."""
    task = digits()
    task.scheduler = transformers.get_scheduler("cosine_with_restarts", task.optimizer, 2, 12)
    accelerated = accelerator(log_with=LRTrack(tracker="local"))
    prepare(accelerated, task)
    accelerated.init_trackers("digits")
    train(accelerated, task)
    accelerated.end_training()
    (history,) = local()

    assert history.run.schedule.name == "cosine_with_restarts"
    assert history.run.schedule.params["num_warmup_steps"] == 2
