"""Behaviour that all callbacks share: early option checks, and runs that always end."""

from __future__ import annotations

import copy
import inspect
import math
import os
import pickle
import subprocess
import sys
from typing import Any

import pytest

from lrtrack.errors import LRTrackWarning, UsageError
from lrtrack.integrations._callback_options import DEFAULTS, Copied, with_signature
from lrtrack.integrations._callback_runs import CallbackRuns, whole_steps
from lrtrack.records import State, Target
from lrtrack.trackers.memory import MemoryTracker


def test_a_misspelt_option_is_refused_where_the_callback_is_made() -> None:
    """A misspelt option is refused where the callback is made, with the nearest name."""
    with pytest.raises(TypeError, match=r"LRTrack\(\): .*'experimnt'.*experiment"):
        CallbackRuns("LRTrack", {"experimnt": "x"})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"tracker": "mlfow"}, "mlflow"),
        ({"norms": "all"}, "global"),
        ({"every": 0}, "at least 1"),
        ({"updates": 0}, "at least 1"),
        ({"loss_over": "sum"}, "mean"),
    ],
)
def test_a_value_that_does_not_exist_is_refused_there_too(options, said) -> None:
    """An invalid value is refused where the callback is made, with the valid ones."""
    with pytest.raises(UsageError, match=said):
        CallbackRuns("LRTrack", options)


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, "mean"), ({"loss_over": None}, None), ({"seed": None}, "mean")],
)
def test_none_chooses_the_loss_of_rank_0(digits, local, options, expected) -> None:
    """`loss_over=None` is a choice, unlike None for other options, where it means the default."""
    task, blocks = digits(), CallbackRuns("LRTrack", {"tracker": "local", **options})
    blocks.enter([(task.optimizer, task.scheduler, "")], loss_over="mean", seed=3)
    (block,) = blocks._blocks
    found = block.options.loss_over, block.options.seed
    blocks.leave()

    assert found == (expected, 3)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (12, 12),
        (12.0, 12),
        (-1, None),
        (0, None),
        (math.inf, None),
        (sys.maxsize, None),
        ("9", None),
    ],
)
def test_a_number_of_steps_without_an_end_is_unknown(value, expected) -> None:
    """Frameworks write -1, infinity or the largest integer where a training has no end."""
    assert whole_steps(value) == expected


def test_a_training_that_went_on_elsewhere_ends_as_failed(digits, local) -> None:
    """A run whose training ended unseen is FAILED when the callback starts again."""
    task, blocks = digits(), CallbackRuns("LRTrack", {"tracker": "local"})
    for _ in range(2):
        blocks.enter([(task.optimizer, task.scheduler, "")])
        task.loss(*next(task.batches())).backward()
        task.optimizer.step()
        task.scheduler.step()
    blocks.leave()

    assert [history.state for history in local()] == [State.FINISHED, State.FAILED]


def test_the_end_of_the_program_ends_the_run(local) -> None:
    """The end of the program ends an open run with all its steps."""
    program = """
import torch
from lrtrack.integrations._callback_runs import CallbackRuns
parameter = torch.nn.Parameter(torch.ones(()))
optimizer = torch.optim.SGD([parameter], lr=0.1)
blocks = CallbackRuns("LRTrack", {"tracker": "local"})
blocks.enter([(optimizer, None, "")])
for _ in range(3):
    (parameter * parameter).backward()
    optimizer.step()
raise SystemExit(3)
"""
    process = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True)
    (history,) = local()

    assert (process.returncode, process.stderr) == (3, "")
    assert (history.steps.tolist(), history.state) == ([0, 1, 2], State.FAILED)


def test_ctrl_c_does_not_wait_for_a_server_that_is_away(
    local, living_shippers, kill_shippers, within_seconds
) -> None:
    """After Ctrl-C the program does not wait for a server that is down."""
    program = """
import torch
from lrtrack.integrations._callback_runs import CallbackRuns
optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1)
blocks = CallbackRuns("LRTrack", {"tracker": "mlflow", "flush_timeout": 3600.0})
blocks.enter([(optimizer, None, "")])
optimizer.step()
raise KeyboardInterrupt
"""
    away = {**os.environ, "MLFLOW_TRACKING_URI": "http://127.0.0.1:1"}
    process = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, env=away, timeout=300
    )
    within_seconds(60, lambda: living_shippers() != [])
    kill_shippers()  # otherwise it would retry for ten minutes

    assert "KeyboardInterrupt" in process.stderr
    assert [history.state for history in local()] == [State.FAILED]


def test_configurations_are_put_together(digits, local) -> None:
    """Configurations are merged key by key, with the user's values first."""
    task = digits()
    blocks = CallbackRuns("LRTrack", {"tracker": "local", "config": {"depth": 2}})
    blocks.enter([(task.optimizer, task.scheduler, "")], config={"depth": 9, "width": 8})
    blocks.leave()

    assert local()[0].run.config == {"depth": 2, "width": 8}


def test_what_breaks_is_a_warning(digits, local) -> None:
    """A fault in the callback is a warning, and the training continues without a record."""

    class Broken(MemoryTracker):
        def target(self, experiment: str | None, default: str = "lrtrack") -> Target:
            raise RuntimeError("odd")

    task = digits()
    blocks = CallbackRuns("LRTrack", {"tracker": Broken()})
    with pytest.warns(LRTrackWarning, match="does not observe this training.*odd"):
        assert blocks.enter([(task.optimizer, task.scheduler, "")]) == []
    blocks.leave()

    assert local() == []


def test_the_users_prefix_comes_before_the_optimizers_own(digits, local) -> None:
    """The user's prefix comes before the optimizer's own."""
    task, blocks = digits(), CallbackRuns("LRTrack", {"tracker": "local", "prefix": "fold1/"})
    blocks.enter([(task.optimizer, task.scheduler, "generator/")])
    task.loss(*next(task.batches())).backward()
    task.optimizer.step()
    task.scheduler.step()
    blocks.leave()

    assert "fold1/generator/lr" in local()[0].metrics


def test_an_option_that_is_none_says_nothing(digits, local) -> None:
    """An option that is None leaves the framework's value; any other value replaces it."""
    task, blocks = digits(), CallbackRuns("LRTrack", {"tracker": None, "seed": 3, "group": None})
    blocks.enter([(task.optimizer, None, "")], tracker="local", seed=5, group="g")
    task.optimizer.step()
    blocks.leave()
    (history,) = local()

    assert (history.run.seed, history.run.group) == (3, "g")


def test_each_block_goes_on_with_its_own_run(digits, local) -> None:
    """Each block resumes its own run, or starts a new one if there is none."""
    tasks, ids = [digits(), digits()], []
    for again in (False, True):
        blocks = CallbackRuns("LRTrack", {"tracker": "local"})
        pairs = [(task.optimizer, None, f"{at}/") for at, task in enumerate(tasks)]
        ids += [run.id for run in blocks.enter(pairs, resume=[None, ids[1]] if again else ())]
        for task in tasks:
            task.optimizer.step()
        blocks.leave()

    assert ids[3] == ids[1]
    assert sorted((h.run.prefix, h.steps.tolist()) for h in local()) == [
        ("0/", [0]), ("0/", [0]), ("1/", [0, 1])
    ]  # fmt: skip


class Recorder(Copied):
    """A callback that has nothing but its runs."""

    @with_signature(loss_over="mean")
    def __init__(self, **options: Any) -> None:
        self._blocks = CallbackRuns("Recorder", options)
        self.run: Any = object()


def test_copies_have_the_options_and_no_run() -> None:
    """Copies of a callback, also pickled ones, have its options, a run of their own, and no run
    yet.
    """
    recorder = Recorder(tracker="local", every=3)
    copies = [copy.copy(recorder), copy.deepcopy(recorder), pickle.loads(pickle.dumps(recorder))]
    options = [copied._blocks._given for copied in copies]

    assert [copied.run for copied in copies] == [None] * 3
    assert options == [{"tracker": "local", "every": 3}] * 3
    assert len({id(own._blocks) for own in [recorder, *copies]}) == 4


def test_the_signature_of_a_callback() -> None:
    """A callback's signature lists the options of `track()`, with its own defaults."""
    parameters = inspect.signature(Recorder.__init__).parameters

    assert list(parameters) == ["self", *DEFAULTS]
    assert (parameters["loss_over"].default, parameters["every"].default) == ("mean", 1)
    assert parameters["seed"].annotation == int | None
