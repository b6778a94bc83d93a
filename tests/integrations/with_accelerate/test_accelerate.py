"""accelerate's loop with the tracker, held against the same training as a plain loop."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
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
    """To the last bit, as its tracker and in a block around what `prepare` returned."""
    plain = digits(batches=12 * accumulate).plain(accumulate, clip)
    task = digits(batches=12 * accumulate)
    with_it = {"log_with": LRTrack(tracker="local")} if way == "log_with" else {}
    found = accelerator(gradient_accumulation_steps=accumulate, **with_it)
    prepare(found, task)
    if way == "log_with":
        found.init_trackers("digits")
        train(found, task, clip)
        found.end_training()
    else:
        with lrtrack.track(task.optimizer, task.scheduler, tracker="local"):
            train(found, task, clip)
    (history,) = local()

    assert steps_of(history) == steps_of(plain)
    assert history.run.schedule == plain.run.schedule
    assert history.run.optimizer == plain.run.optimizer
    assert (history.state, history.run.diagnoses) == (State.FINISHED, ())


def test_weights_are_the_same_without(digits, accelerator) -> None:
    """Bit for bit: nothing of the training is changed."""
    weights = []
    for with_it in ({}, {"log_with": LRTrack(tracker="local", norms="group")}):
        task, found = digits(), accelerator(**with_it)
        prepare(found, task)
        found.init_trackers("digits")
        train(found, task, clip=0.5)
        found.end_training()
        weights.append(torch.cat([p.detach().flatten() for p in task.model.parameters()]))

    assert torch.equal(*weights)


def test_half_precision(digits, accelerator, local, steps_of) -> None:
    """Losses and norms are those of the bfloat16 pass."""
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
    found = accelerator(mixed_precision="bf16", log_with=LRTrack(tracker="local"))
    prepare(found, task)
    found.init_trackers("digits")
    train(found, task)
    found.end_training()
    (history,) = local()

    assert list(steps_of(history)["loss"].values()) == losses


def test_what_accelerate_is_told_is_in_the_run(digits, accelerator, local, steps_of) -> None:
    """Project, configuration and metrics, at the optimizer steps that they follow."""
    plain, task = digits().plain(), digits()
    found = accelerator(log_with=LRTrack(tracker="local", seed=3, config={"depth": 2, "width": 8}))
    prepare(found, task)
    found.init_trackers("my-project", config={"batch_size": 16, "depth": 9})
    run = found.get_tracker("lrtrack", unwrap=True)

    def log(number: int) -> None:
        if number % 4 == 3:
            rate = task.scheduler.get_last_lr()[0]
            found.log({"val_loss": 1.0 / number, "lr": rate, "note": "text"}, step=number // 4)

    with pytest.warns(LRTrackWarning, match="'note' is not a number"):
        train(found, task, each=log)
    found.end_training()
    found.log({"val_loss": 9.0})
    (history,) = local()
    steps = steps_of(history)

    assert run.step == 11
    assert steps["val_loss"] == {3: 1.0 / 3, 7: 1.0 / 7, 11: 1.0 / 11}
    assert steps["lr"] == steps_of(plain)["lr"]
    assert (history.run.experiment, history.run.seed) == ("my-project", 3)
    assert history.run.config == {"batch_size": 16, "depth": 2, "width": 8}


@pytest.mark.parametrize("ours_is", ["last", "first"])
def test_the_run_of_another_tracker_is_joined(digits, accelerator, store, ours_is: str) -> None:
    """accelerate's own for MLflow opens it; where it is named last, if there is a config."""
    import mlflow

    task, ours = digits(), LRTrack(flush_timeout=300.0)
    found = accelerator(log_with=["mlflow", ours] if ours_is == "last" else [ours, "mlflow"])
    prepare(found, task)
    found.init_trackers("digits", config={"batch_size": 16} if ours_is == "first" else None)
    train(found, task, each=lambda number: found.log({"seen": number}, step=number))
    found.end_training()
    client = mlflow.MlflowClient(tracking_uri=store)
    (run,) = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    steps = [point.step for point in client.get_metric_history(run.info.run_id, "lr")]

    assert sorted(steps) == list(range(12))
    assert (run.info.status, run.data.metrics["seen"]) == ("FINISHED", 11.0)
    assert run.data.params["lrtrack.scheduler"] == "OneCycleLR"
    assert ours.run.id == run.info.run_id


def test_several_optimizers(digits, accelerator, local) -> None:
    """Each with its own scheduler, and its class before its metrics' names."""
    first, second = digits(), digits()
    second.optimizer = torch.optim.SGD(second.model.parameters(), lr=0.5)
    second.scheduler = StepLR(second.optimizer, 5)
    found = accelerator(log_with=LRTrack(tracker="local", prefix="fold1/"))
    for task in (first, second):
        prepare(found, task)
    found.init_trackers("digits")
    for inputs, labels in first.batches():
        for task in (first, second):
            found.backward(task.loss(inputs, labels))
            task.optimizer.step()
            task.scheduler.step()
            task.optimizer.zero_grad()
    found.end_training()
    schedules = {
        name: history.run.schedule.name
        for history in local()
        for name in history.metrics
        if name.endswith("/lr")
    }

    assert schedules == {"fold1/SGD/lr": "OneCycleLR", "fold1/SGD-1/lr": "StepLR"}


def test_trackers_begun_before_there_is_an_optimizer(digits, accelerator, local) -> None:
    """The order is told at once; an optimizer that the tracker was given will do."""
    found = accelerator(log_with=LRTrack(tracker="local"))
    with pytest.raises(UsageError, match=r"after accelerator\.prepare"):
        found.init_trackers("digits")
    task = digits()
    found = accelerator(log_with=LRTrack(task.optimizer, task.scheduler, tracker="local"))
    found.init_trackers("digits", config={"depth": 1})
    prepare(found, task)
    train(found, task)
    found.end_training()

    assert [(h.run.schedule.name, len(h.steps)) for h in local()] == [("OneCycleLR", 12)]


def test_a_scheduler_that_was_not_prepared(digits, accelerator, local, steps_of) -> None:
    """Its rates are there; that it is unknown is told."""
    task = digits()
    found = accelerator(log_with=LRTrack(tracker="local"))
    task.model, task.optimizer = found.prepare(task.model, task.optimizer)
    task.prepared = found.prepare(task.loader())
    with pytest.warns(LRTrackWarning, match=r"SGD has a scheduler that did not go through prepare"):
        found.init_trackers("digits")
    train(found, task)
    found.end_training()

    assert len(set(steps_of(local()[0])["lr"].values())) == 12


def test_an_engine_that_cannot_be_observed(digits, accelerator, local) -> None:
    """The training goes on, and it is said what is not recorded."""
    from accelerate.utils.deepspeed import DeepSpeedOptimizerWrapper

    accelerator()  # its optimizers want one to be there
    optimizer = DeepSpeedOptimizerWrapper(digits().optimizer)
    found = accelerator(log_with=LRTrack(optimizer))
    with pytest.warns(LRTrackWarning, match="DeepSpeed"):
        found.init_trackers("digits")
    found.log({"val_loss": 1.0})
    found.end_training()

    assert local() == []


DISTRIBUTED = """
import sys, torch, transformers
from accelerate import Accelerator
from lrtrack.integrations.accelerate import LRTrack as Tracker

torch.manual_seed(0)
model = torch.nn.Linear(4, 3)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
rows = [(torch.ones(4) * at / 64, torch.tensor(at % 3)) for at in range(64)]
loader = torch.utils.data.DataLoader(rows, batch_size=2)
scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=len(loader))
accelerator = Accelerator(cpu=True, log_with=Tracker(tracker="local", name="accelerate"))
prepared = accelerator.prepare(model, optimizer, scheduler, loader)
model, optimizer, scheduler, loader = prepared
accelerator.init_trackers("digits")
for inputs, labels in loader:
    accelerator.backward(torch.nn.functional.cross_entropy(model(inputs), labels))
    optimizer.step()
    scheduler.step()
    optimizer.zero_grad()
accelerator.log({"rank": accelerator.process_index})
for tracker in accelerator.trackers:
    tracker.finish()

from lrtrack.integrations.transformers import LRTrack as Callback

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(4, 3)
    def forward(self, inputs, labels):
        return {"loss": torch.nn.functional.cross_entropy(self.inner(inputs), labels)}

transformers.Trainer(
    Model(),
    transformers.TrainingArguments(
        "out", per_device_train_batch_size=2, use_cpu=True, report_to="none", disable_tqdm=True,
        save_strategy="no", dataloader_pin_memory=False, num_train_epochs=1, logging_strategy="no",
        max_grad_norm=9.0,
    ),
    train_dataset=[{"inputs": inputs, "labels": label} for inputs, label in rows],
    callbacks=[Callback(tracker="local", name="transformers")],
).train()
torch.distributed.destroy_process_group()
"""


def test_two_processes(clean_place, local, steps_of) -> None:
    """One run from the main process; accelerate's way to step schedulers is no mistake."""
    pytest.importorskip("transformers", reason="needs transformers")
    program = Path("train.py")
    program.write_text(DISTRIBUTED)
    command = [sys.executable, "-P", "-m", "torch.distributed.run"]
    command += ["--standalone", "--nproc-per-node=2", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    found = {history.run.name: history for history in local()}

    assert done.returncode == 0, done.stderr
    assert {name: h.run.world_size for name, h in found.items()} == {
        "accelerate": 2,
        "transformers": 2,
    }
    assert all(history.steps.tolist() == list(range(16)) for history in found.values())
    assert all(history.run.diagnoses == () for history in found.values())
    assert steps_of(found["accelerate"])["rank"] == {15: 0.0}
    assert "LRTrack" not in done.stderr
