"""Measures the first run in a new store: `first.py WAY` trains twice and prints its times.

WAY is one of `WAYS`. The first block counts with everything else that the process does from its
start to its end, such as its imports; the second block counts alone.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import processes
from results import Row, measured_row

STEPS = 50
#: Seconds after which a shipper without work ends: as for users, because it serves both blocks.
IDLE = "5"
WAYS = {
    "mlflow": "MLflow's `start_run` … `end_run` with `log_metrics` at each step",
    "lrtrack": "lrtrack into MLflow",
    "wandb": "`wandb.init` … `finish` with `log` at each step, offline",
    "lrtrack-wandb": "lrtrack into W&B, offline",
}
#: Where the runs go, and the two ways that are compared there.
_STORES = {
    "a SQLite file that does not exist": ("lrtrack", "mlflow"),
    "an `mlflow server` on a new database": ("lrtrack", "mlflow"),
    "a W&B directory that does not exist": ("lrtrack-wandb", "wandb"),
}
_LATEST, _SECOND = 1.0, 0.2

Log = Callable[[int, dict[str, float]], None]


def measure(rounds: int, _: int) -> list[Row]:
    """Returns two rows for each store: the first block, and the second one of the process."""
    rows = []
    for store, ways in _STORES.items():
        found = processes.in_rounds(rounds, ways, lambda way, store=store: _run(way, store))
        rows += _rows(store, *ways, found)
    return rows


def _rows(store: str, own: str, other: str, rounds: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Returns the rows of one store.

    Args:
        store: where the runs go.
        own: lrtrack's way.
        other: the way that it is compared with.
        rounds: what `_run` returned, by way.
    """
    late = [each[own]["seconds"] - each[other]["seconds"] for each in rounds]
    whole, second = (
        {way: statistics.median(each[way][figure] for each in rounds) for way in (own, other)}
        for figure in ("seconds", "second")
    )
    how = (
        f"{WAYS[own]}: {whole[own]:.1f} s, {WAYS[other]}: {whole[other]:.1f} s, with Python's "
        "start and imports"
    )
    return [
        measured_row(f"{STEPS} steps into {store}: ends later by", late, _LATEST, digits=1,
                     style="+", unit="s", how=how),
        measured_row(f"the second block of the process, into {store}",
                     [each[own]["second"] for each in rounds], _SECOND, digits=2, unit="s",
                     how=f"the other way: {second[other]:.2f} s"),
    ]  # fmt: skip


def _run(way: str, store: str) -> dict[str, float]:
    with processes.place() as folder:
        where = f"sqlite:///{folder / 'mlflow.db'}"
        if "server" not in store:
            return _timed(way, folder, where)
        with processes.mlflow_server(folder, where) as uri:
            return _timed(way, folder, uri)


def _timed(way: str, folder: Path, uri: str) -> dict[str, float]:
    more = {"MLFLOW_TRACKING_URI": uri, "LRTRACK_SHIPPER_IDLE": IDLE}
    done = processes.python(Path(__file__), way, folder=folder, **more)
    processes.all_shipped(folder, 0.0)  # everything is delivered, and nothing else will come
    return {"seconds": done.seconds - done.found["second"], "second": done.found["second"]}


def _lrtrack(way: str, train: Callable[..., None], task: Any) -> None:
    import lrtrack

    tracker = "wandb" if way.endswith("wandb") else "mlflow"
    options: dict[str, Any] = {"tracker": tracker, "experiment": "first", "flush_timeout": 120}
    with lrtrack.track(*task, **options):
        train(None)


def _by_hand(way: str, train: Callable[..., None], task: Any) -> None:
    if way == "mlflow":
        import mlflow

        mlflow.set_experiment("first")
        with mlflow.start_run():
            train(lambda step, metrics: mlflow.log_metrics(metrics, step=step))
        return
    import wandb

    with wandb.init(mode="offline", project="first") as run:
        train(lambda step, metrics: run.log(metrics))


def main(way: str) -> dict[str, float]:
    """Trains in two blocks, one after the other.

    Returns:
        The seconds of each block, from its opening to its end.
    """
    import torch

    torch.set_num_threads(1)
    weight = torch.nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1000)

    def train(log: Log | None) -> None:
        for step in range(STEPS):
            optimizer.zero_grad()
            loss = weight.square()
            loss.backward()
            if log is not None:
                norm = torch.nn.utils.get_total_norm([weight.grad])
                rate = scheduler.get_last_lr()[0]
                log(step, {"lr": rate, "grad_norm": norm.item(), "loss": loss.item()})
            optimizer.step()
            scheduler.step()

    took = []
    for _ in range(2):
        begun = time.perf_counter()
        (_lrtrack if way.startswith("lrtrack") else _by_hand)(way, train, (optimizer, scheduler))
        took.append(time.perf_counter() - begun)
    return {"first": took[0], "second": took[1]}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
