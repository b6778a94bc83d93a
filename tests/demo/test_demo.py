from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest
import torch

import lrtrack
from lrtrack.comparing import fetch
from lrtrack.demo import CONFIGURATIONS, run_demo, train_one

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_same_numbers_each_time(name: str) -> None:
    """Training twice under one schedule and seed gives the same figures, bit for bit."""
    with torch.random.fork_rng(devices=[]):
        first = train_one(name, 1, tracker="local", epochs=2)
        torch.manual_seed(99)
        again = train_one(name, 1, tracker="local", epochs=2)
    final = lrtrack.compare("lrtrack-demo", tracker="local").schedules[0].final.values

    assert first == again
    assert len(final) == 2
    assert len(set(final)) == 1


def test_leaves_torch_as_it_was() -> None:
    """Neither the random state nor the number of threads is another after a training."""
    before = torch.get_rng_state(), torch.get_num_threads()
    train_one("cosine", 0, tracker="local", epochs=1)

    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == torch.get_num_threads()


def test_every_schedule_is_trained() -> None:
    """Each configuration is a schedule of its own, trained with each seed, and learns something."""
    told: list[tuple[int, int]] = []
    found = run_demo(
        "digits",
        "local",
        lambda done, total, label: told.append((done, total)),
        seeds=[4, 5],
        epochs=2,
    )
    comparison = lrtrack.compare("digits", tracker="local", metric="val_accuracy")

    assert set(CONFIGURATIONS) == set(found)
    assert len(CONFIGURATIONS) == len(comparison.schedules)
    assert {2} == {row.runs for row in comparison.schedules}
    assert min(sum(values) / 2 for values in found.values()) > 0.3
    assert [(done, 20) for done in range(21)] == told


def test_command(command_line: Command) -> None:
    """The command trains, prints the comparison on stdout, and says on stderr what to try next."""
    shown = command_line("demo", "--tracker", "local", "--seeds", "1")
    following = [line.strip() for line in shown.stderr.splitlines() if "lrtrack compare" in line]
    compared = command_line(*following[0].split()[1:], "--format", "json")

    assert shown.returncode == 0, shown.stderr
    assert "10 schedules, 10 runs" in shown.stdout
    assert "Traceback" not in shown.stderr
    assert len(json.loads(compared.stdout)["schedules"]) == 10


def test_command_twice(command_line: Command) -> None:
    """Run again, the command adds runs with new seeds: none is the copy of another."""
    for _ in range(2):
        shown = command_line("demo", "--tracker", "local", "--seeds", "1")
    runs = [history.run for history in fetch("lrtrack-demo", tracker="local")]

    assert "10 schedules, 20 runs" in shown.stdout
    assert len({(run.schedule.id, run.seed) for run in runs}) == 20


def test_command_with_unknown_tracker(command_line: Command) -> None:
    """A tracker that does not exist is said before any training, with the ones that do."""
    shown = command_line("demo", "--tracker", "mlflwo")

    assert shown.returncode == 2
    assert "mlflow" in shown.stderr
    assert "Training" not in shown.stderr
