"""Ignite's trainers record the same as a plain loop."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import (
    Engine,
    Events,
    create_supervised_evaluator,
)
from ignite.handlers import param_scheduler as ignite_schedulers
from ignite.metrics import Accuracy

import lrtrack
from lrtrack.errors import UsageError
from lrtrack.integrations.ignite import LRTrack
from lrtrack.records import State

from .trainers import same, trainer_of

EXAMPLE = Path(__file__).parents[3] / "examples" / "with_ignite.py"


def test_the_records_are_those_of_a_plain_loop(digits, local) -> None:
    """Rate, momentum, loss and norms equal those of a plain loop, and weights are bit-equal."""
    plain, task, bare = (digits(steps=12, batches=6) for _ in range(3))
    plain.rows = tuple(torch.cat([rows, rows]) for rows in plain.rows)
    expected = plain.plain()
    handler = LRTrack(task.optimizer, task.scheduler, tracker="local")
    trainer = trainer_of(task)
    assert handler.attach(trainer) is handler
    trainer.run(task.loader(), max_epochs=2)
    trainer_of(bare).run(bare.loader(), max_epochs=2)
    (history,) = local()

    same(history, expected)
    assert (history.state, history.run.total_steps) == (State.FINISHED, 12)
    assert (handler.run, handler.runs) == (None, [])
    for weight, plain_weight in zip(task.model.parameters(), bare.model.parameters(), strict=True):
        assert torch.equal(weight, plain_weight)
    # of the handler, only the listener for the next run is left
    assert Events.EXCEPTION_RAISED not in trainer._event_handlers


def test_accumulation(digits, local) -> None:
    """With accumulation there is one record per optimizer step, with the mean loss."""
    expected = digits(steps=6, batches=12).plain(accumulate=2)
    task = digits(steps=6, batches=12)
    trainer = trainer_of(task, gradient_accumulation_steps=2)
    LRTrack(task.optimizer, task.scheduler, tracker="local").attach(trainer)
    trainer.run(task.loader())

    same(local()[0], expected)


def test_clipping_in_bfloat16(digits, local) -> None:
    """A custom process function with autocast records both norms and the real loss."""
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
    (history,) = local()

    assert history.metrics["loss"].tolist() == losses
    assert history.metrics["grad_norm_preclip"].min() > 0.25
    np.testing.assert_allclose(history.metrics["grad_norm"], 0.25, rtol=1e-4)


def test_the_last_evaluation_is_in_time(digits, local) -> None:
    """Metrics logged in COMPLETED, by any handler, still belong to the run."""
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
    (history,) = local()
    with pytest.warns(lrtrack.LRTrackWarning, match="no open run for test/accuracy"):
        evaluator.run(task.loader())

    assert {name: history.metrics[name][-1] for name in history.metrics if "test" in name} == {
        "test/accuracy": evaluator.state.metrics["accuracy"],
        "test/pairs/left": 1.0,
        "test/pairs/right": 2.0,
    }


def test_several_optimizers(digits, local) -> None:
    """Each named optimizer has a run of its own, with its name before its metrics."""
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
    histories = {next(iter(h.metrics)).partition("/")[0]: h for h in local()}

    assert sorted(histories) == ["critic", "generator"]
    assert [histories[name].run.schedule.name for name in tasks] == ["constant", "OneCycleLR"]
    assert len(set(histories["critic"].metrics["critic/lr"])) > 3
    assert {history.state for history in histories.values()} == {State.FINISHED}


def test_a_context_manager(digits, local) -> None:
    """After its block, a context manager leaves the engine's runs alone."""
    task = digits(steps=20)
    trainer = trainer_of(task)
    with LRTrack(task.optimizer, task.scheduler, tracker="local").attach(trainer) as handler:
        trainer.add_event_handler(Events.ITERATION_COMPLETED(once=5), trainer.interrupt)
        trainer.run(task.loader())
    handler.detach()
    trainer.run(task.loader())
    (history,) = local()

    assert (history.steps.tolist(), history.state) == (list(range(5)), State.FINISHED)
    assert trainer.state.iteration == 20


def test_mistakes_are_told_where_they_are_made(digits) -> None:
    """Mistakes are errors where they are made, before any training, with the fix."""
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
    with pytest.raises(TypeError, match="mapping with the same"):
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
    """Two processes give one run with the number of processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        program = PARALLEL.replace("PORT", str(free.getsockname()[1]))
    (clean_place / "train.py").write_text(program)
    process = subprocess.run(
        [sys.executable, "train.py"], capture_output=True, text=True, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    (history,) = local()

    assert (history.run.world_size, history.steps.tolist()) == (2, list(range(5)))
    assert history.state is State.FINISHED


def test_the_example(store, command_line) -> None:
    """The example's command compares both schedules by the evaluator's accuracy."""
    process = subprocess.run(
        [sys.executable, "-P", str(EXAMPLE)], capture_output=True, text=True, timeout=300
    )
    assert process.returncode == 0, process.stderr
    assert command_line("sync").returncode == 0
    command = EXAMPLE.read_text().partition("lrtrack ")[2].partition('"""')[0].split()
    command += ["--metric", "validation/accuracy", "--mode", "max", "--format", "json"]
    compared = json.loads(command_line(*command).stdout)

    assert {row["schedule"]: row["runs"] for row in compared["schedules"]} == {
        "ConcatScheduler": 2,
        "LinearCyclicalScheduler": 2,
    }
    assert min(row["final"]["mean"] for row in compared["schedules"]) > 0.9
