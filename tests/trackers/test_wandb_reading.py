"""What was tracked is read back from W&B, whichever way it is read."""

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
    """A cache directory of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def train(seed: int = 0, **options: Any) -> str:
    """Track six steps with known losses; the run's id."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=1 / 3)
    given = {"tracker": "wandb", "experiment": "x", "norms": "off", "flush_timeout": 300.0}
    with lrtrack.track(optimizer, scheduler, seed=seed, **{**given, **options}) as run:
        for loss in LOSSES:
            optimizer.step()
            run.log(loss=loss)
            scheduler.step()
    return run.id


def read(**query: Any) -> list[History]:
    """All histories of the project `x`."""
    return list(WandbTracker().histories(Query(**{"experiment": "x", **query})))


def same(left: np.ndarray, right: np.ndarray) -> bool:
    """Equal, NaN included."""
    return np.array_equal(left, right, equal_nan=True)


def downloads(server: Any) -> list[str]:
    """What was asked of the server to get histories."""
    asked = ("download", "HistoryKeys", "RunHistoryKeys", "RunParquetHistory", "HistoryPage")
    return [name for name in server.operations() if name in asked]


def test_the_columnar_file(wandb_server):
    """Steps, rates and losses as they were, with the run's identity."""
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
    assert history.url == f"{wandb_server.url}/tester/x/runs/{run_id}"


@pytest.mark.parametrize("harm", ["missing", "torn"])
def test_every_row_where_the_file_is_not_whole(wandb_server, harm: str):
    """A file that is lost or torn is not believed; the rows say the same."""
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
    """The second report reads this machine's copy; a broken copy is no copy."""
    train()
    (first,) = read()
    once = len(downloads(wandb_server))
    (second,) = read()
    twice = len(downloads(wandb_server))
    (third,) = read(cache=False)

    assert once > 0
    assert twice == once
    assert len(downloads(wandb_server)) > twice
    assert same(first.metrics["loss"], second.metrics["loss"])
    assert same(first.metrics["loss"], third.metrics["loss"])


def test_a_broken_copy_is_no_copy(wandb_server, cache: Path):
    """What lies in the cache is believed only where it is a history."""
    train()
    read()
    (copy,) = cache.rglob("*.arrow")
    copy.write_bytes(b"not a history")
    (history,) = read()

    assert same(history.metrics["loss"], np.array(LOSSES))


def test_raw_filters_are_the_servers_work(wandb_server):
    """Raw filters, as `FIELD OP VALUE` or W&B's own JSON, are sent to the server."""
    train(seed=0, group="a")
    kept = train(seed=1, group="b")

    assert [history.id for history in read(raw_filters=["group=b"])] == [kept]
    assert [history.id for history in read(raw_filters=['{"group": "b"}'])] == [kept]
    with pytest.raises(UsageError, match="Cannot read the --filter-raw"):
        read(raw_filters=["group is b"])
    with pytest.raises(UsageError, match="as JSON"):
        read(raw_filters=["{group: b}"])


def test_newest_first_with_progress(wandb_server):
    """Runs come newest first, and each one is told."""
    ids = [train(seed=seed) for seed in range(3)]
    seen: list[tuple[int, int]] = []
    found = WandbTracker().histories(Query(experiment="x"), lambda *told: seen.append(told))

    assert [history.id for history in found] == ids[::-1]
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_an_unknown_project_says_what_exists(wandb_server):
    """The nearest name is offered."""
    train()

    with pytest.raises(NothingFound, match=r"Unknown project 'xx'.*'x'"):
        read(experiment="xx")
    with pytest.raises(NothingFound, match="entity 'nobody'; your own is 'tester'"):
        read(experiment="nobody/x")


def test_without_a_key(wandb_server, monkeypatch):
    """The command that sets one is named."""
    monkeypatch.delenv("WANDB_API_KEY")

    with pytest.raises(UsageError, match="wandb login"):
        read()


def test_a_wrong_key(wandb_server, monkeypatch):
    """It is told from a server that is down."""
    monkeypatch.setenv("WANDB_API_KEY", "f" * 40)

    with pytest.raises(TrackerError, match="refused the API key"):
        read()


def test_patience_is_shown_where_it_is_asked_for(wandb_server):
    """A 429 costs time, and nothing else."""
    train()
    answers = iter([True, True])

    def busy(method: str, path: str, body: str) -> Any:
        asked = "Runs" in body or "runs(" in body
        return (429, {"Retry-After": "0"}, "{}") if asked and next(answers, False) else None

    wandb_server.fault = busy
    (history,) = read()

    assert same(history.metrics["loss"], np.array(LOSSES))


def test_hostile_words_stay_words(wandb_server, cache: Path):
    """A config that anyone can edit makes no path, no crash and no other run's schedule."""
    train()
    (run,) = wandb_server.runs("tester/x")
    told = run.raw_config["lrtrack"]["value"]
    told.update(run_id="../../etc/x", device="odd", optimizer=[1], seed="one", tags=7)
    told.update(started="now", world_size="many", scheduler={"spec": "{", "name": ["x"]})
    (history,) = read()

    assert history.run.id == "../../etc/x"
    assert history.run.seed is None
    assert all(path.stem.isalnum() for path in cache.rglob("*.arrow"))


def test_the_users_own_metric(wandb_server, command_line, clean_place):
    """What he logged into the run that was joined can be compared too."""
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

    done = script(wandb_server, code)
    (history,) = read(metric="mine")
    shown = command_line("compare", "--tracker", "wandb", "--experiment", "x", "--metric", "mine",
                         "--format", "json")  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert history.series("mine")[1].tolist() == [7.0, 8.0]
    assert history.steps.tolist() == list(range(20))
    assert json.loads(shown.stdout)["schedules"][0]["final"]["mean"] == 8.0


def test_a_server_that_is_down(wandb_server):
    """The message says which one."""
    wandb_server.down()

    with pytest.raises(TrackerUnavailable, match=wandb_server.url):
        read()
