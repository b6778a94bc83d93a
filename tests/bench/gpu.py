"""Measures lrtrack on a GPU: `tox -e bench -- --only gpu`, which needs no network.

Each case of `gpu_loop.py` runs in a process of its own, into an MLflow store on SQLite.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

import processes
from results import Row, measured_row

HERE = Path(__file__).parent
GOAL = 1.01
NONE_HERE = "no GPU here; `tox -e bench -- --only gpu` measures it where there is one"


def measure(rounds: int, steps: int, device: str = "cuda", tiny: bool = False) -> list[Row]:
    """Returns the rows of each case, with the name of the device.

    Args:
        rounds: pairs of each case.
        steps: a hundred times the steps of a segment.
        device: "cuda" or "cpu".
        tiny: whether a tiny model is trained.
    """
    import gpt
    import torch
    from gpu_loop import CASES

    if device == "cuda" and not torch.cuda.is_available():
        return [Row(f"GPU, loop time / bare: {case.words}", "not measured: no GPU", note=NONE_HERE)
                for case in CASES.values()]  # fmt: skip
    size, millions = ("tiny", 0.0) if tiny else ("full", gpt.parameters(gpt.FULL) / 1e6)
    place = _device(device)
    model = "a tiny GPT" if tiny else f"a GPT of {millions:.0f} million parameters"
    rows = [Row(f"device: {place}", model, note="random tokens; own loop, no framework")]
    with tempfile.TemporaryDirectory() as folder:
        store = processes.empty_store(Path(folder))
        for name, case in CASES.items():
            # Two of its rare steps fit into twice the length.
            count = max(2, steps // 100) * (2 if "updates" in case.options else 1)
            told = (HERE / "gpu_loop.py", name, count, rounds, device, size)
            rows += rows_of(case.words, count, place, _run(store, told))
    return rows


def _run(store: Path, told: tuple[object, ...]) -> dict[str, Any]:
    with processes.place() as folder:
        shutil.copy(store, folder / "mlflow.db")
        where = f"sqlite:///{folder / 'mlflow.db'}"
        return processes.python(*told, folder=folder, MLFLOW_TRACKING_URI=where).found


def rows_of(words: str, steps: int, place: str, found: dict[str, Any]) -> list[Row]:
    """Returns the rows of one case.

    Args:
        words: how the case is called.
        steps: steps of each segment.
        place: the name of the device.
        found: what `gpu_loop.main` returned.
    """
    rounds, waits = found["rounds"], found["waits"]
    bare = statistics.median(each["bare"]["loop"] for each in rounds) / steps * 1e3
    how = f"{steps} steps of {bare:.2f} ms on {place}"
    on_gpu = rounds[0]["bare"]["memory"] > 0
    rows = [
        measured_row(f"noise: the bare loop once more / the bare loop, GPU, {words}",
                  [each["bare-again"]["loop"] / each["bare"]["loop"] for each in rounds], how=how),
        measured_row(f"GPU, loop time / bare: {words}",
                  [each["lrtrack"]["loop"] / each["bare"]["loop"] for each in rounds], GOAL,
                  how=how),
    ]  # fmt: skip
    if not on_gpu:
        return [
            *rows,
            Row(f"GPU, memory and waits: {words}", "not measured: no GPU", note=NONE_HERE),
        ]
    added = waits["lrtrack"]["training"] - waits["bare"]["training"]
    others = waits["lrtrack"]["others"] - waits["bare"]["others"]
    rows.append(Row(
        f"GPU, host synchronisations that lrtrack adds to a step: {words}", f"{added:g}", "0",
        added <= 0,
        f"counted by the profiler on the training's thread, {waits['bare']['training']:g} without "
        f"lrtrack; other threads: {others:+g}",
    ))  # fmt: skip
    memory = [(each["lrtrack"]["memory"] - each["bare"]["memory"]) / 1e6 for each in rounds]
    total = statistics.median(each["bare"]["memory"] for each in rounds) / 1e6
    how = f"the most that is allocated during the loop, {total:.0f} MB without lrtrack"
    rows.append(measured_row(f"GPU, memory that lrtrack adds on the device: {words}", memory,
                          digits=1, unit="MB", how=how))  # fmt: skip
    return rows


def _device(device: str) -> str:
    import circumstances

    return circumstances.gpu() if device == "cuda" else "the CPU, without a GPU"
