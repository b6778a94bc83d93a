"""Measures memory and disk of one very long run: `long_run.py STEPS`.

This file is a part of the benchmark and also holds the program that it measures: a loop that does
nothing but record a step, as fast as its delivery follows.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import processes
from results import Row

_MB = 1e6
#: Steps of the run for each one that is asked for: two million by default.
TIMES = 200
#: Bytes of a segment for each step, of a run that is too short for segments as they are.
_SEGMENT = 7
#: After how many steps the loop looks how far its delivery is.
_LOOK = 10_000
#: After how many steps it pauses, and seconds: without, it would record faster than the journal's
#: thread writes, which then gets Python's lock too seldom. No training does nothing but record.
_BLOCK, _PAUSE = 1_000, 0.01
#: Steps after which all buffers have their full size, that of the learning rates among them.
_FULL = 1_000_000
_ENTRY = "[lrtrack.trackers]\nmlflow = counting_sink:Tracker\n"


@dataclass
class _Seen:
    """The largest sizes in bytes while the run went on."""

    shipper: int = 0
    journal: int = 0
    packed: int = 0
    together: int = 0

    def look(self, folder: Path) -> None:
        """Measures now."""
        import psutil

        for process in processes.shippers(folder):
            try:
                self.shipper = max(self.shipper, psutil.Process(process).memory_info().rss)
            except psutil.NoSuchProcess:
                continue
        runs = folder / ".lrtrack" / "runs"
        raw = sum(map(_size, [*runs.glob("*.journal"), *runs.glob("*.segments/*.journal")]))
        packed = sum(map(_size, runs.glob("*.segments/*.parquet")))
        self.journal, self.packed = max(self.journal, raw), max(self.packed, packed)
        self.together = max(self.together, raw + packed)


def measure(_: int, steps: int) -> list[Row]:
    """Returns the rows of one run of `TIMES` times `steps`."""
    import pyarrow.parquet as pq

    from lrtrack.journal import segments

    steps *= TIMES
    segment = min(segments.LIMIT, _SEGMENT * steps)
    with tempfile.TemporaryDirectory() as stores, processes.place() as folder:
        shutil.copy(processes.empty_store(Path(stores)), folder / "mlflow.db")
        environment = processes.environment(
            MLFLOW_TRACKING_URI=f"sqlite:///{folder / 'mlflow.db'}",
            PYTHONPATH=_package(folder),
            BENCH_SEGMENT=str(segment),
            LRTRACK_PASS_ENV="BENCH_SEGMENT",
        )
        seen = _Seen()
        with tempfile.TemporaryFile("w+") as out:
            command = [sys.executable, __file__, str(steps)]
            process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out)
            while process.poll() is None:
                seen.look(folder)
                time.sleep(0.2)
            out.seek(0)
            if process.returncode:
                raise SystemExit(f"{command} failed")
            found = json.loads(out.read().splitlines()[-1])
        # Where the store was when its experiment was created.
        [history] = Path(stores).glob("**/history.parquet")
        arrived = pq.read_metadata(history).num_rows
        if arrived != steps:
            raise SystemExit(f"{arrived} steps of {steps} arrived")
        return _rows(steps, segment, found, seen, history.stat().st_size)


def _package(folder: Path) -> str:
    """Installs the sink that counts, for one directory; returns where."""
    packages = folder / "packages"
    described = packages / "counting_sink-1.0.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: counting-sink\nVersion: 1.0\n"
    )
    (described / "entry_points.txt").write_text(_ENTRY)
    shutil.copy(Path(__file__).with_name("counting_sink.py"), packages)
    return str(packages)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _rows(steps: int, segment: int, found: dict[str, Any], seen: _Seen, history: int) -> list[Row]:
    run = f"one run of {steps:,} steps × 3 metrics"
    grown = (found["most"] - found["begin"]) / _MB
    whole = found["journal"]
    return [
        Row(
            f"memory of the trainer, {run}",
            f"{grown:+.1f} MB",
            "≤ +20 MB",
            grown <= 20.0,
            f"largest resident memory from step {found['from']:,} on ({found['begin'] / _MB:.0f} "
            f"MB); `run.record` in a loop that pauses {_PAUSE * 1e3:.0f} ms after {_BLOCK:,} "
            f"steps and waits for its delivery, {found['seconds']:.0f} s",
        ),
        Row(
            "the same: shipper",
            f"{seen.shipper / _MB:.0f} MB",
            "≤ 350 MB",
            seen.shipper <= 350 * _MB,
            "largest resident memory, the end of the run among it; into MLflow on SQLite, where "
            "the steps' values are counted instead of stored: they would take hours",
        ),
        Row(
            "the same: journal on the disk while it is delivered",
            f"{seen.journal / _MB:.0f} MB",
            "≤ 3 segments",
            seen.journal <= 3 * segment,
            f"of {whole / _MB:.0f} MB that were written, {whole / steps:.1f} bytes a step, so "
            f"{whole / steps * 10:.0f} MB for ten million; the "
            f"first segment, the one that is written, and the one that is delivered, of "
            f"{segment / _MB:.0f} MB each",
        ),
        Row(
            "the same: delivered segments, packed",
            f"{seen.packed / _MB:.0f} MB",
            "",
            None,
            f"with the journal at most {seen.together / _MB:.0f} MB; `history.parquet` "
            f"{history / _MB:.0f} MB",
        ),
    ]


def main(steps: int) -> dict[str, Any]:
    """Trains; returns bytes of memory and of the journal."""
    import numpy as np
    import psutil

    import lrtrack
    from lrtrack.journal import segments
    from lrtrack.journal.layout import Layout
    from lrtrack.shipping.cursor import Cursor

    random = np.random.default_rng(0)
    this, begin, most = psutil.Process(), 0, 0
    first = min(_FULL, steps // 2)
    layout, started = Layout(Path(".lrtrack").absolute()), time.monotonic()
    with lrtrack.track(None, tracker="mlflow", experiment="bench", flush_timeout=600.0) as run:
        [journal] = layout.journals()
        cursor = layout.cursor(journal.stem, "mlflow")
        for base in range(0, steps, _LOOK):
            for at, value in enumerate(random.random(_LOOK).tolist()):
                run.record(lr=1e-3 * (base + at) / steps, loss=value, grad_norm=value * 3.0)
                if at % _BLOCK == 0:
                    time.sleep(_PAUSE)
            while segments.size_of(journal) - Cursor.load(cursor).offset > segments.LIMIT // 4:
                time.sleep(0.05)
            memory = this.memory_info().rss
            begin, most = (memory, memory) if base <= first else (begin, max(most, memory))
    return {
        "from": first,
        "begin": begin,
        "most": most,
        "journal": segments.size_of(journal),
        "seconds": time.monotonic() - started,
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
