"""`save_state` and `load_state` go on in one run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from accelerate import notebook_launcher
from accelerate.local_sgd import LocalSGD
from accelerate.state import AcceleratorState, GradientState

from lrtrack.errors import LRTrackWarning
from lrtrack.integrations.accelerate import LRTrack
from lrtrack.records import State

from .loops import prepare, train


def run(
    make: Any,
    task: Any,
    *,
    load: str | None = None,
    fail: int | None = None,
    log: bool = True,
) -> None:
    """A training in a process of its own, which saves after its sixth step.

    With `load` it goes on from there, "before" or "after" the trackers have begun.
    """
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    accelerated = make(**({"log_with": LRTrack(tracker="local")} if log else {}))
    prepare(accelerated, task)
    if load == "before":
        accelerated.load_state("saved")
    accelerated.init_trackers("digits", config={"batch_size": 16})
    if load == "after":
        accelerated.load_state("saved")
    if load:
        task.prepared = accelerated.skip_first_batches(task.prepared, 6)

    def each(number: int) -> None:
        if number == fail:
            raise RuntimeError("broken")
        if number == 5 and not load:
            accelerated.save_state("saved")

    if fail is not None:
        with pytest.raises(RuntimeError, match="broken"):
            train(accelerated, task, each=each)
    else:
        train(accelerated, task, each=each)
    accelerated.end_training()


@pytest.mark.parametrize("load", ["before", "after"])
def test_a_training_goes_on_in_its_run(digits, accelerator, local, steps_of, load: str) -> None:
    """A loaded training is the run that was saved, with each step once, and leaves no other."""
    plain = digits().plain()
    run(accelerator, digits(), fail=8)
    (before,) = local()
    run(accelerator, digits(), load=load)
    (history,) = local()

    assert before.steps.tolist() == list(range(9))
    assert (history.run.id, history.state) == (before.run.id, State.FINISHED)
    assert steps_of(history) == steps_of(plain)
    assert history.run.diagnoses == ()


@pytest.mark.parametrize("load", ["before", "after"])
@pytest.mark.parametrize("text", [None, "{", '{"lrtrack": [{"id": 1, "step": -3}]}'])
def test_a_checkpoint_that_names_no_run(
    digits, accelerator, local, text: str | None, load: str
) -> None:
    """A checkpoint without the file, or with a damaged one, is loaded into a new run."""
    run(accelerator, digits(), log=False)
    if text is not None:
        Path("saved", "lrtrack.json").write_text(text)
    run(accelerator, digits(), load=load)
    (history,) = local()

    assert (history.steps.size, history.state) == (6, State.FINISHED)


@pytest.mark.parametrize("load", ["before", "after"])
def test_a_checkpoint_with_what_is_no_id(digits, accelerator, local, load: str) -> None:
    """A checkpoint whose run no tracker would accept is loaded into a new run, with a warning."""
    run(accelerator, digits(), log=False)
    text = json.dumps({"lrtrack": [{"id": "../../etc/passwd", "step": 5}]})
    Path("saved", "lrtrack.json").write_text(text)
    with pytest.warns(LRTrackWarning, match="could not go on in the checkpoint's run"):
        run(accelerator, digits(), load=load)
    (history,) = local()

    assert (history.steps.tolist(), history.state) == ([0, 1, 2, 3, 4, 5], State.FINISHED)


def test_a_checkpoint_is_loaded_without_the_tracker(digits, accelerator, local) -> None:
    """A checkpoint that was saved with the tracker is loaded without it."""
    run(accelerator, digits())
    run(accelerator, digits(), load="after", log=False)
    (history,) = local()
    saved = json.loads(Path("saved", "lrtrack.json").read_text())

    assert saved == {"lrtrack{'tracker': 'local'}": [{"id": history.run.id, "step": 5}]}
    assert history.steps.tolist() == list(range(12))


def test_notebook_launcher(digits, accelerator, local, steps_of) -> None:
    """A training that `notebook_launcher` runs has the records of a plain loop."""
    plain = digits().plain()
    notebook_launcher(run, (accelerator, digits()), num_processes=1)
    (history,) = local()

    assert steps_of(history) == steps_of(plain)


def test_local_sgd(digits, accelerator, local, steps_of) -> None:
    """With LocalSGD, each optimizer step is a step, whether or not weights are averaged."""
    plain, task = digits().plain(), digits()
    accelerated = accelerator(log_with=LRTrack(tracker="local"))
    prepare(accelerated, task)
    accelerated.init_trackers("digits")
    with LocalSGD(accelerated, task.model, local_sgd_steps=4, enabled=True) as averaging:
        train(accelerated, task, each=lambda number: averaging.step())
    accelerated.end_training()
    (history,) = local()

    assert steps_of(history) == steps_of(plain)
