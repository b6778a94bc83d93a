"""Reads back what packages that log into files of their own have stored; see `peer_reading.py`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

from peer_reading import Arrived


def from_tensorboard(folder: Path) -> Arrived:
    """Reads the event files in `runs`."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "runs"))
    events.Reload()
    found = Arrived()
    for name in events.Tags()["scalars"]:
        found.series[name] = [(point.step, point.value) for point in events.Scalars(name)]
    return found


def from_trackio(folder: Path) -> Arrived:
    """Reads the only run of trackio's database of the project."""
    found = Arrived()
    path = folder / "bench.db"  # beside the store of MLflow
    connection = sqlite3.connect(path)
    try:
        for step, metrics in connection.execute("SELECT step, metrics FROM metrics ORDER BY id"):
            for name, value in json.loads(metrics).items():
                found.series.setdefault(name, []).append((step, value))
        for (config,) in connection.execute("SELECT config FROM configs"):
            found.words |= {name: str(value) for name, value in json.loads(config).items()}
        [[count]] = connection.execute("SELECT COUNT(*) FROM system_metrics")
    finally:
        connection.close()
    found.machine = bool(count)
    return found


def from_swanlab(folder: Path) -> Arrived:
    """Reads the file of an offline run, as `swanlab sync` does."""
    from swanlab.proto.swanlab.record.v1.record_pb2 import Record
    from swanlab.sdk.internal.core_python.store import DataStoreReader

    found = Arrived()
    [path] = folder.glob("swanlog/run-*/run-*.swanlab")
    if path.stat().st_size == 0:  # killed before its buffer was written
        return found
    reader = DataStoreReader()
    reader.open(path)
    for data in reader:
        record = Record()
        record.ParseFromString(data)
        if record.HasField("scalar"):
            point = record.scalar
            found.series.setdefault(point.key, []).append((point.step, point.value.number))
    reader.close()
    described = path.parent / "files" / "swanlab-metadata.json"
    found.machine = described.exists() and "hardware" in json.loads(described.read_text())
    return found


#: Way → what reads it.
READERS: dict[str, Callable[[Path], Arrived]] = {
    "tensorboard": from_tensorboard,
    "trackio": from_trackio,
    "swanlab": from_swanlab,
}
