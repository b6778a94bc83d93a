from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest
import torch

import lrtrack
from lrtrack import demo
from lrtrack.comparing import fetch
from lrtrack.demo import configurations, find_rate, run_demo, train_one

Command = Callable[..., subprocess.CompletedProcess[str]]
SCHEDULES = 6


@pytest.mark.parametrize("name", configurations())
def test_same_numbers_each_time(name: str) -> None:
    """Training twice with one schedule and seed gives the same results, bit for bit."""
    with torch.random.fork_rng(devices=[]):
        first = train_one(name, 1, tracker="local", epochs=2)
        torch.manual_seed(99)
        again = train_one(name, 1, tracker="local", epochs=2)
    final = lrtrack.compare("lrtrack-demo", tracker="local").schedules[0].final.values

    assert first == again
    assert len(final) == 2
    assert len(set(final)) == 1


def test_leaves_torch_as_it_was() -> None:
    """A training leaves the random state and the number of threads unchanged."""
    before = torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(2)  # tests have one, as the demo
    try:
        train_one("cosine", 0, tracker="local", epochs=1)
        threads = torch.get_num_threads()
    finally:
        torch.set_num_threads(before[1])

    assert torch.equal(before[0], torch.get_rng_state())
    assert threads == 2


def test_the_finder_is_a_run_of_its_own() -> None:
    """The range test suggests a rate that trains the network, the same each time."""
    first, again = (find_rate("digits", "local", 0) for _ in range(2))
    kinds = [history.run.kind for history in fetch("digits", tracker="local")]

    assert first.suggestion is not None
    assert 0.01 < first.suggestion < 1
    assert first.suggestions == again.suggestions
    assert kinds == ["find", "find"]


def test_every_schedule_is_trained() -> None:
    """Each configuration is trained with each seed, and the network learns something."""
    told: list[tuple[int, int]] = []
    accuracies = run_demo(
        "digits",
        "local",
        lambda done, total, label: told.append((done, total)),
        seeds=[4, 5],
        epochs=2,
    )
    comparison = lrtrack.compare("digits", tracker="local", metric="val_accuracy")

    assert configurations() == list(accuracies)
    assert len(configurations()) == len(comparison.schedules)
    assert {2} == {row.runs for row in comparison.schedules}
    assert min(sum(values) / 2 for values in accuracies.values()) > 0.3
    assert [(done, 2 * SCHEDULES) for done in range(2 * SCHEDULES + 1)] == told


def test_command(command_line: Command) -> None:
    """The command trains, prints the comparison on stdout, and suggests next steps on stderr."""
    shown = command_line("demo", "--tracker", "local", "--seeds", "1")
    following = [line.strip() for line in shown.stderr.splitlines() if "lrtrack compare" in line]
    compared = command_line(*following[0].split()[1:], "--format", "json")

    assert shown.returncode == 0, shown.stderr
    assert f"{SCHEDULES} schedules, {SCHEDULES} runs" in shown.stdout
    assert "Traceback" not in shown.stderr
    assert len(json.loads(compared.stdout)["schedules"]) == SCHEDULES


@pytest.mark.soak
@pytest.mark.parametrize("noise", [0.0, 1e-14])
def test_the_comparison_has_an_answer(noise: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """One schedule is best and four are worse, also with other rounding errors."""

    build = demo._network

    def network() -> torch.nn.Sequential:
        model = build()
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for weights in model.parameters():
                factors = torch.randn(weights.shape, generator=generator, dtype=weights.dtype)
                weights.mul_(1.0 + noise * factors)
        return model

    monkeypatch.setattr(demo, "_network", network)
    run_demo("digits", "local")
    comparison = lrtrack.compare("digits", tracker="local", metric="val_accuracy", mode="max")

    assert {row.schedule: row.verdict for row in comparison.schedules} == {
        "OneCycleLR": "best",
        "CosineAnnealingLR": "indistinguishable",
        "ExponentialLR": "worse",
        "StepLR": "worse",
        "MultiStepLR": "worse",
        "constant": "worse",
    }


@pytest.mark.soak
def test_command_twice(command_line: Command) -> None:
    """A second run of the command adds runs with new seeds."""
    for _ in range(2):
        shown = command_line("demo", "--tracker", "local", "--seeds", "1")
    runs = [history.run for history in fetch("lrtrack-demo", tracker="local")]
    trained = {(run.schedule.id, run.seed) for run in runs if run.kind == "train"}

    assert f"{SCHEDULES} schedules, {2 * SCHEDULES} runs" in shown.stdout
    assert len(trained) == 2 * SCHEDULES
    assert len(runs) == 2 * SCHEDULES + 2


def test_command_with_unknown_tracker(command_line: Command) -> None:
    """An unknown tracker is an error before any training that lists the known ones."""
    shown = command_line("demo", "--tracker", "mlflwo")

    assert shown.returncode == 2
    assert "mlflow" in shown.stderr
    assert "Training" not in shown.stderr
