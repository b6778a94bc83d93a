"""Runs of machines that are gone, in a journal directory that several machines share."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import lrtrack
from lrtrack import user_state
from lrtrack.journal.layout import Layout, host
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State, StepRecord, Target
from lrtrack.shipping import left_runs, temporary
from lrtrack.shipping.credentials import key_of
from lrtrack.shipping.left_runs import LeftRun
from lrtrack.shipping.lock import Lock
from lrtrack.shipping.process import Shipper
from lrtrack.trackers.memory import MemorySink, MemoryTracker

STEPS = 12
RUN = Run("c" * 32, "left", targets=(Target("memory", experiment="x"),), host="gone")


class Appending(MemoryTracker):
    """A tracker that stores what it gets, also twice, and takes its time."""

    portable = True

    def __init__(self, pause: float = 0.0) -> None:
        super().__init__()
        self.kept: list[int] = []
        self.pause = pause

    def sink(self, run: Run, target: Target, remote_id: str | None) -> MemorySink:
        """A sink that appends."""
        sink = MemorySink(self, run, target)
        write = sink.write

        def appended(records: Sequence[StepRecord], doubt: bool) -> None:
            self.kept += [record.step for record in records]
            time.sleep(self.pause)
            write(records, doubt)

        sink.write = appended  # type: ignore[method-assign]
        return sink


@pytest.fixture
def layout(clean_place: Path) -> Layout:
    """A journal directory."""
    shared = Layout(clean_place / ".lrtrack")
    shared.create()
    return shared


def written(layout: Layout, run: Run = RUN) -> JournalWriter:
    """Writes the steps of a run, which is queued."""
    layout.marker(run.id).touch()
    writer = JournalWriter(layout.journal(run.id), run)
    for step in range(STEPS):
        writer.append(step, 1.0 + step, {"loss": 1.0})
        writer.flush()
    return writer


def age(layout: Layout) -> None:
    """Makes all files of the directory an hour old."""
    then = time.time() - 3600.0
    for path in layout.root.rglob("*"):
        os.utime(path, (then, then))


def ship(layout: Layout, tracker: MemoryTracker, **options: Any) -> None:
    """Runs a shipper without credentials until it has nothing to do."""
    options = {"key": key_of({}), "idle": 0.2, **options}
    Shipper(layout, lambda name: tracker, **options).run()


def test_a_killed_run_of_another_machine_is_taken_over(layout: Layout) -> None:
    """The next shipper with the same credentials delivers what a machine that is gone has left."""
    writer = written(layout)
    writer.release()  # killed: no end
    age(layout)
    tracker = Appending()
    lines: list[str] = []
    ship(layout, tracker, log=lines.append)
    (stored,) = tracker.stored.values()

    assert tracker.kept == list(range(STEPS))
    assert stored.state is State.FAILED
    assert layout.queued() == []
    assert lines == [f"{RUN.id}: taken over from gone, which has left it"]


@pytest.mark.parametrize("why", ["running", "lately", "delivered there", "other credentials"])
def test_a_run_that_may_still_be_delivered_elsewhere(layout: Layout, why: str) -> None:
    """A run is left alone while its machine may be alive, or where credentials differ."""
    credentials = {"MLFLOW_TRACKING_TOKEN": "0" * 16} if why == "other credentials" else {}
    writer = written(layout, replace(RUN, credentials=credentials))
    if why != "running":
        writer.close(State.FINISHED)
    if why != "lately":
        age(layout)
    lock = Lock(layout.shipper_lock(key_of({}), "gone"))
    if why == "delivered there":
        lock.acquire()
    tracker = Appending()
    ship(layout, tracker)
    writer.close(State.FINISHED)
    lock.remove()

    assert tracker.kept == []
    assert layout.queued() == [RUN.id]


def test_a_machine_that_leaves_while_another_one_trains(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shipper that stays looks at a run of another machine again and again."""
    monkeypatch.setattr("lrtrack.shipping.run_queue.ELSEWHERE", 0.1)
    writer = written(layout)
    tracker = Appending()
    shipper = threading.Thread(target=ship, args=(layout, tracker), kwargs={"idle": 1.5})
    shipper.start()
    writer.release()
    age(layout)
    shipper.join()

    assert tracker.kept == list(range(STEPS))


def test_a_sync_while_the_other_machine_delivers(
    layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step is delivered once if `lrtrack sync` runs beside the shipper of another machine."""
    monkeypatch.setattr("lrtrack.shipping.batch.BATCH", 1)
    monkeypatch.setattr("lrtrack.shipping.run_queue.BUSY", 0.05)
    written(layout, replace(RUN, host=host())).close(State.FINISHED)
    tracker = Appending(pause=0.02)
    shipper = threading.Thread(target=ship, args=(layout, tracker))
    shipper.start()
    ship(layout, tracker, once=True, key=None)
    shipper.join()

    assert tracker.kept == list(range(STEPS))
    assert layout.queued() == []


def test_left_runs_that_nobody_delivers(layout: Layout) -> None:
    """Runs of other machines that no shipper here takes over are named, and why."""
    run = replace(RUN, credentials={"WANDB_API_KEY": "0" * 16}, name="mine")
    written(layout, run).close(State.FINISHED)
    with pytest.MonkeyPatch.context() as elsewhere:
        elsewhere.setattr(user_state, "sign", lambda purpose, content: "0" * 64)
        written(layout, replace(RUN, id="d" * 32, name="theirs")).close(State.FINISHED)
    age(layout)

    assert list(left_runs.left_runs(layout, key_of({}))) == [
        LeftRun("mine", "gone", is_foreign=False),
        LeftRun("theirs", "gone", is_foreign=True),
    ]
    assert [left.name for left in left_runs.left_runs(layout, key_of(run.credentials))] == [
        "theirs"
    ]


def test_a_training_names_them_once(
    layout: Layout, within_seconds: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A training says which runs of other machines wait, and how to deliver them."""
    written(layout, replace(RUN, credentials={"WANDB_API_KEY": "0" * 16})).close(State.FINISHED)
    age(layout)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1)
    said: list[str] = []

    def named() -> bool:
        said.append(capsys.readouterr().err)
        return "recorded elsewhere" in "".join(said)

    for _ in range(2):
        with lrtrack.track(optimizer, tracker=MemoryTracker()) as run:
            run.record(lr=0.1)
            if not "".join(said):
                within_seconds(30, named)

    assert "".join(said).count("recorded elsewhere") == 1
    assert "left (on gone). Fix: run `lrtrack sync`." in "".join(said)
    assert "recorded elsewhere" not in capsys.readouterr().err


def test_two_containers_with_equal_names(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes with the same host name and process id have temporary files of their own."""
    first = temporary.path_of(layout)
    monkeypatch.setattr(temporary, "_token", "t00000000")
    second = temporary.path_of(layout)

    assert first != second
    assert first.name.rpartition("-")[0] == second.name.rpartition("-")[0]


def test_temporary_files_of_processes_that_are_gone(layout: Layout) -> None:
    """What a killed process left is removed later, and not while its process lives anywhere."""
    names = {
        "old": f"{host()}-999999999-t00000000",
        "former": f"{host()}-999999999",
        "elsewhere": "gone-1-t00000000",
        "lately": "gone-2-t00000000",
        "living": "other-3-t00000000",
        "equal": f"{host()}-{os.getpid()}-t00000000",
    }
    paths = {key: layout.temporary / name for key, name in names.items()}
    for path in paths.values():
        path.mkdir(parents=True)
    lock = Lock(paths["living"] / "lock")
    lock.acquire()
    for key, path in paths.items():
        os.utime(path, (time.time() - (7200.0 if key == "lately" else 2e5),) * 2)
    with temporary.throughout(layout):
        left = {key for key, path in paths.items() if path.exists()}
    lock.release()

    assert left == {"lately", "living"}
