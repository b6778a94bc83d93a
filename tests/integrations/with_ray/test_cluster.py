"""Sweeps on two nodes, into an `mlflow server`: both break, and drivers are interrupted.

The truth is what the trials noted themselves. It takes a minute or two, for about twenty workers.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from fixtures.isolation import within
from fixtures.processes import mentioning

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # before Ray is imported
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else one in the user's home

import ray
from ray import cloudpickle, tune
from ray.cluster_utils import Cluster

from lrtrack.comparing import fetch
from lrtrack.errors import NothingFound
from lrtrack.records import History, State
from lrtrack.trackers.base import Query
from lrtrack.trackers.local import LocalTracker

from . import cluster_program

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
FINISHED, FAILED = State.FINISHED, State.FAILED
PASSWORD = "geheim-geheim"


@pytest.fixture(scope="module")
def place(long_place) -> Iterator[Path]:
    """A working directory for all sweeps."""
    with long_place() as folder:
        yield folder


@pytest.fixture(scope="module")
def cluster(place: Path, served: Any) -> Iterator[Cluster]:
    """A head, and another node, which will be lost; nothing is left of them afterwards."""
    cloudpickle.register_pickle_by_value(cluster_program)
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # sockets need short paths
    Path(folder, "ray").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)
        patch.setenv("RAY_health_check_period_ms", "500")  # five failures mean that a node is lost
        head = {"num_cpus": 1, "include_dashboard": False, "resources": {"head": 1}}
        nodes = Cluster(initialize_head=True, head_node_args=head)
        ray.init(address=nodes.address, log_to_driver=False)  # to the head: the other node goes
        nodes.add_node(num_cpus=1, resources={"other": 1})
        # Only now, so that the workers do not inherit it.
        patch.setenv("MLFLOW_TRACKING_URI", served.uri.replace("//", f"//me:{PASSWORD}@"))
        patch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "1")
        yield nodes
        ray.shutdown()
        nodes.shutdown()
    within(300, lambda: mentioning(folder) == [])
    shutil.rmtree(folder, ignore_errors=True)


def noted(folder: Path) -> list[dict[str, Any]]:
    """Returns what the trials of a sweep have noted, trial by trial."""
    files = sorted(folder.glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def lives(process_id: int) -> bool:
    """Returns whether a process is there, and is not one that only nobody has waited for."""
    try:
        return psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def waiting(folder: Path, kinds: tuple[str, ...]) -> None:
    """Waits until all trials are in the middle, and all their steps are in the journals."""
    within(300, lambda: all((folder / f"{kind}.waiting").exists() for kind in kinds))
    journals = Query(directory=folder.parent / ".lrtrack")

    def steps() -> list[int]:
        histories = LocalTracker().histories(journals)
        return [h.steps.size for h in histories if h.run.group == folder.name]

    within(300, lambda: steps() == [9] * len(kinds))


NODES = ("head", "kept", "unkept")


@pytest.fixture(scope="module")
def lost(cluster: Cluster, served: Any, place: Path) -> None:
    """A sweep during which the server is down and a node is lost."""
    folder = place / "lost"
    folder.mkdir()

    with ThreadPoolExecutor() as pool:  # Ray starts nodes in the main thread alone
        fitting = pool.submit(cluster_program.tuner("lost", folder, NODES, retries=1).fit)
        try:
            waiting(folder, NODES)
            served.stop()
            by_node = {line["node"]: line["pid"] for line in noted(folder)}
            used = [node for node in cluster.worker_nodes if node.node_id in by_node]
            for node in used:
                cluster.remove_node(node, allow_graceful=False)
            lost = [by_node[node.node_id] for node in used]
            within(300, lambda: not any(map(lives, lost)))
            cluster.add_node(num_cpus=1, resources={"other": 1})
            (folder / "go").touch()
        except BaseException:
            ray.shutdown()  # which ends the sweep
            raise
        results = fitting.result()
    served.start()
    assert results.num_errors == 0


def driver(cluster: Cluster, name: str) -> subprocess.Popen[str]:
    """Starts the driver of a sweep of that name."""
    Path(name).mkdir()
    command = [sys.executable, "-P", cluster_program.__file__, cluster.address, name]
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def saved(folder: Path) -> bool:
    """Returns whether Ray has saved that one trial has failed, and the others' checkpoints."""
    last = max(file.stat().st_mtime for file in folder.glob("*.waiting"))
    states = list((folder.parent / "ray" / folder.name).glob("experiment_state*"))
    return any(s.stat().st_mtime > last and "ERROR" in s.read_text() for s in states)


@pytest.fixture(scope="module")
def interrupted(cluster: Cluster, place: Path) -> None:
    """A sweep that goes on after Ctrl-C, also its failed trial."""
    process = driver(cluster, "interrupted")
    waiting(place / "interrupted", cluster_program.KINDS)
    within(300, lambda: saved(place / "interrupted"))
    os.killpg(process.pid, signal.SIGINT)
    assert process.stderr is not None
    next(line for line in process.stderr if "Stop signal received" in line)
    (place / "interrupted" / "go").touch()
    process.communicate()
    assert process.returncode == 0
    restore("interrupted", resume_errored=True)


@pytest.fixture(scope="module")
def killed(cluster: Cluster, place: Path) -> None:
    """A sweep that goes on after SIGKILL, where its failed trial starts over."""
    process = driver(cluster, "killed")
    waiting(place / "killed", cluster_program.KINDS)
    within(300, lambda: saved(place / "killed"))
    process.kill()
    process.communicate()
    within(300, lambda: not [n for n in noted(place / "killed") if lives(n["pid"])])
    (place / "killed" / "go").touch()
    restore("killed", restart_errored=True)


def restore(name: str, **options: bool) -> None:
    """Has a sweep go on."""
    trainable = cluster_program.trainable()
    again = tune.Tuner.restore(str(Path("ray", name).absolute()), trainable=trainable, **options)
    assert again.fit().num_errors == 0


@pytest.fixture(scope="module")
def searched(cluster: Cluster, place: Path) -> dict[str, list[float]]:
    """A search of transformers' Trainer; returns the rates of its trials by their names."""
    pytest.importorskip("transformers", reason="`tox -e lowest-ray` has only Ray")
    from . import search_program

    cloudpickle.register_pickle_by_value(search_program)
    search_program.search("searched", place)
    files = (place / "searched").glob("*.jsonl")
    return {file.stem: [*map(json.loads, file.read_text().splitlines())] for file in files}


@pytest.fixture(scope="module")
def swept(lost: None, interrupted: None, killed: None) -> None:
    """All sweeps, which are over when the first test begins."""


@dataclass(frozen=True)
class Situation:
    """A trial, and what becomes of it.

    Attributes:
        sweep: its sweep.
        kind: which of its trials.
        expected: the states of its runs, in the order in which they began.
    """

    sweep: str
    kind: str
    expected: list[State]


SITUATIONS = {
    "on the head, the server down": Situation("lost", "head", [FINISHED]),
    "a lost node, with a checkpoint": Situation("lost", "kept", [FINISHED]),
    "a lost node, without": Situation("lost", "unkept", [FAILED, FINISHED]),
    "Ctrl-C, with a checkpoint": Situation("interrupted", "kept", [FINISHED]),
    "Ctrl-C, without": Situation("interrupted", "unkept", [FAILED, FINISHED]),
    "failed, then resumed": Situation("interrupted", "failing", [FINISHED]),
    "kill -9, with a checkpoint": Situation("killed", "kept", [FINISHED]),
    "kill -9, without": Situation("killed", "unkept", [FAILED, FINISHED]),
    "failed, then started over": Situation("killed", "failing", [FAILED, FINISHED]),
}


def attempts_of(lines: list[dict[str, Any]]) -> list[dict[int, dict[str, Any]]]:
    """Returns the steps of each attempt at a trial, with those of its retries from checkpoints."""
    attempts: list[dict[int, dict[str, Any]]] = []
    for line in lines:
        if line["step"] == 0:
            attempts.append({})
        attempts[-1][line["step"]] = line
    return attempts


def arrived(names: set[str]) -> list[History]:
    """Returns the server's runs of these trials, in the order in which they began."""
    try:
        histories = [h for h in fetch("rays") if h.run.name in names]
    except NothingFound:
        return []
    return sorted(histories, key=lambda history: history.run.started)


@pytest.mark.parametrize("name", SITUATIONS)
def test_trials(
    name: str, swept: None, place: Path, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attempt that did not go on in another's run is a run at the server with what it made."""
    situation = SITUATIONS[name]
    sweep = situation.sweep
    monkeypatch.setenv("MLFLOW_TRACKING_URI", served.uri)
    attempts = attempts_of([n for n in noted(place / sweep) if n["kind"] == situation.kind])
    names = [next(iter(steps.values()))["trial"] for steps in attempts]
    within(300, lambda: [h.state for h in arrived(set(names))] == situation.expected)
    histories = arrived(set(names))

    assert names == [history.run.name for history in histories]
    assert {(sweep, 1)} == {(history.run.group, history.run.seed) for history in histories}
    for steps, history in zip(attempts, histories, strict=True):
        assert list(steps) == history.steps.tolist()
        for metric in ("lr", "loss"):
            assert [steps[s][metric] for s in steps] == history.metrics[metric].tolist()
    assert list(attempts[-1]) == list(range(cluster_program.TOTAL))


def test_a_search_of_transformers(
    searched: dict[str, list[float]], served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial of a Trainer's search is a run of its name at the driver's server; FINISHED if Ray
    stops it after its last step only.
    """
    monkeypatch.setenv("MLFLOW_TRACKING_URI", served.uri)
    names = set(searched)
    expected = {FINISHED: 12, FAILED: 4}
    within(300, lambda: {h.state for h in arrived(names)} == expected.keys())
    histories = arrived(names)

    assert {history.run.group for history in histories} == {"searched"}
    assert expected == {history.state: history.steps.size for history in histories}
    assert searched == {h.run.name: h.metrics["lr"].tolist() for h in histories}
