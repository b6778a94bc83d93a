"""Several processes started by torchrun over gloo give one run with the global numbers.

Longer than other files, because all tests look at one job, which takes long to run.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from lrtrack.records import History, State
from lrtrack.trackers.base import Query
from lrtrack.trackers.local import LocalTracker

from .distributed_trainer import STEPS, Training

TRAINER = Path(__file__).with_name("distributed_trainer.py")
#: Seconds after which a job counts as hanging; torch's own limit in it is 60.
LIMIT = 300
WAYS = ("ddp", "fsdp", "hsdp")
NORMS = ("global", "group", "layer")

SCENARIOS: dict[str, dict[str, Any]] = {
    **{f"{way} bare": {"way": way, "only": []} for way in WAYS},
    **{
        f"{way} {norms}": {"way": way, "track": {"norms": norms, "experiment": "X"}}
        for way in WAYS
        for norms in NORMS
    },
    **{f"{way} clip": {"way": way, "training": {"clip": 0.5}, "count": True} for way in WAYS},
    **{f"{way} clip bare": {"way": way, "only": [], "training": {"clip": 0.5}} for way in WAYS},
    "handmade": {"way": "handmade", "track": {"norms": "layer"}, "count": True},
    "off": {"way": "fsdp", "track": {"norms": "off"}, "training": {"clip": 0.5}},
    "every": {"way": "fsdp", "track": {"every": 2}, "training": {"clip": 0.5}},
    "fsdp updates": {
        "way": "fsdp",
        "track": {"norms": "layer", "updates": 2},
        "training": {"moves": True},
    },
    "hsdp updates": {
        "way": "hsdp",
        "track": {"norms": "layer", "updates": 2},
        "training": {"moves": True},
        "count": True,
    },
    "handmade updates": {
        "way": "handmade",
        "track": {"norms": "layer", "updates": 1},
        "training": {"moves": True},
    },
    # Rank 1 cannot copy its weights, and the others must not wait for it.
    "handmade large": {
        "way": "handmade",
        "track": {"norms": "layer", "updates": 1},
        "training": {"large": 1},
    },
    "unwritable": {"way": "fsdp", "elsewhere": {"0": "nowhere"}},
    # Only rank 0 finds the journal: the others do not know how many steps the run has.
    "first": {"way": "fsdp", "track": {"every": 2}, "steps": 5},
    "resumed": {
        "way": "fsdp",
        "track": {"every": 2},
        "steps": 5,
        "resume": "first",
        "elsewhere": {"1": "empty"},
    },
    "mlflow": {"way": "fsdp", "track": {"tracker": "mlflow", "experiment": "X"}},
    # Only rank 0 observes, which is a mistake that must not stop the job.
    "alone": {"way": "fsdp", "only": [0], "training": {"clip": 0.5, "look": False}},
    "together again": {"way": "fsdp"},
}
ACCELERATE = importlib.util.find_spec("accelerate") is not None
if ACCELERATE:
    SCENARIOS["accelerate"] = {"way": "accelerate"}


class Job:
    """The results of a torchrun job."""

    def __init__(self, folder: Path, process: subprocess.CompletedProcess[str]) -> None:
        self.folder = folder
        self.returncode, self.errors = process.returncode, process.stderr

    def said(self, name: str, rank: int = 0) -> dict[str, Any]:
        """Returns the expected values of a process."""
        path = self.folder / name / f"{rank}.json"
        assert path.exists(), self.errors
        return dict(json.loads(path.read_text()))

    def run(self, name: str) -> History:
        """The scenario's only run, as recorded."""
        query = Query(directory=self.folder / name / "runs")
        with pytest.MonkeyPatch.context() as monkeypatch:  # as the user who ran the job
            monkeypatch.setenv("XDG_STATE_HOME", str(self.folder / "state"))
            (history,) = LocalTracker().histories(query)
        return history


def torchrun(folder: Path, scenarios: dict[str, dict[str, Any]], **environment: str) -> Job:
    """Runs scenarios in two processes and makes sure that no process is left."""
    listed = [{"folder": str(folder / name), **each} for name, each in scenarios.items()]
    for name in scenarios:
        (folder / name).mkdir(parents=True)
    (folder / "scenarios.json").write_text(json.dumps(listed))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--local-addr", "127.0.0.1", "--nproc-per-node", "2"]
    command += [str(TRAINER), str(folder / "scenarios.json")]
    ours = {key: value for key, value in os.environ.items() if "LRTRACK" not in key}
    place = {"HOME": str(folder), "OMP_NUM_THREADS": "1", "LRTRACK_SHIPPER_IDLE": "0.5"}
    place["XDG_STATE_HOME"] = str(folder / "state")
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**ours, **place, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, errors = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        for each in started_in(folder):
            each.kill()
        out, errors = process.communicate()
        pytest.fail(f"the job hangs: {errors}{out}")
    finally:
        for each in started_in(folder):
            each.kill()
    return Job(folder, subprocess.CompletedProcess(command, process.returncode, out, errors))


def started_in(folder: Path) -> list[psutil.Process]:
    """Returns the living processes of a job: torchrun and its workers."""
    processes = []
    for process in psutil.process_iter(["cmdline"]):
        if any(str(folder / "scenarios.json") == part for part in process.info["cmdline"] or []):
            processes.append(process)
    return processes


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, mlflow_database: Path) -> Job:
    """All scenarios that end normally, in one job, because a process takes seconds to start."""
    folder = tmp_path_factory.mktemp("job")
    store = folder / "mlflow.db"
    store.write_bytes(mlflow_database.read_bytes())
    return torchrun(folder, SCENARIOS, MLFLOW_TRACKING_URI=f"sqlite:///{store}")


@pytest.fixture(scope="module")
def single() -> Callable[..., list[dict[str, float]]]:
    """Returns the expected values of the training in one process, on the whole batch."""

    def train(**options: Any) -> list[dict[str, float]]:
        training = Training("alone", **options)
        for _ in range(STEPS):
            training.step()
        return training.truth

    return train


def test_the_job_comes_to_its_end(job: Job) -> None:
    """No process waits forever for another."""
    assert job.returncode == 0, job.errors


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("norms", NORMS)
def test_one_run_with_the_global_norms(job: Job, single: Any, way: str, norms: str) -> None:
    """Rank 0 alone writes, with the norms of the whole batch's gradients and its own loss."""
    run, truth, whole = job.run(f"{way} {norms}"), job.said(f"{way} {norms}")["truth"], single()
    names = {"lr", "lr/0", "lr/1", "loss", "grad_norm"}
    parts = {name for name in truth[0] if name.startswith("grad_norm/")}
    of_groups = {"grad_norm/0", "grad_norm/1"}
    names |= {"global": set(), "group": of_groups, "layer": parts - of_groups}[norms]

    assert names == set(run.metrics)
    assert (run.run.world_size, run.state) == (2, State.FINISHED)
    assert list(range(STEPS)) == list(run.steps)
    for name in names - {"lr/0", "lr/1"}:
        exact = 0 if name in ("lr", "loss") else 1e-6
        expected = pytest.approx([step[name] for step in truth], rel=exact, abs=0)
        assert expected == list(run.metrics[name])
    for name in names - {"loss", "lr/0", "lr/1"}:
        expected = pytest.approx([step[name.replace("module.", "")] for step in whole], rel=1e-5)
        assert expected == list(run.metrics[name])


@pytest.mark.parametrize("way", WAYS)
def test_the_norm_before_clipping(job: Job, way: str) -> None:
    """Under FSDP2 `clip_grad_norm_` returns a DTensor, whose whole value is recorded."""
    run, truth = job.run(f"{way} clip"), job.said(f"{way} clip")["truth"]

    for name in ("grad_norm_preclip", "grad_norm"):
        expected = pytest.approx([step[name] for step in truth], rel=1e-6, abs=0)
        assert expected == list(run.metrics[name])[:STEPS]


@pytest.mark.parametrize("way", WAYS)
def test_weights_are_bit_equal(job: Job, way: str) -> None:
    """Every process ends with the same weights as without lrtrack."""
    for rank in range(2):
        bare = job.said(f"{way} bare", rank)["weights"]
        clipped = job.said(f"{way} clip bare", rank)["weights"]

        assert [bare] * len(NORMS) == [job.said(f"{way} {n}", rank)["weights"] for n in NORMS]
        assert clipped != bare


@pytest.mark.parametrize(("scenario", "expected"), [("ddp clip", 0), ("fsdp clip", 1)])
def test_collectives_do_not_grow_with_the_model(job: Job, scenario: str, expected: int) -> None:
    """All sharded gradients of a mesh need one collective, and unsharded ones need none."""
    assert [expected] * 2 == [job.said(scenario, rank)["collectives"] for rank in range(2)]


def test_ways_of_sharing_may_be_mixed(job: Job) -> None:
    """Plain tensors, copies, shards over several meshes, partial sums and missing gradients mix."""
    run, truth = job.run("handmade"), job.said("handmade")["truth"]
    names = set(truth[0]) - {"grad_norm/lacking"}  # of which rank 0 has nothing

    assert names == set(run.metrics)
    for name in names:
        expected = pytest.approx([step[name] for step in truth], rel=1e-6, abs=0)
        assert expected == list(run.metrics[name])[:STEPS]


@pytest.mark.parametrize(("way", "every"), [("fsdp", 2), ("hsdp", 2), ("handmade", 1)])
def test_updates_of_sharded_weights(job: Job, way: str, every: int) -> None:
    """The norms of updates and weights are those of the whole parameters."""
    run, truth = job.run(f"{way} updates"), job.said(f"{way} updates")["truth"]
    names = [name for name in truth[0] if name.startswith(("update_", "weight_"))]

    assert len(names) == 3 + 3 * 6
    for name in names:
        steps, values = run.series(name)
        measured = dict(zip(steps.tolist(), values.tolist(), strict=True))
        expected = {at: truth[at][name] for at in range(0, STEPS, every)}
        assert pytest.approx(expected, rel=1e-5, abs=1e-7) == {at: measured[at] for at in expected}


def test_what_updates_cost(job: Job) -> None:
    """Measuring updates changes no weight, and takes two more collectives, however many weights."""
    for rank in range(2):
        assert job.said("fsdp bare", rank)["weights"] == job.said("fsdp updates", rank)["weights"]
        assert job.said("hsdp updates", rank)["collectives"] == 3


def test_a_process_without_memory_for_a_copy(job: Job) -> None:
    """A process that cannot copy its weights stops nobody; the shared norms are NaN then."""
    run = job.run("handmade large")

    assert list(run.steps) == list(range(STEPS))
    assert all(math.isnan(value) for value in run.series("update_norm/sharded")[1])
    assert all(value > 0 for value in run.series("update_norm/plain")[1])
    assert job.errors.count("could not observe the update: MemoryError('too large')") == 1


def test_no_norms(job: Job) -> None:
    """With `norms="off"`, the norm that the user's own clipping found is still recorded."""
    run, truth = job.run("off"), job.said("off")["truth"]
    expected = pytest.approx([step["grad_norm_preclip"] for step in truth], rel=1e-6, abs=0)

    assert expected == list(run.metrics["grad_norm_preclip"])
    assert "grad_norm" not in run.metrics


def test_every_second_step(job: Job) -> None:
    """With `every=2`, all processes skip the same steps."""
    run, truth = job.run("every"), job.said("every")["truth"]
    expected = pytest.approx([step["grad_norm"] for step in truth[::2]], rel=1e-6, abs=0)

    assert list(run.steps) == [0, 2, 4]
    assert expected == list(run.metrics["grad_norm"])


def test_a_run_that_only_rank_0_can_resume(job: Job) -> None:
    """The other ranks take part in the steps that rank 0 records in a resumed run."""
    run = job.run("first")
    truth = [*job.said("first")["truth"], *job.said("resumed")["truth"]]
    expected = pytest.approx([step["grad_norm"] for step in truth[::2]], rel=1e-6, abs=0)

    assert list(run.steps) == [0, 2, 4, 6, 8]
    assert expected == list(run.metrics["grad_norm"])
    assert [job.said("resumed", rank)["step"] for rank in range(2)] == [9, 9]


def test_an_unwritable_directory_of_rank_0(job: Job) -> None:
    """An unwritable directory of rank 0 costs the record, and rank 0 still joins the
    collectives.
    """
    assert job.said("unwritable")["step"] == STEPS - 1
    assert job.said("fsdp bare")["weights"] == job.said("unwritable")["weights"]
    assert job.errors.count("Training continues without a record") == 1


def test_a_block_on_rank_0_alone(job: Job) -> None:
    """A block on rank 0 alone records no norms of shards, and warns, because they need all
    ranks.
    """
    run, truth = job.run("alone"), job.said("alone")["truth"]

    assert {"lr", "lr/0", "lr/1", "loss", "grad_norm_preclip"} == set(run.metrics)
    assert [step["loss"] for step in truth] == list(run.metrics["loss"])
    assert job.said("fsdp clip bare")["weights"] == job.said("alone")["weights"]
    assert job.errors.count("use track() on every rank") == 1
    assert "grad_norm" in job.run("together again").metrics


@pytest.mark.skipif(not ACCELERATE, reason="needs accelerate")
def test_accelerate(job: Job, single: Any) -> None:
    """accelerate's scheduler moves once for each process, and its rate is read at each step."""
    run, truth, whole = job.run("accelerate"), job.said("accelerate")["truth"], single()
    norms = pytest.approx([step["grad_norm"] for step in whole[:1]], rel=1e-5)

    assert [0.05 * 0.5**at for at in range(STEPS)] == list(run.metrics["lr"])
    assert [step["loss"] for step in truth] == list(run.metrics["loss"])
    assert norms == list(run.metrics["grad_norm"])[:1]
    assert (run.run.world_size, run.run.schedule.name) == (2, "StepLR")
    assert run.run.optimizer["name"] == "AdamW"


def test_one_run_in_mlflow(job: Job, within_seconds: Any) -> None:
    """MLflow has one run with the number of processes."""
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{job.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("X")
    (run,) = client.search_runs([experiment.experiment_id])
    truth = [step["grad_norm"] for step in job.said("mlflow")["truth"]]
    history = client.get_metric_history(run.info.run_id, "grad_norm")

    assert run.data.tags["lrtrack.world_size"] == "2"
    assert run.info.status == "FINISHED"
    assert pytest.approx(truth, rel=1e-6, abs=0) == [point.value for point in history]


def test_open_before_the_processes_know_of_each_other(tmp_path: Path) -> None:
    """Until the process group exists, torchrun's variables give rank and world size."""
    late = {"way": "ddp", "late": True, "track": {"loss_over": "mean"}}
    job = torchrun(tmp_path / "job", {"late": late})
    run = job.run("late")
    own = [[step["loss"] for step in job.said("late", rank)["truth"]] for rank in range(2)]

    assert job.returncode == 0, job.errors
    assert (run.run.world_size, run.state) == (2, State.FINISHED)
    assert [sum(losses) / 2 for losses in zip(*own, strict=True)] == list(run.metrics["loss"])


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_fails(tmp_path: Path, rank: int) -> None:
    """A job in which a process fails ends as without lrtrack, with everything recorded until
    then.
    """
    fails = {"way": "fsdp", "fail": [rank, 3], "track": {"loss_over": "mean"}}
    job = torchrun(tmp_path / "job", {"fails": fails})
    run = job.run("fails")

    assert job.returncode == 1
    assert "this process has had enough" in job.errors
    assert list(run.steps) == [0, 1, 2]
    assert run.state == State.FAILED
