"""Sweeps contain every requested schedule with its own parameters and no others."""

from __future__ import annotations

import pytest
import torch
import wandb
import yaml
from torch.optim import lr_scheduler

import lrtrack
from lrtrack.errors import UsageError
from lrtrack.sweeps import sweep


def optimizer() -> torch.optim.Optimizer:
    """Returns SGD with momentum for one number."""
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1, momentum=0.9)


def rates(scheduler: lr_scheduler.LRScheduler, steps: int = 30) -> list[float]:
    """Returns the learning rates of the first steps."""
    found = []
    for _ in range(steps):
        found.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step()
    return found


def test_a_grid_writes_alternatives_out():
    """A grid contains each combination of alternatives as a schedule of its own."""
    found = sweep(
        ["onecycle(max_lr={0.1, 0.3}, pct_start={0.2, 0.3})", "cosine(T_max=9)"],
        program="train.py",
        metric="val_loss",
        seeds=2,
    )

    assert found["parameters"] == {
        "schedule": {
            "values": [
                "onecycle(max_lr=0.1, pct_start=0.2)",
                "onecycle(max_lr=0.1, pct_start=0.3)",
                "onecycle(max_lr=0.3, pct_start=0.2)",
                "onecycle(max_lr=0.3, pct_start=0.3)",
                "cosine(T_max=9)",
            ]
        },
        "seed": {"values": [0, 1]},
    }
    assert (found["program"], found["method"]) == ("train.py", "grid")
    assert found["metric"] == {"name": "val_loss", "goal": "minimize"}


def test_open_parameters_stand_with_their_schedule():
    """Ranges become distributions, in a group with the schedule's name."""
    specs = ["onecycle(max_lr=0.01..0.3 log, pct_start={0.2, 0.3})", "cosine(T_max=5..9)"]
    found = sweep(specs, program="t.py", method="bayes", params={"lr": "0.1..0.5", "n": "3"})

    assert found["parameters"] == {
        "schedule": {"values": specs},
        "onecycle": {
            "parameters": {
                "max_lr": {"distribution": "log_uniform_values", "min": 0.01, "max": 0.3},
                "pct_start": {"values": [0.2, 0.3]},
            }
        },
        "cosine": {"parameters": {"T_max": {"distribution": "int_uniform", "min": 5, "max": 9}}},
        "seed": {"values": [0, 1, 2]},
        "lr": {"distribution": "uniform", "min": 0.1, "max": 0.5},
        "n": {"value": 3},
    }


def test_two_open_schedules_of_one_name_do_not_mix():
    """Two open schedules with the same name get separate values."""
    specs = ["step(step_size=2..4)", "step(step_size=10..20)"]
    found = sweep(specs, program="t.py", method="random")["parameters"]
    groups = [name for name in found if name not in ("schedule", "seed")]
    config = {name: {"step_size": 3 if at == 0 else 12} for at, name in enumerate(groups)}

    assert len(groups) == 2
    for spec, size in zip(specs, (3, 12), strict=True):
        built = lrtrack.scheduler(optimizer(), {**config, "schedule": spec})
        assert built.step_size == size


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"schedules": []}, "at least one"),
        ({"schedules": ["onecycle(max_lr=0.1..0.3)"]}, "cannot use the range onecycle.max_lr"),
        ({"schedules": ["cosin(T_max=3)"]}, "Did you mean 'cosine'"),
        ({"schedules": ["cosine"], "params": {"lr": "0.1..0.3"}}, "cannot use a range for lr"),
        ({"schedules": ["cosine"], "params": {"seed": "3"}}, "already sets seed"),
        ({"schedules": ["cosine"], "params": {"a b": "3"}}, "is not a parameter name"),
    ],
)
def test_what_no_sweep_can_hold_is_refused(arguments, why):
    """An invalid sweep is an error that says what was wrong and what to write."""
    with pytest.raises(UsageError, match=why):
        sweep(**{"program": "t.py", **arguments})


def test_a_wandb_config_is_taken_as_it_is():
    """`wandb.config` sets the open parameters of the chosen schedule only."""
    config = wandb.Config()
    config.update(
        {
            "schedule": "onecycle(max_lr=0.01..0.3 log)",
            "onecycle": {"max_lr": 0.25},
            "cosine": {"T_max": 7},
        }
    )
    mine = lrtrack.scheduler(optimizer(), config, total_steps=40)
    same = lr_scheduler.OneCycleLR(optimizer(), 0.25, total_steps=40)

    assert rates(mine) == rates(same)


def test_the_command_writes_yaml(command_line, clean_place):
    """The command writes YAML for `wandb sweep` to stdout, and nothing else."""
    asked = ("sweep", "--schedule", "cosine(T_max=9)", "--program", "t.py", "--metric", "accuracy")
    shown = command_line(*asked)
    written = command_line(*asked, "-o", "s.yaml")

    assert (shown.returncode, written.returncode, written.stdout) == (0, 0, "")
    assert (clean_place / "s.yaml").read_text() == shown.stdout
    assert yaml.safe_load(shown.stdout)["metric"] == {"name": "accuracy", "goal": "maximize"}


def test_mistakes_on_the_command_line(command_line):
    """A mistake gives exit status 2 and its position, without a traceback."""
    found = command_line("sweep", "--schedule", "cosine(T_mx=9)", "--program", "t.py")

    assert found.returncode == 2
    assert "  cosine(T_mx=9)\n         ^" in found.stderr
    assert "Traceback" not in found.stderr
