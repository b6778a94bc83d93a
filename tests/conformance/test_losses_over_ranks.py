"""Two processes over gloo whose rank 0 records the mean of both losses."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lrtrack.records import History, State
from lrtrack.trackers.base import Query
from lrtrack.trackers.local import LocalTracker

from .distributed_losses import STEPS

PROGRAM = Path(__file__).with_name("distributed_losses.py")


class Pair:
    """The results of both processes."""

    def __init__(self, folder: Path, statuses: list[int | None], errors: list[str]) -> None:
        self.statuses, self.errors = statuses, errors
        self.ranks = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]
        self.killed = json.loads((folder / "killed.json").read_text())
        with pytest.MonkeyPatch.context() as monkeypatch:  # as the user who ran the job
            monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
            histories = list(LocalTracker().histories(Query(directory=folder / "0" / "runs")))
        self.runs: dict[str, History] = {history.run.name: history for history in histories}
        self.other_runs = list((folder / "1").glob("runs/**/*.journal"))

    def losses(self, name: str, key: str = "losses") -> list[list[float]]:
        """Each process's own losses."""
        return [rank[name][key] for rank in self.ranks]

    def means(self, name: str, key: str = "losses") -> list[float]:
        """The mean of both processes' losses, of the steps that both have made."""
        return [sum(pair) / 2 for pair in zip(*self.losses(name, key), strict=False)]

    def recorded(self, name: str, metric: str = "loss") -> list[float]:
        """The losses of a run."""
        return list(self.runs[name].metrics[metric])


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """All scenarios in two processes, which no third one watches: one of them is killed."""
    folder = tmp_path_factory.mktemp("pair")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ours = {key: value for key, value in os.environ.items() if "LRTRACK" not in key}
    place = {"HOME": str(folder), "OMP_NUM_THREADS": "1", "XDG_STATE_HOME": str(folder / "state")}
    group = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-P", str(PROGRAM), str(folder)],
            cwd=folder,
            env={**ours, **place, **group, "RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        errors = [process.communicate(timeout=300)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert processes[0].returncode == 0, errors
    return Pair(folder, [process.returncode for process in processes], errors)


@pytest.mark.parametrize("name", ["mean", "every layer", "accumulated"])
def test_the_mean_of_all_processes(pair: Pair, name: str) -> None:
    """The loss of each step is the mean of both processes' losses, which differ."""
    one, other = pair.losses(name)

    assert pair.recorded(name) == pair.means(name)
    assert all(a != b for a, b in zip(one, other, strict=True))
    assert list(pair.runs[name].steps) == list(range(STEPS))
    assert (pair.runs[name].state, pair.other_runs) == (State.FINISHED, [])


def test_training_does_not_change(pair: Pair) -> None:
    """Weights are bit-equal with and without, and no further collective is started."""
    for rank in pair.ranks:
        assert rank["mean"] == rank["every layer"] == rank["bare"]
        assert rank["bare"]["collectives"] > 0


def test_a_run_that_only_rank_0_can_resume(pair: Pair) -> None:
    """Every second step of a resumed run has its mean, though rank 1 does not know its number."""
    assert list(pair.runs["first"].steps) == [0, 2, 4, 6, 8]
    assert pair.recorded("first") == pair.means("first")[::2]


def test_rounds_of_two_optimizers(pair: Pair) -> None:
    """The loss of each optimizer and their sum are means, also where a round is saved half-way."""
    one, two = pair.means("rounds", "one"), pair.means("rounds", "two")
    totals = pytest.approx([a + b for a, b in zip(one, two, strict=True)], rel=1e-12)

    assert pair.recorded("rounds", "p/loss/one") == one
    assert pair.recorded("rounds", "p/loss/two") == two
    assert totals == pair.recorded("rounds", "p/loss")


def test_a_loss_that_rank_0_gives_itself(pair: Pair) -> None:
    """What `run.log(loss=…)` gives is recorded as it is, and summaries have all means so far."""
    expected = pair.means("logged")
    expected[2] = -1.0

    assert pair.recorded("logged") == expected
    assert pair.ranks[0]["logged"]["summary"]["loss"] == expected[-1]
    assert pair.ranks[1]["logged"]["summary"] == {}


def test_a_process_that_ends_early(pair: Pair) -> None:
    """Steps that one process alone has made have its own loss, and a warning counts them."""
    own = pair.losses("early")[0]

    assert pair.recorded("early") == [*pair.means("early"), *own[3:]]
    assert pair.errors[0].count("losses are missing: 3 of rank 1") == 1


@pytest.mark.parametrize("name", ["alone", "killed"])
def test_a_process_that_sends_nothing(pair: Pair, name: str) -> None:
    """Without track() on rank 1, or after it was killed, the run of rank 0 is complete."""
    own = pair.ranks[0][name]["losses"]
    recorded = pair.recorded(name)
    both = [] if name == "alone" else [sum(p) / 2 for p in zip(own, pair.killed, strict=False)]
    known = sum(loss in both for loss in recorded)

    assert (pair.statuses, pair.runs[name].state) == ([0, -signal.SIGKILL], State.FINISHED)
    assert recorded == [*both[:known], *own[known:]]
    assert pair.errors[0].count("No losses arrive from rank 1") == 2
    assert 'Fix: enter track(…, loss_over="mean") on every rank' in pair.errors[0]


def test_blocks_are_matched_after_one_was_missing(pair: Pair) -> None:
    """A block that rank 1 has left out does not shift those after it."""
    assert pair.recorded("together again") == pair.means("together again")


def test_nothing_else_is_said(pair: Pair) -> None:
    """Rank 1 warns of nothing, and rank 0 of what each scenario leads to."""
    warnings: list[Any] = [line for line in pair.errors[0].splitlines() if "Warning" in line]

    assert "Warning" not in pair.errors[1]
    assert len(warnings) == 3
