"""Write a journal with every kind of entry: `python make_sample.py FILE`.

Made once for each format version; the files it made are kept, as later versions must read them.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pyarrow as pa

from lrtrack.journal.framing import PREAMBLE, Kind, encode
from lrtrack.records import Run, Target
from lrtrack.schedules import Schedule

RUN = Run(
    id="00112233445566778899aabbccddeeff",
    name="OneCycleLR-seed7",
    schedule=Schedule("OneCycleLR", {"max_lr": [0.1, 0.2], "total_steps": 100}),
    optimizer={"name": "SGD", "lr": 0.01, "momentum": 0.9},
    experiment="digits",
    group="first",
    seed=7,
    config={"batch": 64, "width": None},
    tags={"who": "Zoë"},
    prefix="",
    device_type="cuda",
    device_name="NVIDIA H200",
    world_size=2,
    version="0.1.0",
    started=1750000000.25,
    host="node-1",
    pid=4242,
    cwd="/home/someone/digits",
    source="train.py",
    targets=(Target("mlflow", uri="http://localhost:5000", experiment="digits"), Target("local")),
)
NAN, INF = math.nan, math.inf


def event(name: str, time: float, **data: object) -> bytes:
    """An event's frame."""
    return encode(Kind.EVENT, json.dumps({"event": name, "time": time, **data}).encode())


def rows(steps: list[int], times: list[float], **metrics: list[float | None]) -> bytes:
    """A frame of rows; None where a step lacks the metric."""
    columns = [pa.array(steps, pa.int64()), pa.array(times, pa.float64())]
    columns += [pa.array(values, pa.float64()) for values in metrics.values()]
    batch = pa.record_batch(columns, names=["step", "time", *metrics])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return encode(Kind.ROWS, sink.getvalue().to_pybytes())


def sample() -> bytes:
    """All of the file, its tail torn."""
    return b"".join(
        [
            PREAMBLE,
            event("run", 1750000000.25, run=RUN.to_dict()),
            rows([0, 1], [1.5, 2.5], lr=[0.1, 0.05], loss=[2.0, NAN], grad_norm=[1.0, INF]),
            rows([1], [2.5], val_accuracy=[0.5]),
            event("flush", 1750000003.0),
            rows([2, 4], [3.5, 5.5], lr=[0.025, 0.0125], val_accuracy=[None, -0.0]),
            event("end", 1750000006.0, state="FAILED"),
            event("resume", 1750000007.0, run=RUN.to_dict()),
            rows([4], [7.5], lr=[1e-300], plateau_metric=[3.0]),
            event("end", 1750000009.5, state="FINISHED"),
            rows([5], [8.5], lr=[9.0])[:-7],
        ]
    )


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(sample())
