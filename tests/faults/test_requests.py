"""Requests that are delayed, refused or lost: everything arrives, and arrives once."""

from __future__ import annotations

import os
import random
import time
from email.utils import formatdate

import mlflow
import pytest

import lrtrack
from lrtrack.shipping import spawn

from .proxy import Fault
from .trainer import truth
from .training import SLACK, train

STEPS = 40
#: The requests that the delivery of a run makes, in order.
ASKED = (
    "experiments/get-by-name",
    "experiments/create",
    "runs/search",
    "runs/create",
    "runs/get",
    "runs/log-batch",
    "mlflow-artifacts",
    "runs/set-tag",
    "runs/update",
)


@pytest.fixture(autouse=True)
def through_the_proxy(proxy, monkeypatch):
    """Sends all of lrtrack's requests through the proxy."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.uri)


def everything_once(delivered, steps: int = STEPS) -> None:
    """Asserts that there is one finished run with each step once."""
    assert [run.info.status for run in delivered.runs()] == ["FINISHED"]
    assert delivered.losses() == truth(steps)


@pytest.mark.parametrize("cut", ["before", "amid"])
def test_a_lost_answer_makes_no_second_run(served, proxy, stored, cut):
    """A run whose creation was not answered is found again instead of created twice."""
    proxy.hurt("runs/create", cut=cut)
    train(STEPS, flush_timeout=300)

    everything_once(stored(served.uri))
    assert [request.status for request in proxy.asked("runs/create")] == [0]


@pytest.mark.parametrize("paths", [ASKED[:3], ASKED[3:6], ASKED[6:]], ids=lambda paths: paths[0])
def test_every_kind_of_answer_may_be_lost(served, proxy, stored, paths):
    """A request whose answer was lost is not repeated if the server carried it out."""
    faults = [proxy.hurt(path, cut="before") for path in paths]
    train(STEPS, flush_timeout=300)

    everything_once(stored(served.uri))
    assert [(fault.path, fault.times) for fault in faults] == [(path, 0) for path in paths]


def test_a_lost_batch_is_not_stored_twice(served, proxy, stored):
    """Batches of steps whose answers are lost leave each step once."""
    fault = proxy.hurt("runs/log-batch", times=3, cut="amid", holding=b'"loss"')
    train(2500, flush_timeout=300)

    assert fault.times == 0
    everything_once(stored(served.uri), 2500)


def in_three_seconds() -> str:
    """Returns an HTTP date three whole seconds ahead."""
    return formatdate(time.time() + 3.999, usegmt=True)


@pytest.mark.parametrize(
    ("path", "status", "header"),
    [
        ("runs/create", 429, "3"),
        ("runs/log-batch", 503, in_three_seconds),
        ("mlflow-artifacts", 429, "3"),
    ],
)
def test_a_server_gets_the_pause_that_it_asks_for(served, proxy, stored, path, status, header):
    """After `Retry-After` no request is sent before that time, and then everything is delivered."""
    proxy.hurt(path, status=status, headers={"Retry-After": header})
    train(STEPS, flush_timeout=300)

    everything_once(stored(served.uri))
    (refused,) = [request for request in proxy.requests if request.status == status]
    after = min(request.time for request in proxy.requests if request.time > refused.time)
    assert after - refused.time >= 2.9


def test_troubles_of_the_server_pass(served, proxy, stored):
    """Any error on the side of a server or gateway is retried."""
    statuses = (500, 502, 504, 408)
    for path, status in zip(ASKED[-4:], statuses, strict=True):
        proxy.hurt(path, status=status, body="<html><title>Sorry</title></html>")
    train(STEPS, flush_timeout=300)

    everything_once(stored(served.uri))
    statuses_seen = {request.status for request in proxy.requests}
    assert set(statuses) <= statuses_seen


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (401, "You are not authenticated.", r"answers 401 \(Unauthorized\).*MLFLOW_TRACKING_USER"),
        (401, '{"detail": "no token"}', "MLFLOW_TRACKING_USERNAME"),
        (403, '{"error_code": "PERMISSION_DENIED", "message": "not yours"}', "not yours"),
        (404, "<html>nothing here</html>", "the address of an MLflow server"),
    ],
)
def test_what_a_server_refuses_for_good(
    served, proxy, stored, command_line, living_shippers, within_seconds, status, body, message
):
    """A final refusal is one warning with a fix, no further request, and delivery by `lrtrack
    sync`.

    This includes JSON that is not MLflow's, as from proxies that ask for a token.
    """
    proxy.hurt("/api/", times=float("inf"), status=status, body=body)
    with pytest.warns(lrtrack.LRTrackWarning, match=message):
        train(STEPS, flush_timeout=30)
    within_seconds(20, lambda: living_shippers() == [])
    requests = len(proxy.requests)
    proxy.heal()
    sync = command_line("sync")

    assert requests == 1
    assert sync.returncode == 0, sync.stderr
    everything_once(stored(served.uri))


@pytest.mark.soak
def test_a_slow_server_holds_nothing_up(served, proxy, stored, within_seconds):
    """With 2 s before each answer, the block ends in time and everything arrives once."""
    proxy.delay = 2.0
    start = time.monotonic()
    with pytest.warns(lrtrack.LRTrackWarning, match="Upload is still running"):
        end = train(STEPS, pause=0.02, flush_timeout=1)
    took = time.monotonic() - start
    proxy.delay = 2.0
    within_seconds(120, lambda: stored(served.uri).status() == "FINISHED")

    assert end < 2 + SLACK
    assert took < 0.02 * STEPS + 2 + 2 * SLACK
    everything_once(stored(served.uri))


def test_a_server_that_does_what_it_likes(served, proxy, stored, repeats, command_line):
    """Through any mixture of delays, refusals and lost answers, each run arrives once."""
    seed = 0
    chance = random.Random(seed)
    kinds = [{"status": 500}, {"status": 429, "headers": {"Retry-After": "1"}}, {"status": 503}]
    kinds += [{"cut": "before"}, {"cut": "amid"}]

    def whim(path: str) -> Fault | None:
        proxy.delay = chance.choice([0.0, 0.0, 0.1])
        return Fault(path, **chance.choice(kinds)) if chance.random() < 0.1 else None

    rounds = repeats(1, 30)
    proxy.whim = whim
    for number in range(rounds):
        train(1200, flush_timeout=240, experiment=f"round {number}")
    proxy.whim = None
    sync = command_line("sync")

    assert sync.returncode == 0, sync.stderr
    client = mlflow.MlflowClient(served.uri)
    for number in range(rounds):
        experiment = client.get_experiment_by_name(f"round {number}")
        (run,) = client.search_runs([experiment.experiment_id])
        assert run.info.status == "FINISHED"
        losses = stored(served.uri).losses(run.info.run_id)
        assert losses == truth(1200), f"seed {seed}, round {number}"


def test_in_the_users_process_his_own_requests_stay_mlflows(
    served, proxy, stored, clean_place, monkeypatch
):
    """A delivery thread sends its requests once, and leaves the user's own requests to MLflow."""
    monkeypatch.setattr(spawn.sys, "executable", str(clean_place / "no-such-python"))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    before = {name: text for name, text in os.environ.items() if name.startswith("MLFLOW_")}
    proxy.hurt("runs/create", cut="before")
    with pytest.warns(lrtrack.LRTrackWarning, match="A thread uploads this run instead"):
        train(STEPS, flush_timeout=300)
    proxy.hurt("experiments/search", times=2, cut="before")
    names = [experiment.name for experiment in mlflow.MlflowClient(proxy.uri).search_experiments()]

    everything_once(stored(served.uri))
    assert len(proxy.asked("runs/create")) == 1
    assert "faults" in names
    assert len(proxy.asked("experiments/search")) == 3
    assert {n: text for n, text in os.environ.items() if n.startswith("MLFLOW_")} == before


def test_a_thread_that_waits_for_an_answer_holds_nothing_up(
    served, proxy, stored, clean_place, monkeypatch, command_line
):
    """A delivery thread lets the block end in time with or without an answer; `sync` delivers the
    rest.
    """
    proxy.delay = 60.0
    with monkeypatch.context() as patch:
        patch.setattr(spawn.sys, "executable", str(clean_place / "no-such-python"))
        with pytest.warns(lrtrack.LRTrackWarning, match="A thread uploads|is still running"):
            end = train(STEPS, flush_timeout=1)
    proxy.heal()
    sync = command_line("sync")

    assert end < 1 + 1 + SLACK
    assert sync.returncode == 0, sync.stderr
    everything_once(stored(served.uri))
