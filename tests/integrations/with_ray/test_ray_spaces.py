"""The parts of Ray sweeps that need no cluster: spaces, mistakes, and what is pickled."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from lrtrack import settings
from lrtrack.cli import main
from lrtrack.errors import LRTrackWarning, UsageError

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # before Ray is imported

import ray
from ray import cloudpickle, tune

from lrtrack.integrations import _ray_driver
from lrtrack.integrations.ray import report, search_space, sweep, track, with_tracking

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def test_a_grid_space_and_a_random_one() -> None:
    """A grid lists all its points; a random space has Ray's own domains."""
    specs = ["onecycle(max_lr={0.1, 0.3})", "cosine(T_max=9)"]
    grid = search_space(specs, seeds=2, params={"lr": "{1, 2}", "momentum": "0.9"})
    specs = ["onecycle(max_lr=0.01..0.3 log, pct_start={0.2, 0.3})", "cosine(T_max=5..9)"]
    open_ones = search_space(specs, params={"lr": "0.1..0.5"}, method="random")

    assert grid == {
        "seed": {"grid_search": [0, 1]},
        "schedule": {
            "grid_search": ["onecycle(max_lr=0.1)", "onecycle(max_lr=0.3)", "cosine(T_max=9)"]
        },
        "lr": {"grid_search": [1, 2]},
        "momentum": 0.9,
    }
    rate, length = open_ones["onecycle"]["max_lr"], open_ones["cosine"]["T_max"]
    assert open_ones["schedule"].categories == specs
    assert open_ones["onecycle"]["pct_start"].categories == [0.2, 0.3]
    assert (rate.lower, rate.upper, type(rate.get_sampler()).__name__) == (
        *(0.01, 0.3),
        "_LogUniform",
    )
    assert {length.sample() for _ in range(200)} == {5, 6, 7, 8, 9}
    assert (open_ones["lr"].lower, open_ones["lr"].upper) == (0.1, 0.5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"schedules": []}, "at least one schedule"),
        ({"schedules": ["onecycle(max_lr=0.1..0.3)"]}, "cannot use the range onecycle.max_lr"),
        ({"schedules": ["cosin"]}, "Did you mean 'cosine'"),
        ({"schedules": ["cosine"], "params": {"lr": "0.1..0.3"}}, "cannot use a range for lr"),
        ({"schedules": ["cosine"], "params": {"seed": "3"}}, "already sets seed"),
        ({"schedules": ["cosine"], "method": "bayes"}, "Available: grid, random"),
        ({"schedules": ["cosine"], "resume": True}, "needs the name of the sweep"),
    ],
)
def test_what_no_sweep_can_hold_is_refused(arguments, said) -> None:
    """A space that no sweep can hold is refused before any trial and without a cluster."""
    before = ray.is_initialized()
    with pytest.raises(UsageError, match=said):
        sweep(print, **arguments)

    assert ray.is_initialized() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--program", "absent.py"), "File absent.py does not exist"),
        (("--program", "train.py:tain"), "Did you mean 'train'"),
        (("--program", "broken.py"), "Cannot run broken.py, line 1: ModuleNotFoundError"),
        (("--program", "train.py:_none"), "must accept a trial's config"),
        (("--program", "train.py", "--start"), "--start works only with --engine wandb"),
        (("--program", "train.py", "--method", "bayes"), "does not support --method bayes"),
        (("--program", "train.py", "--resume"), "--resume needs the name of the sweep"),
        (("--program", "train.py", "--param", "lr=0.1..0.2"), "cannot use a range for lr"),
        (
            ("--program", "train.py", "--engine", "wandb", "--name", "x"),
            "works only with --engine ray",
        ),
    ],
)
def test_mistakes_on_the_command_line(clean_place, monkeypatch, arguments, said) -> None:
    """A mistake on the command line is exit status 2 with a message, without a cluster."""
    monkeypatch.setattr("sys.path", list(sys.path))
    (clean_place / "broken.py").write_text("import no_such_module_at_all\n")
    functions = "def train(config):\n    pass\n\ndef _none():\n    pass\n"
    (clean_place / "train.py").write_text(functions)
    command = ["sweep", "--engine", "ray", "--schedule", "cosine", *arguments]
    result = CliRunner().invoke(main, command)

    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_no_credentials_travel(monkeypatch) -> None:
    """A pickled function, which Ray also keeps on disk, has addresses without their logins."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:geheim@host/")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "geheim")
    monkeypatch.setenv("WANDB_API_KEY", "geheim")
    monkeypatch.setenv("WANDB_PROJECT", "offen")
    pickled = cloudpickle.dumps(with_tracking(lambda config: None))

    assert b"offen" in pickled
    assert b"https://host/" in pickled
    assert b"geheim" not in pickled


@pytest.fixture
def as_worker(monkeypatch) -> Iterator[None]:
    """Undoes what makes this process a worker."""
    monkeypatch.setattr("lrtrack.shipping.spawn._detach", False)
    monkeypatch.setattr("lrtrack.tracking.report_hint._silent", False)
    yield
    settings.work_from(None)


URI, LOGIN, OTHER = "http://host:5000", "http://me:geheim@host:5000", "http://other:5000"


@pytest.mark.parametrize(
    ("driver", "worker", "runtime", "expected"),
    [
        (LOGIN, None, None, URI),  # not a store of the worker's
        (LOGIN, LOGIN, None, LOGIN),  # the worker's own login for the same server
        (URI, LOGIN, None, LOGIN),
        (LOGIN, OTHER, None, URI),
        (LOGIN, OTHER, OTHER, OTHER),  # given to the workers of this sweep
        (None, OTHER, None, OTHER),
    ],
)
def test_where_a_worker_writes(monkeypatch, as_worker, driver, worker, runtime, expected) -> None:
    """A worker writes to the driver's server, with its own login, unless it was given another; it
    warns where it has no login that the driver has.
    """
    if driver is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", driver)
    here = _ray_driver.Driver.here()
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if worker is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", worker)
    runtime_env = {} if runtime is None else {"env_vars": {"MLFLOW_TRACKING_URI": runtime}}
    monkeypatch.setattr("ray.is_initialized", lambda: True)
    context = SimpleNamespace(runtime_env=runtime_env)
    monkeypatch.setattr("ray.get_runtime_context", lambda: context)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        here.apply()

    assert expected == os.environ["MLFLOW_TRACKING_URI"]
    assert (driver == LOGIN and expected == URI) == bool(caught)


@pytest.mark.parametrize(
    ("tracker", "worker", "missing"),
    [
        ("mlflow", {}, "MLFLOW_TRACKING_PASSWORD, MLFLOW_TRACKING_URI"),
        ("mlflow", {"MLFLOW_TRACKING_PASSWORD": "x", "MLFLOW_TRACKING_URI": LOGIN}, None),
        (
            ["mlflow", "wandb"],
            {"MLFLOW_TRACKING_PASSWORD": "x"},
            "MLFLOW_TRACKING_URI, WANDB_API_KEY",
        ),
        ("local", {}, None),
    ],
)
def test_a_worker_without_the_credentials(monkeypatch, as_worker, tracker, worker, missing) -> None:
    """A worker without the driver's credentials for its tracker warns, and names the variables."""
    secrets = {"MLFLOW_TRACKING_PASSWORD": "geheim", "MLFLOW_TRACKING_URI": LOGIN}
    for name, value in {**secrets, "WANDB_API_KEY": "geheim"}.items():
        monkeypatch.setenv(name, value)
    driver = _ray_driver.Driver.here()
    for name in (*secrets, "WANDB_API_KEY"):
        monkeypatch.delenv(name)
    for name, value in worker.items():
        monkeypatch.setenv(name, value)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        driver.apply(tracker)
    said = [str(warning.message) for warning in caught]

    assert (missing is not None) == len(said)
    assert all(f"has in {missing}, and" in text and "geheim" not in text for text in said)


def test_on_another_machine_journals_lie_where_there_is_room(
    monkeypatch, as_worker, tmp_path
) -> None:
    """On another machine, journals go to that machine's home, and a private store is reported."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LRTRACK_DIR", "")
    (tmp_path / "file").touch()
    environment = {"LRTRACK_DIR": str(tmp_path / "file" / "below")}
    driver = _ray_driver.Driver("/no/such/directory", "elsewhere", environment)
    with pytest.warns(LRTrackWarning, match="MLFLOW_TRACKING_URI to a server"):
        driver.apply()

    assert settings.read().directory == tmp_path / ".lrtrack"


def test_outside_of_ray_it_is_plain_tracking(digits, local) -> None:
    """Outside of Ray, a tracked function can be called for a trial run."""
    task = digits()
    with track(task.optimizer, task.scheduler, tracker="local", name="tried") as run:
        for inputs, labels in task.batches():
            task.loss(inputs, labels).backward()
            task.optimizer.step()
            task.scheduler.step()
            report(run, every=1)

    assert [history.run.name for history in local()] == ["tried"]


def test_only_functions_can_be_wrapped() -> None:
    """Only functions can be wrapped, not Ray's classes."""
    with pytest.raises(TypeError, match="takes a function"):
        with_tracking(tune.Trainable)
