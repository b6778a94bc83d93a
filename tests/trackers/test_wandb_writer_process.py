"""A process that writes to W&B takes one run after another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from wandb_loopback.training import PLACE, train

from lrtrack.trackers.wandb import writer_process
from lrtrack.trackers.wandb.writer_process import WriterProcess, end_idle, keep, take


@pytest.fixture
def started() -> Iterator[list[WriterProcess]]:
    """Collects processes, and ends them after the test."""
    processes: list[WriterProcess] = []
    yield processes
    end_idle()
    for process in processes:
        process.end()


def test_a_process_is_taken_again(started: list[WriterProcess]) -> None:
    """A kept process gets the next run of its environment and directory, and only one run."""
    environment = dict(os.environ)
    first = take(environment, None)
    started.append(first)
    keep(first)
    again, other = take(environment, None), take(environment, None)
    started += [again, other]

    assert again is first
    assert other is not first


def test_another_environment_or_directory_gets_another_process(
    started: list[WriterProcess], tmp_path: Path
) -> None:
    """A kept process is not taken with other settings, nor in another directory."""
    environment = dict(os.environ)
    first = take(environment, None)
    started.append(first)
    keep(first)
    offline = take({**environment, "WANDB_MODE": "offline"}, None)
    elsewhere = take(environment, str(tmp_path))
    started += [offline, elsewhere]

    assert first not in (offline, elsewhere)


def test_a_process_is_not_taken_when_it_is_about_to_end(
    started: list[WriterProcess], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that has waited for `KEPT` seconds is left to end by itself."""
    now = [100.0]
    monkeypatch.setattr(writer_process.time, "monotonic", lambda: now[0])
    environment = dict(os.environ)
    first = take(environment, None)
    started.append(first)
    keep(first)
    now[0] += writer_process.KEPT
    second = take(environment, None)
    started.append(second)

    assert second is not first


def test_a_process_that_is_gone_is_not_taken(started: list[WriterProcess]) -> None:
    """A kept process that was killed meanwhile is not taken."""
    environment = dict(os.environ)
    first = take(environment, None)
    started.append(first)
    keep(first)
    first.end()
    second = take(environment, None)
    started.append(second)

    assert second is not first


def test_a_process_ends_after_many_runs(started: list[WriterProcess]) -> None:
    """After the last of its runs, a process is not kept."""
    process = take(dict(os.environ), None)
    started.append(process)
    process.runs = writer_process.RUNS
    keep(process)

    assert process.has_ended()


def test_two_blocks_have_one_process(wandb_server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run of a program is written by the process of the first, and is complete."""
    monkeypatch.setenv("LRTRACK_SHIPPER_IDLE", "3")
    found: list[list[int]] = []
    look = {3: lambda run: (run.flush(), found.append(writers()))}
    ids = [train(5, look, seed=seed, config={"number": seed}).id for seed in (1, 2)]
    runs = {run.id: run for run in wandb_server.runs(PLACE)}

    assert found[0] == found[1]
    assert len(found[0]) == 1
    assert sorted(runs) == sorted(ids)
    for seed, run_id in enumerate(ids, 1):
        run = runs[run_id]
        assert (run.state, run.config["number"], run.config["lrtrack"]["seed"]) == (
            "finished",
            seed,
            seed,
        )
        rows = [row["lrtrack/step"] for row in run.history if "lrtrack/step" in row]
        assert rows == list(range(5))
        assert "lrtrack/history.parquet" in run.files
        assert run.summary["loss_best"] > 0


def writers() -> list[int]:
    """Returns the processes that write this directory's runs to W&B."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = "lrtrack.trackers.wandb.writer" in process.cmdline()
            if ours and process.cwd() == str(Path.cwd()):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found
