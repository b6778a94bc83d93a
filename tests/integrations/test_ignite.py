"""Ignite's trainers, with its own schedulers, loggers and checkpoints: as a plain loop records."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # torch's own, in what Ignite imports of it
    import ignite.handlers  # noqa: F401

from ignite.engine import (
    Engine,
    Events,
    create_supervised_evaluator,
    create_supervised_trainer,
)
from ignite.handlers import Checkpoint, DiskSaver
from ignite.handlers import param_scheduler as ignite_schedulers
from ignite.metrics import Accuracy
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau, StepLR

import lrtrack
from lrtrack.errors import UsageError
from lrtrack.integrations.ignite import LRTrack
from lrtrack.records import State

EXAMPLE = Path(__file__).parents[2] / "examples" / "with_ignite.py"


def trainer_of(task, **options):
    """Ignite's own supervised trainer; the schedule is stepped after each optimizer step."""
    trainer = create_supervised_trainer(task.model, task.optimizer, cross_entropy, **options)
    every = options.get("gradient_accumulation_steps", 1)
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED(every=every), lambda: task.scheduler.step()
    )
    return trainer


def same(found, expected):
    """Records are equal, but for when they were made."""
    assert found.steps.tolist() == expected.steps.tolist()
    assert sorted(found.metrics) == sorted(expected.metrics)
    for name in expected.metrics:
        np.testing.assert_array_equal(found.metrics[name], expected.metrics[name], name)
    assert found.run.schedule == expected.run.schedule


def test_the_records_are_those_of_a_plain_loop(digits, local) -> None:
    """Learning rate, momentum, loss and norms of each step, over two epochs; weights bit-equal."""
    plain, task, bare = (digits(steps=12, batches=6) for _ in range(3))
    plain.rows = tuple(torch.cat([rows, rows]) for rows in plain.rows)
    expected = plain.plain()
    handler = LRTrack(task.optimizer, task.scheduler, tracker="local")
    trainer = trainer_of(task)
    assert handler.attach(trainer) is handler
    trainer.run(task.loader(), max_epochs=2)
    trainer_of(bare).run(bare.loader(), max_epochs=2)
    (found,) = local()

    same(found, expected)
    assert found.state is State.FINISHED
    assert (handler.run, handler.runs) == (None, [])
    for ours, theirs in zip(task.model.parameters(), bare.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    # nothing is left of the handler's ears, but the one for the next run
    assert Events.EXCEPTION_RAISED not in trainer._event_handlers


def test_accumulation(digits, local) -> None:
    """A record for each optimizer step, with the mean of the accumulated losses."""
    expected = digits(steps=6, batches=12).plain(accumulate=2)
    task = digits(steps=6, batches=12)
    trainer = trainer_of(task, gradient_accumulation_steps=2)
    LRTrack(task.optimizer, task.scheduler, tracker="local").attach(trainer)
    trainer.run(task.loader())

    same(local()[0], expected)


def test_clipping_in_bfloat16(digits, local) -> None:
    """A process function of one's own, with autocast: the norm before and after, the real loss."""
    task, losses = digits(), []

    def update(engine, batch):
        task.optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = task.loss(*batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(task.model.parameters(), 0.25)
        task.optimizer.step()
        task.scheduler.step()
        losses.append(loss.item())

    LRTrack(task.optimizer, task.scheduler, tracker="local").attach(trainer := Engine(update))
    trainer.run(task.loader())
    (found,) = local()

    assert found.metrics["loss"].tolist() == losses
    assert found.metrics["grad_norm_preclip"].min() > 0.25
    np.testing.assert_allclose(found.metrics["grad_norm"], 0.25, rtol=1e-4)


def ignites_own(optimizer):
    """One of each kind of Ignite's schedulers."""
    own = ignite_schedulers
    return {
        "cosine": own.CosineAnnealingScheduler(optimizer, "lr", 0.2, 0.01, 4, end_value_mult=0.5),
        "cyclical": own.LinearCyclicalScheduler(optimizer, "lr", 0.1, 0.3, 6),
        "piecewise": own.PiecewiseLinear(optimizer, "lr", [(0, 0.1), (6, 0.3), (11, 0.0)]),
        "concat": own.ConcatScheduler(
            [
                own.LinearCyclicalScheduler(optimizer, "lr", 0.0, 0.2, 8),
                own.CosineAnnealingScheduler(optimizer, "lr", 0.2, 0.0, 8),
            ],
            durations=[4],
        ),
    }


@pytest.mark.parametrize("kind", ["cosine", "cyclical", "piecewise", "concat"])
def test_ignites_own_schedulers(kind, digits, local) -> None:
    """The rate that each step used, the schedule's name and parameters, and no false alarm."""
    task, used = digits(), []
    scheduler = ignites_own(task.optimizer)[kind]
    described = lrtrack.describe(scheduler)
    trainer = create_supervised_trainer(task.model, task.optimizer, cross_entropy)
    trainer.add_event_handler(Events.ITERATION_STARTED, scheduler)
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda: used.append(task.optimizer.param_groups[0]["lr"])
    )
    LRTrack(task.optimizer, scheduler, tracker="local").attach(trainer)
    trainer.run(task.loader())
    (found,) = local()

    assert found.metrics["lr"].tolist() == used
    assert len(set(used)) > 3
    assert found.run.schedule == described == lrtrack.describe(scheduler)
    assert found.run.schedule.name == type(scheduler).__name__
    assert found.run.diagnoses == ()


def test_how_ignites_schedulers_are_described(digits) -> None:
    """Wrappers of torch's are as torch's; parts of a whole are told with all they have."""
    optimizer = torch.optim.SGD(digits().model.parameters(), lr=0.1)
    own, describe = ignite_schedulers, lrtrack.describe
    warm = own.create_lr_scheduler_with_warmup(ExponentialLR(optimizer, 0.9), 0.0, 5)
    inside = describe(warm).params["schedulers"]
    piecewise = describe(own.PiecewiseLinear(optimizer, "lr", [(0, 0.1), (5, 0.2)]))
    cosine = describe(own.CosineAnnealingScheduler(optimizer, "lr", 0.2, 0.01, 4))

    assert describe(own.LRScheduler(StepLR(optimizer, 3))) == describe(StepLR(optimizer, 3))
    assert describe(
        own.ReduceLROnPlateauScheduler(optimizer, "accuracy", mode="max", patience=2)
    ) == describe(ReduceLROnPlateau(optimizer, mode="max", patience=2))
    assert inside[1] == {"name": "ExponentialLR", "gamma": 0.9}
    assert inside[0]["schedulers"][0]["milestones_values"] == [[0, 0.0], [4, 0.1]]
    assert describe(warm).params["durations"] == [5]
    assert piecewise.params["milestones_values"] == [[0, 0.1], [5, 0.2]]
    assert {key: cosine.params[key] for key in ("start_value", "end_value", "cycle_size")} == {
        "start_value": 0.2,
        "end_value": 0.01,
        "cycle_size": 4,
    }


def test_a_description_stays_the_same_over_the_cycles(digits) -> None:
    """Though Ignite multiplies a cycle's values in place."""
    optimizer, own = digits().optimizer, ignite_schedulers
    growing = own.CosineAnnealingScheduler(
        optimizer, "lr", 0.2, 0.01, 4, cycle_mult=1.5, start_value_mult=0.7, end_value_mult=0.3
    )
    warming = own.LinearCyclicalScheduler(
        optimizer, "lr", 0.2, 0.0, 5, cycle_mult=2, start_value_mult=0.3, warmup_duration=3,
        monotonic=True,
    )  # fmt: skip
    for scheduler in (growing, warming):
        before = lrtrack.describe(scheduler)
        for _ in range(50):
            scheduler(None)
            assert lrtrack.describe(scheduler) == before


def test_a_plateau_schedule_on_an_evaluators_metric(digits, local) -> None:
    """The metric that it was given is there, at the trainer's step, as are the evaluator's own."""
    task = digits(batches=4)
    trainer = create_supervised_trainer(task.model, task.optimizer, cross_entropy)
    evaluator = create_supervised_evaluator(task.model, metrics={"accuracy": Accuracy()})
    scheduler = ignite_schedulers.ReduceLROnPlateauScheduler(
        task.optimizer, "accuracy", mode="max", patience=0, threshold=10.0
    )
    evaluator.add_event_handler(Events.COMPLETED, scheduler)
    handler = LRTrack(task.optimizer, scheduler, tracker="local").attach(trainer)
    removable = handler.attach_output_handler(evaluator, Events.COMPLETED, tag="val")
    accuracies = []

    @trainer.on(Events.EPOCH_COMPLETED)
    def evaluate():
        evaluator.run(task.loader())
        accuracies.append(evaluator.state.metrics["accuracy"])

    trainer.run(task.loader(), max_epochs=3)
    (found,) = local()
    removable.remove()

    at = [3, 7, 11]
    for name in ("plateau_metric", "val/accuracy"):
        assert np.flatnonzero(found.present[name]).tolist() == at
        assert found.metrics[name][at].tolist() == accuracies
    assert found.metrics["lr"][-1] == pytest.approx(found.metrics["lr"][0] / 10)


def test_the_last_evaluation_is_in_time(digits, local) -> None:
    """What others do in COMPLETED, however they were attached, is still the run's."""
    task = digits()
    trainer = trainer_of(task)
    evaluator = create_supervised_evaluator(task.model, metrics={"accuracy": Accuracy()})
    handler = LRTrack(task.optimizer, task.scheduler, tracker="local").attach(trainer)
    handler.attach_output_handler(
        evaluator,
        tag="test",
        metric_names=["accuracy"],
        output_transform=lambda output: {"pairs": {"left": 1.0, "right": torch.tensor(2.0)}},
    )
    trainer.add_event_handler(Events.COMPLETED, lambda: evaluator.run(task.loader()))
    trainer.run(task.loader())
    (found,) = local()
    with pytest.warns(lrtrack.LRTrackWarning, match="no open run for test/accuracy"):
        evaluator.run(task.loader())

    assert {name: found.metrics[name][-1] for name in found.metrics if "test" in name} == {
        "test/accuracy": evaluator.state.metrics["accuracy"],
        "test/pairs/left": 1.0,
        "test/pairs/right": 2.0,
    }


def test_several_optimizers(digits, local) -> None:
    """By name, as for Ignite's own loggers: a run for each, with its name before its metrics."""
    tasks = {"generator": digits(), "critic": digits()}

    def update(engine, batch):
        for task in tasks.values():
            task.optimizer.zero_grad()
            task.loss(*batch).backward()
            task.optimizer.step()
        tasks["critic"].scheduler.step()

    trainer = Engine(update)
    LRTrack(
        {name: task.optimizer for name, task in tasks.items()},
        {"critic": tasks["critic"].scheduler},
        tracker="local",
    ).attach(trainer)
    trainer.run(digits().loader())
    found = {next(iter(h.metrics)).partition("/")[0]: h for h in local()}

    assert sorted(found) == ["critic", "generator"]
    assert [found[name].run.schedule.name for name in tasks] == ["constant", "OneCycleLR"]
    assert len(set(found["critic"].metrics["critic/lr"])) > 3
    assert {history.state for history in found.values()} == {State.FINISHED}


@pytest.mark.parametrize("skip", [False, True])
def test_a_training_that_is_terminated_has_finished(skip, digits, local) -> None:
    """With COMPLETED or without."""
    task = digits()
    trainer = trainer_of(task)
    LRTrack(task.optimizer, task.scheduler, tracker="local").attach(trainer)
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED(once=7), lambda: trainer.terminate(skip_completed=skip)
    )
    trainer.run(task.loader())
    (found,) = local()

    assert (found.steps.tolist(), found.state) == (list(range(7)), State.FINISHED)


def failing(task, at, error):
    """A trainer whose iteration `at` raises."""
    trainer = trainer_of(task)

    @trainer.on(Events.ITERATION_STARTED(once=at))
    def fail():
        raise error

    return trainer


@pytest.mark.parametrize("error", [ValueError("the data end here"), KeyboardInterrupt()])
@pytest.mark.parametrize("handlers", [1, 2])
def test_an_exception_goes_on_unchanged(handlers, error, digits, local) -> None:
    """Ignite swallows one that somebody listens to; the runs are FAILED, with all steps."""
    task = digits()
    trainer = failing(task, 5, error)
    for _ in range(handlers):
        LRTrack(task.optimizer, task.scheduler, tracker="local").attach(trainer)
    with pytest.raises(type(error)) as raised:
        trainer.run(task.loader())

    assert raised.value is error
    for found in local():
        assert (found.steps.tolist(), found.state) == ([0, 1, 2, 3], State.FAILED)
    assert len(local()) == handlers


@pytest.mark.parametrize("first", [False, True])
def test_who_else_listens_to_exceptions_decides(first, digits, local) -> None:
    """Raised by somebody else's handler it is raised, swallowed it stays, and the training ends
    as it would have.
    """
    for raises in (True, False):
        task, heard = digits(batches=6), []
        trainer = failing(task, 3, ValueError("one bad batch"))

        def listen(engine, error, raises=raises, heard=heard):
            heard.append(str(error))
            if raises:
                raise error

        handler = LRTrack(task.optimizer, task.scheduler, tracker="local")
        steps = [
            lambda trainer=trainer, handler=handler: handler.attach(trainer),
            lambda trainer=trainer, listen=listen: trainer.add_event_handler(
                Events.EXCEPTION_RAISED, listen
            ),
        ]
        for step in steps if first else reversed(steps):
            step()
        if raises:
            with pytest.raises(ValueError, match="one bad batch"):
                trainer.run(task.loader(), max_epochs=2)
            assert heard == ["one bad batch"] * 2
        else:
            trainer.run(task.loader(), max_epochs=2)
            assert heard == ["one bad batch"]
    swallowed, raised = local()

    assert (raised.steps.tolist(), raised.state) == ([0, 1], State.FAILED)
    # the epoch was cut short, and the next one was whole
    assert (swallowed.steps.tolist(), swallowed.state) == (list(range(8)), State.FINISHED)


def test_an_interrupted_engine_goes_on_in_its_run(digits, local) -> None:
    """`interrupt()` is a pause."""
    expected = digits().plain()
    task = digits()
    trainer = trainer_of(task)
    handler = LRTrack(task.optimizer, task.scheduler, tracker="local").attach(trainer)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=5), trainer.interrupt)
    trainer.run(task.loader())
    between = handler.run.step
    trainer.run(task.loader())

    assert between == 4
    same(local()[0], expected)


def test_an_engine_that_goes_on_after_its_end(digits, local) -> None:
    """More epochs are more steps of the same run; a training from its beginning is another run."""
    task = digits(batches=4)
    trainer = trainer_of(task)
    LRTrack(task.optimizer, task.scheduler, tracker="local").attach(trainer)
    trainer.run(task.loader(), max_epochs=1)
    trainer.run(task.loader(), max_epochs=2)
    first = [history.steps.tolist() for history in local()]
    trainer.state.max_epochs = None
    trainer.run(task.loader(), max_epochs=1)

    assert first == [list(range(8))]
    assert [history.steps.tolist() for history in local()] == [list(range(4)), list(range(8))]


def test_a_checkpoint_goes_on_in_the_same_run(digits, local, clean_place) -> None:
    """Of a training that was cut down, in new objects: no step twice, none left out."""
    expected = digits().plain()

    def made():
        task = digits()
        trainer = trainer_of(task)
        handler = LRTrack(task.optimizer, task.scheduler, tracker="local")
        kept = {"model": task.model, "optimizer": task.optimizer, "scheduler": task.scheduler}
        return task, trainer, {**kept, "trainer": trainer, "lrtrack": handler.attach(trainer)}

    task, trainer, objects = made()
    saved = Checkpoint(objects, DiskSaver(clean_place / "saved"), n_saved=None)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(every=5), saved)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=8), trainer.terminate)
    trainer.run(task.loader())
    task, trainer, objects = made()
    Checkpoint.load_objects(objects, clean_place / "saved" / "checkpoint_5.pt")
    trainer.run(task.loader())
    (found,) = local()

    assert found.steps.tolist() == expected.steps.tolist()
    np.testing.assert_allclose(found.metrics["lr"], expected.metrics["lr"])
    assert found.state is State.FINISHED


def test_the_run_of_ignites_own_mlflow_logger_is_joined(digits, store, monkeypatch) -> None:
    """Both write to it, and the logger ends it."""
    import mlflow
    from ignite.handlers.mlflow_logger import MLflowLogger

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    task = digits()
    trainer = trainer_of(task)
    LRTrack(task.optimizer, task.scheduler, seed=3, flush_timeout=60).attach(trainer)
    with MLflowLogger(store) as logger:
        logger.attach_output_handler(
            trainer, Events.ITERATION_COMPLETED(every=4), "train", output_transform=float
        )
        trainer.run(task.loader())
        inside = mlflow.active_run().info.status
    (run,) = mlflow.MlflowClient(store).search_runs(["0"])
    steps = [m.step for m in mlflow.MlflowClient(store).get_metric_history(run.info.run_id, "lr")]
    mlflow.set_tracking_uri(None)

    assert (inside, run.info.status) == ("RUNNING", "FINISHED")
    assert sorted(steps) == list(range(12))
    assert "train output" in run.data.metrics
    assert run.data.params["scheduler"] == "OneCycleLR"


def test_going_on_where_the_user_has_a_run_open(digits, store, monkeypatch) -> None:
    """In the same one no step twice; in another one what is new, and nothing into the old one."""
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    client = mlflow.MlflowClient(store)
    task = digits(batches=4)
    trainer = trainer_of(task)
    LRTrack(task.optimizer, task.scheduler, flush_timeout=60).attach(trainer)
    with mlflow.start_run() as first:
        trainer.run(task.loader(), max_epochs=1)
        trainer.run(task.loader(), max_epochs=2)
    with mlflow.start_run() as second:
        trainer.run(task.loader(), max_epochs=3)

    found = [
        sorted(point.step for point in client.get_metric_history(run.info.run_id, "lr"))
        for run in (first, second)
    ]
    assert found == [list(range(8)), list(range(8, 12))]


def test_a_context_manager(digits, local) -> None:
    """After its block the engine's runs are the user's own business."""
    task = digits(steps=20)
    trainer = trainer_of(task)
    with LRTrack(task.optimizer, task.scheduler, tracker="local").attach(trainer) as handler:
        trainer.add_event_handler(Events.ITERATION_COMPLETED(once=5), trainer.interrupt)
        trainer.run(task.loader())
    handler.detach()
    trainer.run(task.loader())
    (found,) = local()

    assert (found.steps.tolist(), found.state) == (list(range(5)), State.FINISHED)
    assert trainer.state.iteration == 20


def test_mistakes_are_told_where_they_are_made(digits) -> None:
    """Before any training; the message says what would be right."""
    task, other = digits(), digits()
    foreign = ignite_schedulers.PiecewiseLinear(other.optimizer, "lr", [(0, 0.1)])
    handler = LRTrack(task.optimizer)
    trainer = trainer_of(task)
    handler.attach(trainer)

    with pytest.raises(TypeError, match=r"torch.optim.Optimizer.*Sequential"):
        LRTrack(task.model)
    with pytest.raises(TypeError, match=r"step\(\) method.*function"):
        LRTrack(task.optimizer, lambda: None)
    with pytest.raises(UsageError, match="another optimizer"):
        LRTrack(task.optimizer, foreign)
    with pytest.raises(TypeError, match="mapping with the same names"):
        LRTrack({"a": task.optimizer, "b": other.optimizer}, task.scheduler)
    with pytest.raises(UsageError, match=r"'critc'.*Did you mean 'critic'"):
        LRTrack({"critic": task.optimizer}, {"critc": task.scheduler})
    with pytest.raises(TypeError, match=r"'experimnt'.*experiment"):
        LRTrack(task.optimizer, experimnt="x")
    with pytest.raises(TypeError, match=r"Ignite engine, got OneCycleLR"):
        handler.attach(task.scheduler)
    with pytest.raises(RuntimeError, match="attached already"):
        handler.attach(trainer)
    with pytest.raises(ValueError, match="no state of LRTrack"):
        handler.load_state_dict({"runs": {"": {"id": "x"}}})
    with pytest.raises(TypeError, match="mapping, got int"):
        handler.load_state_dict(3)


PARALLEL = """
import warnings; warnings.simplefilter("ignore")
import ignite.distributed as idist, torch
from ignite.engine import create_supervised_trainer
from lrtrack.integrations.ignite import LRTrack

def train(rank):
    torch.manual_seed(0)
    model = idist.auto_model(torch.nn.Linear(4, 2))
    optimizer = idist.auto_optim(torch.optim.SGD(model.parameters(), lr=0.1))
    loss = torch.nn.functional.cross_entropy
    trainer = create_supervised_trainer(model, optimizer, loss)
    batches = [(torch.randn(8, 4) + rank, torch.randint(2, (8,))) for _ in range(5)]
    LRTrack(optimizer, tracker="local").attach(trainer)
    trainer.run(batches)

if __name__ == "__main__":
    with idist.Parallel("gloo", nproc_per_node=2, master_port=PORT) as parallel:
        parallel.run(train)
"""


def test_two_processes_under_idist(local, clean_place) -> None:
    """One run, with the number of processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        program = PARALLEL.replace("PORT", str(free.getsockname()[1]))
    (clean_place / "train.py").write_text(program)
    done = subprocess.run(
        [sys.executable, "train.py"], capture_output=True, text=True, timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (found,) = local()

    assert (found.run.world_size, found.steps.tolist()) == (2, list(range(5)))
    assert found.state is State.FINISHED


def test_the_example(store, command_line) -> None:
    """Both schedules are compared by the accuracy of their evaluator."""
    done = subprocess.run(
        [sys.executable, "-P", str(EXAMPLE)], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert command_line("sync").returncode == 0
    asked = EXAMPLE.read_text().partition("lrtrack ")[2].partition('"""')[0].split()
    asked += ["--metric", "validation/accuracy", "--mode", "max", "--format", "json"]
    compared = json.loads(command_line(*asked).stdout)

    assert {row["schedule"]: row["runs"] for row in compared["schedules"]} == {
        "ConcatScheduler": 2,
        "LinearCyclicalScheduler": 2,
    }
    assert min(row["final"]["mean"] for row in compared["schedules"]) > 0.9
