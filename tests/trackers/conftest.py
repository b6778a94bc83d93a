"""Fixtures that write runs into MLflow directly."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lrtrack.journal import history_table
from lrtrack.journal.layout import Layout
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State, StepRecord, Target
from lrtrack.schedules import Schedule
from lrtrack.trackers.mlflow.sink import MlflowSink

#: Values that a conversion to text or rounding would change.
LOSSES = (1.0, 1 / 3, math.nan, math.inf, -math.inf, 1e-300, -0.0, 5e-324)


def records_of(losses: Sequence[float | None]) -> list[StepRecord]:
    """Records of steps a third of a second apart; a step whose loss is None has no loss."""
    return [
        StepRecord(step, 1000.0 + step / 3, {"lr": 0.1**step} | _some("loss", loss))
        for step, loss in enumerate(losses)
    ]


def _some(name: str, value: float | None) -> dict[str, float]:
    return {} if value is None else {name: value}


def table_of(records: Sequence[StepRecord]) -> pa.Table:
    """The columnar history of some records."""
    names = list(dict.fromkeys(name for record in records for name in record.metrics))
    columns = {name: [record.metrics.get(name) for record in records] for name in names}
    return pa.table(
        {
            "step": pa.array([record.step for record in records], pa.int64()),
            "time": pa.array([record.time for record in records], pa.float64()),
            **{name: pa.array(values, pa.float64()) for name, values in columns.items()},
        }
    )


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., str]:
    """A function that writes one run to the store `uri` and returns MLflow's run id."""
    count = 0

    def write(
        uri: str,
        losses: Sequence[float | None] = LOSSES,
        state: State | None = State.FINISHED,
        upload: bool = True,
        **fields: Any,
    ) -> str:
        nonlocal count
        count += 1
        defaults: dict[str, Any] = {
            "id": f"{count:032x}",
            "name": f"run {count}",
            "schedule": Schedule("StepLR", {"step_size": 3}),
            "experiment": "x",
            "version": "1.0",
            "started": float(count),
        }
        run = Run(**defaults | fields)
        sink = MlflowSink(run, Target("mlflow", uri, experiment=run.experiment), None)
        remote = sink.open()
        records = records_of(losses)
        sink.write(records, doubt=False)
        if upload:
            history_table.write_parquet(table_of(records), tmp_path / "history.parquet")
            sink.upload(tmp_path / "history.parquet")
        if state is not None:
            sink.close(state, 2000.5, {"loss_final": 0.5, "loss_best": 0.25})
        return remote.id

    return write


@pytest.fixture
def going(clean_place: Path) -> Iterator[None]:
    """A training of the experiment `x` that goes on here."""
    layout = Layout(clean_place / ".lrtrack")
    layout.create()
    run = Run("1" * 32, "going", experiment="x")
    writer = JournalWriter(layout.journal(run.id), run)
    for step in range(3):
        writer.append(step, 100.0 + step, {"loss": 1.0, "lr": 0.1})
    yield
    writer.close(State.FINISHED)


@pytest.fixture
def answering() -> Iterator[list]:
    """A server: the status, headers and body of its answers, then what it was asked."""
    script: list = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            script.append((self.path, self.headers["Authorization"]))
            status, headers, body = script[1]
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    script.append(f"http://127.0.0.1:{server.server_port}")
    yield script
    server.shutdown()
    thread.join()
    server.server_close()
