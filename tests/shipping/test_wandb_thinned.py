"""Thinned rows in W&B: fewer in the charts, and the same figures in reports."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from wandb_loopback.clients import KILL_THE_WRITER, script

import lrtrack
from lrtrack.journal.layout import Layout
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State, StepRecord
from lrtrack.schedules import Schedule
from lrtrack.shipping.delivery import Delivery
from lrtrack.stats.row_budget import RowBudget
from lrtrack.stats.thinning import Thinner
from lrtrack.trackers import registry
from lrtrack.trackers.wandb import PER_MINUTE, PER_RUN
from lrtrack.trackers.wandb.history_file import stored_steps

STEPS = 2500
#: Two blocks in a run of the user's: thinned, with a writer that is killed, and with all rows.
JOINED = (
    KILL_THE_WRITER
    + """
import sys, torch, wandb, lrtrack

optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1)
run = wandb.init(project="p", id="joined")
with lrtrack.track(optimizer, prefix="thin/", flush_timeout=60) as thin:
    run.log({"mine": 0})
    for step in range(2500):
        optimizer.step()
        thin.log(loss=1.0 / (1 + step))
        if step == 1500:
            kill_the_writer(thin)
with lrtrack.track(optimizer, prefix="all/", wandb_rows="all", flush_timeout=60) as whole:
    run.log({"mine": 1})
    for step in range(1200):
        optimizer.step()
run.finish()
"""
)


def record_of(step: int) -> StepRecord:
    """A step of a training of 1,000 steps a second, whose loss has one peak and one NaN."""
    loss = 99.0 if step == 1800 else math.nan if step == 2100 else 2.0 + math.sin(step * step)
    return StepRecord(step, 1.7e9 + step / 1000, {"lr": 1 - step / STEPS, "loss": loss})


def thinned(records: list[StepRecord], *, flushed: int | None = None) -> list[StepRecord]:
    """The rows that W&B is to get, if everything up to the step `flushed` was sent at once."""
    thinner, rows = Thinner(RowBudget(PER_MINUTE, PER_RUN)), []
    for record in records:
        rows += thinner.add(record)
        if record.step == flushed:
            rows += thinner.end()
    return rows + thinner.end()


def deliver(project: str, *, thin: bool) -> Run:
    """Record a finished run, whose id repeats the first letter of the project, and deliver it."""
    layout = Layout(Path(".lrtrack").absolute())
    layout.create()
    tracker = registry.get("wandb")
    target = replace(tracker.target(project, "lrtrack"), thin=thin)
    schedule = Schedule("LinearLR", {"total_iters": STEPS})
    fields = {"targets": (target,), "started": 1.7e9, "cwd": str(Path.cwd())}
    run = Run(32 * project[0], "r", schedule, **fields)
    writer = JournalWriter(layout.journal(run.id), run)
    for record in map(record_of, range(STEPS)):
        writer.append(record.step, record.time, dict(record.metrics))
    writer.close(State.FINISHED)
    delivery = Delivery(layout, run.id, target, tracker)
    while not delivery.complete:
        delivery.advance()
    delivery.release()
    tracker.end_processes()
    return run


def rows_of(run: Any, prefix: str = "") -> list[tuple[int, float]]:
    """Steps and losses of a block's rows, in the order of the server."""
    return [
        (row["lrtrack/step"], float(row[f"{prefix}loss"]))
        for row in run.history
        if f"{prefix}loss" in row
    ]


def test_fewer_rows_and_the_same_figures(wandb_server: Any) -> None:
    """Charts get the thinned rows, also from a server that asks for patience; reports all steps.

    The summary shows the last step, and the run counts as it would with all its rows.
    """
    answers = [(429, {"Retry-After": "1"}, "slow down")] * 2
    deliver("a-project", thin=False)
    wandb_server.fault = lambda method, path, body: (
        answers.pop() if answers and "file_stream" in path else None
    )
    deliver("f-project", thin=True)
    (run,) = wandb_server.runs("tester/f-project")
    import wandb

    table = stored_steps(wandb.Api().run(f"tester/f-project/{run.id}"))
    reports = [
        repr(lrtrack.compare(project, tracker="wandb", cache=False).to_dict())
        .replace(project, "PROJECT")
        .replace(32 * project[0], "ID")
        for project in ("a-project", "f-project")
    ]
    histories = [
        lrtrack.histories(project, tracker="wandb", cache=False)[0]
        for project in ("a-project", "f-project")
    ]
    expected = thinned([record_of(step) for step in range(STEPS)])

    assert answers == []
    assert repr(rows_of(run)) == repr([(row.step, row.metrics["loss"]) for row in expected])
    assert len(wandb_server.run("tester/a-project").history) == STEPS
    assert len(run.history) == 1042
    assert (run.summary["lrtrack/step"], run.summary["loss"]) == (
        STEPS - 1,
        record_of(STEPS - 1).metrics["loss"],
    )
    assert table["step"].to_pylist() == list(range(STEPS))
    assert reports[0] == reports[1]
    for name in ("lr", "loss"):
        assert repr(histories[0].metrics[name].tolist()) == repr(
            histories[1].metrics[name].tolist()
        )


def test_an_open_run_whose_writer_is_killed(wandb_server: Any) -> None:
    """A thinned block of an open run has its rows once; one with all rows is noted once."""
    done = script(wandb_server, JOINED, LRTRACK_WANDB_ROWS="thin")
    assert (done.returncode, done.stdout) == (0, "killed\n"), done.stderr
    (run,) = wandb_server.runs("tester/p")
    table = pq.read_table(io.BytesIO(run.files["lrtrack/history.parquet"]))
    records = [
        StepRecord(row["step"], row["time"], {n: row[n] for n in ("thin/lr", "thin/loss")})
        for row in table.to_pylist()
    ]
    expected = thinned(records, flushed=1500)

    assert table["step"].to_pylist() == list(range(STEPS))
    assert rows_of(run, "thin/") == [(row.step, row.metrics["thin/loss"]) for row in expected]
    assert len(expected) < STEPS
    assert [row["lrtrack/step"] for row in run.history if "all/lr" in row] == list(range(1200))
    assert done.stderr.count('wandb_rows="thin"') == 1
