"""How a run ends and resumes, however Ignite's engine ends."""

from __future__ import annotations

import numpy as np
import pytest
from ignite.engine import (
    Events,
    create_supervised_trainer,
)
from ignite.handlers import Checkpoint, DiskSaver, FastaiLRFinder
from torch.nn.functional import cross_entropy

from lrtrack.integrations.ignite import LRTrack
from lrtrack.records import State

from .trainers import same, trainer_of


@pytest.mark.parametrize("skip", [False, True])
def test_a_training_that_is_terminated_has_finished(skip, digits, local) -> None:
    """A terminated training is FINISHED, with or without the COMPLETED event."""
    task = digits()
    trainer = trainer_of(task)
    LRTrack(task.optimizer, task.scheduler, tracker="local").attach(trainer)
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED(once=7), lambda: trainer.terminate(skip_completed=skip)
    )
    trainer.run(task.loader())
    (history,) = local()

    assert (history.steps.tolist(), history.state) == (list(range(7)), State.FINISHED)


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
    """An exception passes through unchanged, and the runs are FAILED with all their steps."""
    task = digits()
    trainer = failing(task, 5, error)
    for _ in range(handlers):
        LRTrack(task.optimizer, task.scheduler, tracker="local").attach(trainer)
    with pytest.raises(type(error)) as raised:
        trainer.run(task.loader())

    assert raised.value is error
    for history in local():
        assert (history.steps.tolist(), history.state) == ([0, 1, 2, 3], State.FAILED)
    assert len(local()) == handlers


@pytest.mark.parametrize("first", [False, True])
def test_who_else_listens_to_exceptions_decides(first, digits, local) -> None:
    """Another handler decides whether an exception is raised or swallowed, and the training ends as
    it
    would without lrtrack.
    """
    for raises in (True, False):
        task, exceptions = digits(batches=6), []
        trainer = failing(task, 3, ValueError("one bad batch"))

        def listen(engine, error, raises=raises, exceptions=exceptions):
            exceptions.append(str(error))
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
            assert exceptions == ["one bad batch"] * 2
        else:
            trainer.run(task.loader(), max_epochs=2)
            assert exceptions == ["one bad batch"]
    swallowed, raised = local()

    assert (raised.steps.tolist(), raised.state) == ([0, 1], State.FAILED)
    # the epoch was cut short, and the next one was whole
    assert (swallowed.steps.tolist(), swallowed.state) == (list(range(8)), State.FINISHED)


def test_an_interrupted_engine_goes_on_in_its_run(digits, local) -> None:
    """An engine that continues after `interrupt()` continues its run."""
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
    """More epochs are more steps of the same run; a training from the beginning is another run."""
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
    """A training resumed from a checkpoint in new objects has every step once."""
    expected = digits().plain()

    def made():
        task = digits()
        trainer = trainer_of(task)
        handler = LRTrack(task.optimizer, task.scheduler, tracker="local")
        checkpoint = {"model": task.model, "optimizer": task.optimizer, "scheduler": task.scheduler}
        return task, trainer, {**checkpoint, "trainer": trainer, "lrtrack": handler.attach(trainer)}

    task, trainer, objects = made()
    saved = Checkpoint(objects, DiskSaver(clean_place / "saved"), n_saved=None)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(every=5), saved)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=8), trainer.terminate)
    trainer.run(task.loader())
    task, trainer, objects = made()
    Checkpoint.load_objects(objects, clean_place / "saved" / "checkpoint_5.pt")
    trainer.run(task.loader())
    (history,) = local()

    assert history.steps.tolist() == expected.steps.tolist()
    np.testing.assert_allclose(history.metrics["lr"], expected.metrics["lr"])
    assert history.state is State.FINISHED


def test_the_run_of_ignites_own_mlflow_logger_is_joined(digits, store, monkeypatch) -> None:
    """The run of Ignite's own MLflow logger is joined, and the logger ends it."""
    import mlflow
    from ignite.handlers.mlflow_logger import MLflowLogger

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    task = digits()
    trainer = trainer_of(task)
    LRTrack(task.optimizer, task.scheduler, seed=3, flush_timeout=300).attach(trainer)
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
    assert run.data.params["lrtrack.scheduler"] == "OneCycleLR"


def test_going_on_where_the_user_has_a_run_open(digits, store, monkeypatch) -> None:
    """In the same open run no step is repeated; in another one, only new steps are recorded."""
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    client = mlflow.MlflowClient(store)
    task = digits(batches=4)
    trainer = trainer_of(task)
    LRTrack(task.optimizer, task.scheduler, flush_timeout=300).attach(trainer)
    with mlflow.start_run() as first:
        trainer.run(task.loader(), max_epochs=1)
        trainer.run(task.loader(), max_epochs=2)
    with mlflow.start_run() as second:
        trainer.run(task.loader(), max_epochs=3)

    steps_found = [
        sorted(point.step for point in client.get_metric_history(run.info.run_id, "lr"))
        for run in (first, second)
    ]
    assert steps_found == [list(range(8)), list(range(8, 12))]


@pytest.mark.filterwarnings("ignore:Run completed without loss diverging")
def test_a_search_for_a_rate_leaves_no_run(digits, local) -> None:
    """The search of a `FastaiLRFinder` leaves no run; the training after it is recorded."""
    plain, task = digits().plain(), digits()
    trainer = trainer_of(task)
    handler = LRTrack(task.optimizer, task.scheduler, tracker="local").attach(trainer)
    finder = FastaiLRFinder()
    saved = {"model": task.model, "optimizer": task.optimizer, "scheduler": task.scheduler}
    with finder.attach(trainer, saved, num_iter=8, start_lr=1e-4, end_lr=1e-2) as searching:
        searching.run(task.loader())
    searched = local()
    trainer.run(task.loader(), max_epochs=1)

    assert (searched, len(finder.get_results()["lr"]) > 0, handler.run) == ([], True, None)
    same(local()[0], plain)


@pytest.mark.filterwarnings("ignore:Run completed without loss diverging")
def test_a_search_for_a_rate_in_mid_training(digits, local) -> None:
    """A search after the first epoch, by an engine of its own, leaves no step in the run."""
    plain, task = digits().plain(), digits()
    trainer = trainer_of(task)
    LRTrack(task.optimizer, task.scheduler, tracker="local").attach(trainer)
    saved = {"model": task.model, "optimizer": task.optimizer}
    finder = FastaiLRFinder()

    def search() -> None:
        own = create_supervised_trainer(task.model, task.optimizer, cross_entropy)
        with finder.attach(own, saved, num_iter=8, start_lr=1e-4, end_lr=1e-2) as searching:
            searching.run(task.loader())

    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=6), search)
    trainer.run(task.loader(), max_epochs=1)

    assert len(finder.get_results()["lr"]) > 0
    same(local()[0], plain)
