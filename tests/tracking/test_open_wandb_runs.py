"""Blocks inside a W&B run that the user has open: config, phases, children, runs not joined."""

from __future__ import annotations

import io
import json
from typing import Any

import pyarrow.parquet as pq
import pytest
from wandb_loopback.clients import script

BLOCK = """
import sys, torch, wandb, lrtrack
from torch.optim.lr_scheduler import ExponentialLR, StepLR

def block(steps, schedule, argument, **options):
    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    scheduler = schedule(optimizer, argument)
    with lrtrack.track(optimizer, scheduler, flush_timeout=60, **options) as run:
        for step in range(steps):
            optimizer.zero_grad()
            (weight * 0.0 + float(step + 1)).backward()
            optimizer.step()
            scheduler.step()
    return run
"""
PHASES = """
run = wandb.init(project="p", id="one", resume="allow")
if run.resumed:
    block(2, StepLR, 7)
else:
    block(3, StepLR, 100, config={"width": 5})
    block(2, ExponentialLR, 0.5)
run.config.update({"width": 9, "scheduler": "mine", "seed": 4})
run.finish()
"""
CHILDREN = """
run = wandb.init(project="p", id="parent")
for seed in (0, 1):
    block(2, StepLR, 100, seed=seed)
block(1, ExponentialLR, 0.5, seed=1)
assert wandb.run is run
run.finish()
"""
BESIDE = """
from lrtrack.trackers.wandb import WandbTracker
run = wandb.init(project="p", id="gan", name="mine", reinit="create_new")
assert wandb.run is None
print(WandbTracker().open_run_hint())
assert block(2, StepLR, 100, prefix="D/", tracker=WandbTracker(run)).id == "gan"
assert block(2, ExponentialLR, 0.5, prefix="G/", tracker=WandbTracker(run)).id == "gan"
run.finish()
"""


@pytest.fixture(autouse=True)
def one_shipper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets each block find the uploading process of the block before."""
    monkeypatch.setenv("LRTRACK_SHIPPER_IDLE", "5")


def losses(run: Any) -> list[tuple[int, float]]:
    """Returns step and loss of each of lrtrack's rows."""
    return [(row["lrtrack/step"], row["loss"]) for row in run.history if "lrtrack/step" in row]


def columns(run: Any) -> dict[str, list[Any]]:
    """Returns the columns of the columnar file of a run."""
    return pq.read_table(io.BytesIO(run.files["lrtrack/history.parquet"])).to_pydict()


def test_phases_follow_each_other_in_one_process_and_the_next(wandb_server, command_line):
    """Steps continue and schedules stay in order, and config keys of the user are not changed."""
    done = [script(wandb_server, BLOCK + PHASES, timeout=300) for _ in range(2)]
    (run,) = wandb_server.runs("tester/p")
    ours = run.config["lrtrack"]
    listed = command_line("runs", "--tracker", "wandb", "--experiment", "p", "--format", "json")
    (row,) = json.loads(listed.stdout)["runs"]

    assert [each.returncode for each in done] == [0, 0], done[-1].stderr
    assert losses(run) == [*enumerate([1, 2, 3, 1, 2, 1, 2])]
    assert columns(run)["step"] == list(range(7))
    assert columns(run)["loss"] == [1, 2, 3, 1, 2, 1, 2]
    assert {name: run.config[name] for name in run.config if name not in ("lrtrack", "_wandb")} == {
        "width": 9, "scheduler": "mine", "seed": 4,
    }  # fmt: skip
    assert ours["config"] == {"width": 5}
    assert [each["first"] for each in ours["phases"]] == [0, 3, 5]
    assert ours["scheduler"]["name"] == "StepLR -> ExponentialLR -> StepLR"
    assert (row["schedule"], row["steps"], row["final"]) == (
        "StepLR -> ExponentialLR -> StepLR(schedulers=[StepLR(gamma=0.1, step_size=100), "
        "ExponentialLR(gamma=0.5), StepLR(gamma=0.1, step_size=7)])", 7, 2.0,
    )  # fmt: skip


def test_seeds_get_runs_of_their_own_in_one_group(wandb_server):
    """The first seed uses the open run; another seed and its phases get a run in its group."""
    done = script(wandb_server, BLOCK + CHILDREN, timeout=300)
    runs = {run.id: run for run in wandb_server.runs("tester/p")}
    parent = runs.pop("parent")
    (child,) = runs.values()

    assert done.returncode == 0, done.stderr
    assert done.stderr.count("seed 1 follows seed 0") == 1
    assert (parent.group, child.group) == (None, "parent")
    assert child.config["lrtrack"]["parent"] == "parent"
    assert losses(parent) == [(0, 1), (1, 2)]
    assert losses(child) == [(0, 1), (1, 2), (2, 1)]
    assert [run.config["lrtrack"]["seed"] for run in (parent, child)] == [0, 1]
    assert [run.state for run in (parent, child)] == ["finished", "finished"]
    assert columns(child)["step"] == [0, 1, 2]


def test_a_run_that_is_not_wandb_run_is_named_and_can_be_joined(wandb_server, command_line):
    """A run of `reinit="create_new"` is reported, and its blocks have keys by prefix."""
    done = script(wandb_server, BLOCK + BESIDE, timeout=300)
    (run,) = wandb_server.runs("tester/p")
    ours = run.config["lrtrack"]
    listed = command_line("runs", "--tracker", "wandb", "--experiment", "p", "--format", "json")
    rows = json.loads(listed.stdout)["runs"]

    assert done.returncode == 0, done.stderr
    assert "The W&B run mine is open but not joined" in done.stdout
    assert ours["D"]["scheduler"]["name"] == "StepLR"
    assert ours["G"]["scheduler"]["name"] == "ExponentialLR"
    assert "scheduler" not in ours
    assert columns(run)["D/loss"] == columns(run)["G/loss"] == [1.0, 2.0]
    assert run.state == "finished"
    assert [(row["prefix"], row["schedule"], row["tracker_id"]) for row in rows] == [
        ("D/", "StepLR(gamma=0.1, step_size=100)", "gan"),
        ("G/", "ExponentialLR(gamma=0.5)", "gan"),
    ]
    assert [row["final"] for row in rows] == [2.0, 2.0]
