"""Sweeps are made, handed out and ended."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from . import Loopback, sweeps
from .answering import Refused
from .clients import command, look, script, values
from .sweeps import plan


def test_agent_runs_a_nested_grid(loopback: Loopback, clean_place: Path) -> None:
    """`wandb sweep` and `wandb agent` run a grid with nested parameters, run by run."""
    clean_place.joinpath("train.py").write_text(
        "import wandb\n"
        "with wandb.init(settings=wandb.Settings(x_disable_stats=True)) as run:\n"
        "    run.log({'loss': run.config['schedule']['max_lr'] + run.config['seed']})\n"
    )
    schedule = {"name": {"value": "one_cycle"}, "max_lr": {"values": [0.25, 0.5]}}
    sweep = {
        "program": "train.py",
        "command": [sys.executable, "-P", "${program}"],
        "method": "grid",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {
            "schedule": {"parameters": schedule},
            "seed": {"value": 1},
            "kind": {"values": [{"a": [1]}]},
        },
    }
    clean_place.joinpath("sweep.yaml").write_text(json.dumps(sweep))

    assert command(loopback, "sweep", "--project", "s", "sweep.yaml").returncode == 0
    (sweep_state,) = loopback.sweeps("tester/s")
    name = f"tester/s/{sweep_state.id}"
    done = command(loopback, "agent", "--count", "2", name)

    runs = loopback.runs("tester/s")
    assert done.returncode == 0, done.stderr
    assert [run.config for run in runs] == [
        {"kind": {"a": [1]}, "schedule": {"max_lr": lr, "name": "one_cycle"}, "seed": 1}
        for lr in (0.25, 0.5)
    ]
    assert [values(run, "loss") for run in runs] == [[1.25], [1.5]]
    assert {(run.sweep, run.state) for run in runs} == {(sweep_state.id, "finished")}
    code = f"import wandb\nsweep = wandb.Api().sweep('{name}')\nprint(sweep.best_run().id)"
    assert look(loopback, code).stdout.split() == [runs[0].id]


def test_random_sweep_in_one_process(loopback: Loopback) -> None:
    """`wandb.sweep` and `wandb.agent` with a function run a point drawn at random."""
    code = """
import wandb
lr = {"distribution": "log_uniform_values", "min": 0.001, "max": 1.0}
sweep = wandb.sweep(
    {"method": "random", "parameters": {"deep": {"parameters": {"lr": lr}}}}, project="s"
)
def train():
    with wandb.init() as run:
        run.log({"loss": run.config["deep"]["lr"]})
wandb.agent(sweep, train, project="s", count=1)
"""
    done = script(loopback, code)

    (run,) = loopback.runs("tester/s")
    assert done.returncode == 0, done.stderr
    assert values(run, "loss") == [run.config["deep"]["lr"]]
    assert (run.sweep, run.state) == (loopback.sweeps("tester/s")[0].id, "finished")


def test_points_of_sweeps() -> None:
    """Grids come whole, within the cap; draws stay in their bounds and repeat with the seed."""
    grid = {
        "method": "grid",
        "parameters": {
            "b": {"values": [{"x": 1}, "y"]},
            "deep": {"parameters": {"n": {"min": 1, "max": 2}}},
        },
    }
    points, expected = plan(grid, 0)
    assert list(points) == [
        {"b": {"x": 1}, "deep": {"n": 1}},
        {"b": {"x": 1}, "deep": {"n": 2}},
        {"b": "y", "deep": {"n": 1}},
        {"b": "y", "deep": {"n": 2}},
    ]
    assert expected == 4
    assert len(list(plan({**grid, "run_cap": 3}, 0)[0])) == 3

    parameters = {
        "lr": {"distribution": "log_uniform_values", "min": 0.001, "max": 1.0},
        "depth": {"distribution": "int_uniform", "min": 1, "max": 3},
        "decay": {"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.25},
        "kind": {"values": ["a", "b"], "probabilities": [0.0, 1.0]},
    }
    sweep = {"method": "random", "parameters": parameters, "run_cap": 50}
    drawn = list(plan(sweep, 1)[0])
    assert drawn == list(plan(sweep, 1)[0])
    assert drawn != list(plan(sweep, 2)[0])
    assert all(0.001 <= point["lr"] <= 1.0 for point in drawn)
    assert {point["depth"] for point in drawn} == {1, 2, 3}
    assert {point["decay"] for point in drawn} == {0.0, 0.25, 0.5, 0.75, 1.0}
    assert {point["kind"] for point in drawn} == {"b"}


def test_what_agents_are_told() -> None:
    """Agents get a run when they have none, are told to stop, to wait, and to leave."""
    store = Loopback().store
    text = json.dumps({"method": "grid", "parameters": {"a": {"values": [1, 2]}}})
    sweep = sweeps.upserted(store, 0, config=text, projectName="s")
    agent = sweeps.new_agent(store, "host", sweep)

    def told(*busy: str) -> list[tuple[str, str | None]]:
        state = json.dumps(dict.fromkeys(busy, True))
        todo = sweeps.commands(store, agent.id, state)
        return [(each["type"], each.get("run_id")) for each in todo]

    ((kind, first),) = told()
    assert (kind, told(first or "")) == ("run", [])
    runs = store.made_project("tester", "s").runs
    runs[first or ""].stopped = True
    assert told(first or "") == [("stop", first)]
    sweeps.upserted(store, 0, id=sweep.storage_id, state="PAUSED")
    assert told() == []
    sweeps.upserted(store, 0, id=sweep.storage_id, state="RUNNING")
    ((kind, second),) = told()
    assert (kind, runs[second or ""].config) == ("run", {"a": 2})
    assert (told(), sweep.state) == ([("exit", None)], "FINISHED")
    with pytest.raises(Refused, match="not found"):
        sweeps.commands(store, "nobody", "{}")
