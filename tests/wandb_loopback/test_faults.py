"""Runs outlive errors, refusals and a server that is away."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from . import Loopback
from .clients import FEW, command, script, values

SLOW = """
import time, wandb
settings = wandb.Settings(
    x_file_stream_transmit_interval=0.1,
    x_file_stream_retry_wait_min_seconds=1,
    x_file_stream_retry_wait_max_seconds=1,
    x_disable_stats=True,
)
with wandb.init(project="p", id="slow", settings=settings) as run:
    for value in range(10):
        run.log({"value": value})
        time.sleep(0.1)
"""


class Faults:
    """Answers the first requests to a path with an error, then leaves them to the server."""

    def __init__(self, part: str, *answers: tuple[int, dict[str, str], str]) -> None:
        self.part = part
        self.answers = list(answers)

    def __call__(self, method: str, path: str, body: str) -> tuple[int, dict[str, str], str] | None:
        return self.answers.pop(0) if self.part in path and self.answers else None


@pytest.mark.parametrize(
    ("how", "answer"),
    [
        ("fault", (500, {}, "oops")),
        ("fault", (429, {"Retry-After": "1"}, "slow down")),
        ("lost", (502, {"Retry-After": "1"}, "bad gateway")),
    ],
)
def test_errors_and_lost_answers_lose_nothing(
    loopback: Loopback, how: str, answer: tuple[int, dict[str, str], str]
) -> None:
    """After an error, before or after the server did its work, each row is there once."""
    faults = Faults("file_stream", answer, answer)
    setattr(loopback, how, faults)
    done = script(loopback, SLOW)

    run = loopback.run("tester/p/slow")
    assert (done.returncode, faults.answers) == (0, []), done.stderr
    assert (values(run), run.state) == (list(range(10)), "finished")


def test_server_goes_away_and_comes_back(loopback: Loopback) -> None:
    """A run whose server is down for a while is there whole afterwards."""

    def hang_up(method: str, path: str, body: str) -> None:
        if "file_stream" in path and not threads:
            threads.append(threading.Thread(target=pause))
            threads[0].start()

    def pause() -> None:
        loopback.down()
        wait.wait(1)
        loopback.up()

    threads: list[threading.Thread] = []
    wait = threading.Event()
    loopback.fault = hang_up
    done = script(loopback, SLOW)
    threads[0].join()

    assert done.returncode == 0, done.stderr
    assert values(loopback.run("tester/p/slow")) == list(range(10))


def test_refused_stream_is_synced_later(loopback: Loopback, clean_place: Path) -> None:
    """Rows that the server refused for good are on disk, and `wandb sync` brings them."""
    loopback.fault = Faults("file_stream", (403, {}, "no"))
    done = script(loopback, SLOW)
    assert (done.returncode, values(loopback.run("tester/p/slow"))) == (0, [])

    (folder,) = clean_place.glob("wandb/run-*")
    done = command(loopback, "sync", "--include-online", str(folder))
    assert done.returncode == 0, done.stderr
    assert values(loopback.run("tester/p/slow")) == list(range(10))


def test_wrong_key_is_refused(loopback: Loopback) -> None:
    """Another API key gets no run, and no answer from `wandb.Api()`."""
    for code in (FEW, "import wandb\nwandb.Api().viewer"):
        done = script(loopback, code, WANDB_API_KEY="9" * 40)
        assert (done.returncode, "user is not logged in" in done.stderr) == (1, True)
    assert loopback.runs("tester/p") == []
