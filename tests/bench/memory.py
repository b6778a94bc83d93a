"""Measures lrtrack's memory use: `memory.py trainer STEPS`, `memory.py short STEPS`.

This file is a part of the benchmark and also holds the programs that it measures.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import processes
from results import Row

#: Concurrent runs on one machine.
RUNS = 8
_MB = 1e6
#: A shipper that serves has imported a tracker's client; one that finds the directory served exits
#: without, after seconds where eight trainings start at the same moment on two cores.
_SERVES = 150 * _MB


def measure(_: int, steps: int) -> list[Row]:
    """Returns both rows; the trainer makes a hundred times `steps`."""
    with tempfile.TemporaryDirectory() as folder:
        store = processes.empty_store(Path(folder))
        return [_trainer(store, 100 * steps), _shipper(store, steps)]


def _trainer(store: Path, steps: int) -> Row:
    with processes.place() as folder:
        shutil.copy(store, folder / "mlflow.db")
        told = (Path(__file__), "trainer", steps)
        where = f"sqlite:///{folder / 'mlflow.db'}"
        found = processes.python(*told, folder=folder, MLFLOW_TRACKING_URI=where).found
        processes.all_shipped(folder, 0.0)  # Delivery would take hours and is not measured here.
    grown = (found["end"] - found["begin"]) / _MB
    note = (
        f"one run; resident memory from step {found['from']} on ({found['begin'] / _MB:.0f} MB), "
        "shipping to SQLite going on"
    )
    what = f"memory of the trainer after {steps:.0e} steps".replace("e+0", "e")
    return Row(what, f"{grown:+.1f} MB", "≤ +20 MB", grown <= 20.0, note)


def _shipper(store: Path, steps: int) -> Row:
    import psutil

    with processes.place() as folder:
        shutil.copy(store, folder / "mlflow.db")
        where = f"sqlite:///{folder / 'mlflow.db'}"
        command = [sys.executable, str(Path(__file__)), "short", str(steps // 4)]
        environment = processes.environment(MLFLOW_TRACKING_URI=where)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        trainers = [
            subprocess.Popen(command, cwd=folder, env=environment, **quiet) for _ in range(RUNS)
        ]
        most = Counter[int]()
        while any(each.poll() is None for each in trainers) or processes.shippers(folder):
            for process in processes.shippers(folder):
                try:
                    most[process] = max(most[process], psutil.Process(process).memory_info().rss)
                except psutil.NoSuchProcess:
                    continue
            time.sleep(0.1)
        failed = [each.returncode for each in trainers if each.returncode]
        if failed:
            raise SystemExit(f"{len(failed)} of {RUNS} trainers failed")
    many = sum(memory > _SERVES for memory in most.values())
    largest = max(most.values())
    reached = largest <= 350 * _MB and many == 1
    words = f"{largest / _MB:.0f} MB, {many} process{'es' * (many != 1)}"
    note = (
        f"one round; largest resident memory; {RUNS} runs of {steps // 4} steps to SQLite; "
        f"{len(most)} processes were started, and those that found another one serving ended"
    )
    return Row(
        "shipper, 8 runs at once on a machine", words, "one process, ≤ 350 MB", reached, note
    )


def main(what: str, steps: int) -> dict[str, Any]:
    """Trains; returns bytes of memory, measured after all buffers have reached their full size."""
    import psutil
    import torch

    import lrtrack

    torch.set_num_threads(1)
    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10**9)
    this, begin = psutil.Process(), 0
    first = steps // 20
    timeout = 0.0 if what == "trainer" else 300.0
    with lrtrack.track(optimizer, scheduler, experiment="bench", flush_timeout=timeout):
        for step in range(steps):
            optimizer.zero_grad()
            (weight * 2.0).backward()
            optimizer.step()
            scheduler.step()
            if step == first:
                begin = this.memory_info().rss
        end = this.memory_info().rss
    return {"from": first, "begin": begin, "end": end}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]))))
