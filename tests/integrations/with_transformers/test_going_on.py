"""A training that resumes from a checkpoint continues its run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from lrtrack.integrations.transformers import LRTrack
from lrtrack.records import State

from .trainers import Interrupted


def interrupt(trainer: Any, **options: Any) -> None:
    """Trains 12 steps with a checkpoint after every third, and breaks before the ninth."""
    with pytest.raises(RuntimeError, match="broken"):
        trainer([LRTrack(tracker="local"), Interrupted(8)], **options).train()


SAVING = {"save_strategy": "steps", "save_steps": 3, "max_grad_norm": 0.5}


@pytest.mark.parametrize("restore", [False, True])
@pytest.mark.parametrize("moved", [False, True])
def test_a_training_goes_on_in_its_run(
    digits, trainer, local, steps_of, clean_place, restore: bool, moved: bool
) -> None:
    """A resumed training has each step once, as without a break, even if the checkpoint was
    moved.
    """
    plain = digits().plain(clip=0.5)
    interrupt(trainer, **SAVING)
    place = Path("out/checkpoint-6")
    if moved:
        place = Path(shutil.move(place, "elsewhere"))
    (before,) = local()  # what was on disk when the checkpoint was made
    again = trainer(
        [LRTrack(tracker="local")], restore_callback_states_from_checkpoint=restore, **SAVING
    )
    again.train(resume_from_checkpoint=str(place))
    (history,) = local()

    assert set(range(6)) <= set(before.steps.tolist())
    assert (history.run.id, history.state) == (before.run.id, State.FINISHED)
    assert steps_of(history) == steps_of(plain)


def test_a_checkpoint_of_a_training_without_the_callback(trainer, local, steps_of) -> None:
    """A checkpoint without the callback's state starts a new run with the Trainer's step
    numbers.
    """
    with pytest.raises(RuntimeError, match="broken"):
        trainer([Interrupted(8)], **SAVING).train()
    trainer([LRTrack(tracker="local")], **SAVING).train(resume_from_checkpoint=True)

    (history,) = local()
    assert history.steps.tolist() == list(range(6, 12))


@pytest.mark.parametrize("same", [False, True])
def test_going_on_beside_the_mlflow_callback(
    trainer, store, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    """Beside the MLflow callback, a resumed run is followed, and repeated steps count once."""
    import mlflow

    options = {**SAVING, "report_to": "mlflow"}
    callback = LRTrack(flush_timeout=300.0)
    with pytest.raises(RuntimeError, match="broken"):
        trainer([callback, Interrupted(8)], **options).train()
    mlflow.end_run()
    if same:
        monkeypatch.setenv("MLFLOW_RUN_ID", callback.run.id)
    trainer([LRTrack(flush_timeout=300.0)], **options).train(resume_from_checkpoint=True)
    client = mlflow.MlflowClient(tracking_uri=store)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    steps = [
        sorted(point.step for point in client.get_metric_history(run.info.run_id, "lr"))
        for run in client.search_runs(experiments, order_by=["start_time"])
    ]

    again = sorted([*range(8), *range(6, 12)])
    assert steps == ([again] if same else [list(range(8)), list(range(6, 12))])


def test_two_callbacks_go_on_each_in_its_run(trainer, local) -> None:
    """Two callbacks of one Trainer are resumed each in its own run."""
    for path in (None, "out/checkpoint-6"):
        callbacks = [LRTrack(tracker="local", prefix=f"{name}/") for name in "ab"]
        trainer(callbacks, max_steps=9 if path else 6, **SAVING).train(path)

    assert {history.run.prefix: history.steps.tolist() for history in local()} == {
        "a/": list(range(9)), "b/": list(range(9))
    }  # fmt: skip
