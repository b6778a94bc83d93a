"""Runs read back from W&B, from their files and from their rows."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import lrtrack
from lrtrack.errors import NothingFound, TrackerError, TrackerUnavailable, UsageError
from lrtrack.records import History, State
from lrtrack.trackers.base import Query
from lrtrack.trackers.wandb import WandbTracker

LOSSES = [1.0, 1 / 3, math.nan, math.inf, -math.inf, 1e-300]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A separate cache directory."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def train(seed: int = 0, **options: Any) -> str:
    """Track six steps with the losses `LOSSES`; return the run's id."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=1 / 3)
    defaults = {"tracker": "wandb", "experiment": "x", "norms": "off", "flush_timeout": 300.0}
    with lrtrack.track(optimizer, scheduler, seed=seed, **{**defaults, **options}) as run:
        for loss in LOSSES:
            optimizer.step()
            run.log(loss=loss)
            scheduler.step()
    return run.id


def read(**query: Any) -> list[History]:
    """All histories of the project `x`."""
    return list(WandbTracker().histories(Query(**{"experiment": "x", **query})))


def same(actual: np.ndarray, expected: np.ndarray) -> bool:
    """Whether arrays are equal, NaN included."""
    return np.array_equal(actual, expected, equal_nan=True)


def downloads(server: Any) -> list[str]:
    """The server operations that fetched histories."""
    fetching = ("download", "HistoryKeys", "RunHistoryKeys", "RunParquetHistory", "HistoryPage")
    return [name for name in server.operations() if name in fetching]


def test_the_columnar_file(wandb_server):
    """The columnar file gives steps, learning rates, losses and the run's description back."""
    run_id = train(seed=3, config={"depth": 2}, group="g", tags={"who": "me"})
    (history,) = read()

    assert history.id == history.run.id == run_id
    assert history.state is State.FINISHED
    assert history.steps.tolist() == [0, 1, 2, 3, 4, 5]
    assert same(history.metrics["loss"], np.array(LOSSES))
    assert history.metrics["lr"][1] == 0.1 * (1 / 3)
    assert (history.run.seed, history.run.group) == (3, "g")
    assert history.run.config == {"depth": 2}
    assert history.run.tags == {"who": "me"}
    assert history.run.schedule.to_dict() == {"name": "ExponentialLR", "gamma": 1 / 3}
    assert history.run.device_type == "cpu"
    assert history.run.torch_version == str(torch.__version__)
    assert history.url == f"{wandb_server.url}/tester/x/runs/{run_id}"


@pytest.mark.parametrize("harm", ["missing", "torn"])
def test_rows_replace_a_damaged_file(wandb_server, harm: str):
    """If the file is missing or damaged, the run's rows give the same steps."""
    train()
    (before,) = read(cache=False)
    (run,) = wandb_server.runs("tester/x")
    content = run.files.pop("lrtrack/history.parquet")
    if harm == "torn":
        run.files["lrtrack/history.parquet"] = content[:50]
    (after,) = read(cache=False)

    assert after.steps.tolist() == before.steps.tolist()
    assert after.metrics.keys() == before.metrics.keys()
    for name, values in before.metrics.items():
        assert same(after.metrics[name], values)


def test_a_finished_run_is_fetched_once(wandb_server):
    """A finished run is read from the cache, unless the cache is off."""
    train()
    (first,) = read()
    after_first = len(downloads(wandb_server))
    (second,) = read()
    after_second = len(downloads(wandb_server))
    (third,) = read(cache=False)

    assert after_first > 0
    assert after_second == after_first
    assert len(downloads(wandb_server)) > after_second
    assert same(first.metrics["loss"], second.metrics["loss"])
    assert same(first.metrics["loss"], third.metrics["loss"])


def test_a_damaged_copy_is_ignored(wandb_server, cache: Path):
    """A damaged copy in the cache is ignored."""
    train()
    read()
    (copy,) = cache.rglob("*.arrow")
    copy.write_bytes(b"not a history")
    (history,) = read()

    assert same(history.metrics["loss"], np.array(LOSSES))


def test_the_server_applies_raw_filters(wandb_server):
    """Raw filters, as `FIELD OP VALUE` or W&B's own JSON, are sent to the server."""
    train(seed=0, group="a")
    run_id = train(seed=1, group="b")

    assert [history.id for history in read(raw_filters=["group=b"])] == [run_id]
    assert [history.id for history in read(raw_filters=['{"group": "b"}'])] == [run_id]
    with pytest.raises(UsageError, match="Cannot read the --filter-raw"):
        read(raw_filters=["group is b"])
    with pytest.raises(UsageError, match="as JSON"):
        read(raw_filters=["{group: b}"])


def test_newest_first_with_progress(wandb_server):
    """Runs come newest first, and progress is reported for each."""
    ids = [train(seed=seed) for seed in range(3)]
    progress: list[tuple[int, int]] = []
    histories = WandbTracker().histories(
        Query(experiment="x"), lambda *counts: progress.append(counts)
    )

    assert [history.id for history in histories] == ids[::-1]
    assert progress == [(1, 3), (2, 3), (3, 3)]


def test_an_unknown_project_says_what_exists(wandb_server):
    """An unknown project is an error that suggests the nearest name."""
    train()

    with pytest.raises(NothingFound, match=r"Unknown project 'xx'.*'x'"):
        read(experiment="xx")
    with pytest.raises(NothingFound, match="entity 'nobody'; your own is 'tester'"):
        read(experiment="nobody/x")


def test_without_a_key(wandb_server, monkeypatch):
    """Without an API key, the error names the command that sets one."""
    monkeypatch.delenv("WANDB_API_KEY")

    with pytest.raises(UsageError, match="wandb login"):
        read()


def test_a_wrong_key(wandb_server, monkeypatch):
    """A wrong API key is reported as such, not as a server that is down."""
    monkeypatch.setenv("WANDB_API_KEY", "f" * 40)

    with pytest.raises(TrackerError, match="refused the API key"):
        read()


def test_requests_are_retried_after_status_429(wandb_server):
    """Requests are retried after status 429."""
    train()
    answers = iter([True, True])

    def busy(method: str, path: str, body: str) -> Any:
        lists_runs = "Runs" in body or "runs(" in body
        return (429, {"Retry-After": "0"}, "{}") if lists_runs and next(answers, False) else None

    wandb_server.fault = busy
    (history,) = read()

    assert same(history.metrics["loss"], np.array(LOSSES))


def test_a_manipulated_config(wandb_server, cache: Path):
    """A manipulated config causes no crash, and its run id is not used as a path."""
    train()
    (run,) = wandb_server.runs("tester/x")
    config = run.raw_config["lrtrack"]["value"]
    config.update(run_id="../../etc/x", device="odd", optimizer=[1], seed="one", tags=7)
    config.update(started="now", world_size="many", scheduler={"spec": "{", "name": ["x"]})
    (history,) = read()

    assert history.run.id == "../../etc/x"
    assert history.run.seed is None
    assert all(path.stem.isalnum() for path in cache.rglob("*.arrow"))


def test_the_users_own_metric(wandb_server, command_line, clean_place):
    """A metric that the user logged into a joined run can be compared."""
    code = """
import torch, wandb, lrtrack
optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1)
with wandb.init(project="x") as run:
    run.log({"mine": 7.0})
    with lrtrack.track(optimizer, flush_timeout=300):
        for step in range(20):
            optimizer.step()
    run.log({"mine": 8.0})
"""
    from wandb_loopback.clients import script

    process = script(wandb_server, code)
    (history,) = read(metric="mine")
    assert "mine" not in read(metric="loss")[0].metrics  # keeps a copy of the run
    (over,) = read(metric="loss", axis="mine")
    report = command_line("compare", "--tracker", "wandb", "--experiment", "x", "--metric", "mine",
                         "--format", "json")  # fmt: skip

    assert process.returncode == 0, process.stderr
    assert history.series("mine")[1].tolist() == [7.0, 8.0]
    assert over.series("mine")[1].tolist() == [7.0, 8.0]
    assert history.steps.tolist() == list(range(20))
    assert json.loads(report.stdout)["schedules"][0]["final"]["mean"] == 8.0


def test_a_server_that_is_down(wandb_server):
    """The error for a server that is down names the server."""
    wandb_server.down()

    with pytest.raises(TrackerUnavailable, match=wandb_server.url):
        read()
