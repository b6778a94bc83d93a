"""Sweeps on a real local cluster: trials as runs, stopped, interrupted and resumed."""

from __future__ import annotations

import json
import os
import re
import runpy
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from fixtures.isolation import within
from fixtures.processes import mentioning
from fixtures.programs import report_of

from lrtrack.cli import main
from lrtrack.comparing import fetch
from lrtrack.errors import NothingFound, UsageError
from lrtrack.records import State

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # before Ray is imported
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # otherwise there is one in the user's home

import ray
from ray import cloudpickle
from ray.tune.schedulers import FIFOScheduler

from lrtrack.integrations.ray import sweep, track, with_tracking

ROOT = Path(__file__).parents[3]
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

PROGRAM = Path(__file__).with_name("ray_program.py")


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[str]:
    """Ray on this machine for all tests, without any process left afterwards."""
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # sockets need short paths
    assert "RAY_ADDRESS" not in os.environ, "tests have a cluster of their own"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _temp_dir=folder)
    address = ray.get_runtime_context().gcs_address
    yield address
    ray.shutdown()
    within(300, lambda: mentioning(folder) == [])
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def train(clean_place):
    """The program's function, which Ray's workers receive as it is."""
    from lrtrack.cli._training_script import function_of

    shutil.copy(PROGRAM, clean_place / "train.py")
    before = list(sys.path)
    yield function_of("train.py")
    sys.path[:] = before


@pytest.fixture
def swept(train, clean_place):
    """Runs a sweep that prints nothing."""

    def run(schedules, **options):
        defaults = {"storage_path": clean_place / "ray", "verbose": 0, "tracker": "local"}
        return sweep(train, schedules, **{**defaults, "name": "s", "seeds": 1, **options})

    return run


def test_every_trial_is_delivered_though_its_worker_is_gone(swept, store, within_seconds) -> None:
    """Every trial is delivered although Ray kills its worker.

    Ray kills a worker's children, so the shipper must not be one. Nobody waits at the end of a
    block
    here, so that most is delivered when no worker is left.
    """
    results = swept(
        ["onecycle(max_lr=0.3)", "warmup(steps=3) -> cosine"],
        params={"width": "4"},
        tracker="mlflow",
        experiment="rays",
        flush_timeout=0.0,
    )

    def arrived() -> bool:
        try:
            runs = fetch("rays")
        except NothingFound:
            return False
        return len(runs) == 2 and all(run.state is State.FINISHED for run in runs)

    assert results.num_errors == 0
    within_seconds(90, arrived)
    runs = {history.run.name: history for history in fetch("rays")}
    for result in results:
        history = runs[f"train_{result.metrics['trial_id']}"]
        assert history.metrics["loss"][-1] == result.metrics["loss_final"]
        assert history.steps.tolist() == list(range(12))
        assert (history.run.group, history.run.seed) == ("s", result.config["seed"])
        assert history.run.config == {"width": 4}
        assert result.metrics["val_loss"] == history.series("val_loss")[1][0]
        assert result.metrics["step"] == 12
    assert results.get_best_result("loss_final", "min").metrics["loss_final"] == min(
        history.metrics["loss"][-1] for history in runs.values()
    )


@pytest.mark.soak
def test_random_configurations_run_with_all_seeds(swept, local) -> None:
    """A random configuration is drawn once for all its seeds."""
    results = swept(
        ["onecycle(max_lr=0.01..0.3 log)", "cosine"], method="random", samples=1, seeds=2
    )
    configurations = {
        (result.config["schedule"], result.config["onecycle"]["max_lr"]) for result in results
    }

    assert (len(results), results.num_errors, len(configurations)) == (2, 0, 1)
    assert sorted(history.run.seed for history in local()) == [0, 1]
    assert all(history.run.config == {} for history in local())  # the schedule implies the rest


class Impatient(FIFOScheduler):
    """Stops every trial at its second report."""

    def on_trial_result(self, controller, trial, result) -> str:
        return self.STOP if result["step"] == 8 else self.CONTINUE


def test_a_trial_that_a_scheduler_stops_is_failed_with_all_its_steps(
    swept, local, within_seconds
) -> None:
    """A trial that a scheduler stops is FAILED with all its steps, though Ray calls it done."""
    (result,) = swept(["constant"], scheduler=Impatient())
    within_seconds(30, lambda: local()[0].state is not State.RUNNING)  # its worker may take a while
    (history,) = local()

    assert (result.error, result.metrics["step"]) == (None, 8)
    assert (history.state, history.steps.tolist()) == (State.FAILED, list(range(8)))
    assert result.metrics["loss"] == pytest.approx(history.metrics["loss"][4:].mean())
    assert result.metrics["loss_final"] == history.metrics["loss"][7]


def test_a_sweep_goes_on_after_a_failure(swept, local, clean_place) -> None:
    """A failed trial continues in its own run from its checkpoint; finished ones are not
    repeated.
    """
    params = {"keep": "true", "stumble": f"'{clean_place / 'stumbled'}'"}
    schedules = ["constant", "cosine"]
    first = swept(schedules, params=params)
    (failed,) = (result for result in first if result.error is not None)
    before = {history.run.name: history for history in local()}
    again = swept(schedules, params=params, resume=True)
    runs = {history.run.name: history for history in local()}

    assert "stumbled" in str(failed.error)
    assert (again.num_errors, len(again), len(runs)) == (0, 2, 2)
    assert sorted(h.state.value for h in before.values()) == ["FAILED", "FINISHED"]
    for name, history in runs.items():
        assert history.state is State.FINISHED
        assert history.steps.tolist() == list(range(12))
        assert history.run.id == before[name].run.id
        assert history.metrics["loss"][11] < history.metrics["loss"][8] < history.metrics["loss"][0]
    with pytest.raises(UsageError, match="Fix: resume it"):
        swept(schedules, params=params)


def distributed(config) -> None:
    """Two processes of Ray Train, which fail after the third step and go on from the second."""
    import ray.train.torch
    import torch

    model = ray.train.torch.prepare_model(torch.nn.Linear(1, 1))
    opt = torch.optim.SGD(model.parameters(), lr=config["lr"])
    is_first, saved = ray.train.get_context().get_world_rank() == 0, ray.train.get_checkpoint()
    state, place = {"step": -1, "run": {"id": None}}, Path(config["place"])
    if saved is not None:
        with saved.as_directory() as folder:
            state = torch.load(Path(folder) / "state.pt", weights_only=False)
        model.load_state_dict(state["model"])
    with track(opt, experiment="trained", seed=1, resume=state["run"]["id"]) as run:
        if saved is not None:
            run.load_state_dict(state["run"])
        for step in range(state["step"] + 1, 4):
            opt.zero_grad()
            loss = model(torch.ones(4, 1)).square().mean()
            loss.backward()
            opt.step()
            if is_first:
                (place / f"step{step}").write_text(str(loss.item()))
            if step == 2 and saved is None:
                raise RuntimeError("failed")
            state = {"step": step, "run": run.state_dict(), "model": model.state_dict()}
            with tempfile.TemporaryDirectory() as folder:
                torch.save(state, Path(folder) / "state.pt")
                checkpoint = ray.train.Checkpoint.from_directory(folder)
                ray.train.report({"step": step}, checkpoint=checkpoint if is_first else None)


def test_ray_train_writes_one_run(local, clean_place) -> None:
    """Ray Train writes one run, from rank 0, where the driver's own would go; a retry that loads
    the run's state goes on in it.
    """
    from ray.train import FailureConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    trainer = TorchTrainer(
        with_tracking(distributed, tracker="local"),
        train_loop_config={"lr": 0.1, "place": str(clean_place)},
        scaling_config=ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0.5}),
        run_config=ray.train.RunConfig(
            storage_path=str(clean_place / "ray"),
            name="t",
            failure_config=FailureConfig(max_failures=1),
        ),
    )
    trainer.fit()
    (history,) = local()
    losses = [float((clean_place / f"step{step}").read_text()) for step in range(4)]

    assert (history.run.world_size, history.state) == (2, State.FINISHED)
    assert history.steps.tolist() == [0, 1, 2, 3]
    assert losses == history.metrics["loss"].tolist()
    assert (history.run.seed, history.run.experiment) == (1, "trained")
    assert history.run.config == {"lr": 0.1, "place": str(clean_place)}


def test_the_command(train, clean_place, monkeypatch) -> None:
    """The command prints a line for each trial, also for failed ones, and the compare command."""
    monkeypatch.setenv("LRTRACK_TRACKER", "local")
    arguments = [
        "sweep",
        "--engine",
        "ray",
        "--program",
        "train.py",
        "--seeds",
        "1",
        "--storage",
        "ray",
    ]
    arguments += ["--project", "asked", "--metric", "val_loss", "--schedule"]
    result = CliRunner().invoke(main, [*arguments, "cosine"])
    assert result.exit_code == 0, result.stderr
    line, following = result.stderr.splitlines()
    command = [*following.partition("lrtrack ")[2].split(), "--format", "json"]
    compared = json.loads(CliRunner().invoke(main, command).stdout)
    stumbling = ["--param", f"stumble='{clean_place / 'x'}'"]
    failed = CliRunner().invoke(main, [*arguments, "constant", *stumbling])

    assert result.stdout == ""
    assert re.fullmatch(r"\[1/1\] cosine, seed 0: val_loss 0\.\d+", line)
    assert following == "Next: lrtrack compare --experiment asked --metric val_loss"
    assert compared["schedules"][0]["schedule"] == "CosineAnnealingLR"
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert "failed: RuntimeError: stumbled" in failed.stderr
    assert "1 of 1 trials failed" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_the_example(command_line, monkeypatch) -> None:
    """The example trains on the running cluster, and its command compares its runs."""
    monkeypatch.setenv("LRTRACK_TRACKER", "local")
    monkeypatch.setenv("HOME", str(Path.cwd()))
    monkeypatch.setattr(ray, "init", lambda **options: None)
    example = ROOT / "examples" / "with_ray.py"
    runpy.run_path(str(example), run_name="__main__")
    compared = report_of(example, command_line)

    assert [row["runs"] for row in compared["schedules"]] == [2, 2]
