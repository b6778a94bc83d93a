"""A training that goes on from a checkpoint goes on in its run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from lrtrack.integrations.transformers import LRTrack
from lrtrack.records import State

from .trainers import Interrupted


def interrupt(trainer: Any, **given: Any) -> None:
    """Train 12 steps with a checkpoint after each third, but break before the ninth."""
    with pytest.raises(RuntimeError, match="broken"):
        trainer([LRTrack(tracker="local"), Interrupted(8)], **given).train()


SAVING = {"save_strategy": "steps", "save_steps": 3, "max_grad_norm": 0.5}


@pytest.mark.parametrize("restore", [False, True])
@pytest.mark.parametrize("moved", [False, True])
def test_a_training_goes_on_in_its_run(
    digits, trainer, local, steps_of, clean_place, restore: bool, moved: bool
) -> None:
    """From its checkpoint, wherever that is now: each step once, and as in one go."""
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
    """A run of its own, whose steps are numbered as the Trainer's."""
    with pytest.raises(RuntimeError, match="broken"):
        trainer([Interrupted(8)], **SAVING).train()
    trainer([LRTrack(tracker="local")], **SAVING).train(resume_from_checkpoint=True)

    (history,) = local()
    assert history.steps.tolist() == list(range(6, 12))


@pytest.mark.parametrize("same", [False, True])
def test_going_on_beside_the_mlflow_callback(
    trainer, store, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    """Ours follow it into another run, at the right steps; in the same run each is there once."""
    import mlflow

    given = {**SAVING, "report_to": "mlflow"}
    ours = LRTrack(flush_timeout=300.0)
    with pytest.raises(RuntimeError, match="broken"):
        trainer([ours, Interrupted(8)], **given).train()
    mlflow.end_run()
    if same:
        monkeypatch.setenv("MLFLOW_RUN_ID", ours.run.id)
    trainer([LRTrack(flush_timeout=300.0)], **given).train(resume_from_checkpoint=True)
    client = mlflow.MlflowClient(tracking_uri=store)
    experiments = [each.experiment_id for each in client.search_experiments()]
    steps = [
        sorted(point.step for point in client.get_metric_history(run.info.run_id, "lr"))
        for run in client.search_runs(experiments, order_by=["start_time"])
    ]

    assert steps == ([list(range(12))] if same else [list(range(8)), list(range(6, 12))])
