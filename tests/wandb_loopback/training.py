"""What the delivery tests share: a training into W&B, and what of it arrived."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

import lrtrack
from lrtrack.trackers.base import Query
from lrtrack.trackers.local import LocalTracker

PLACE = "tester/digits"


def train(steps: int = 40, at: dict[int, Any] | None = None, **options: Any) -> lrtrack.TrackedRun:
    """Track `steps` steps into W&B; every seventh loss is NaN, every eleventh infinite.

    `at` has what is to happen after a step: a function of the run.
    """
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=steps)
    given = {"tracker": "wandb", "experiment": "digits", "seed": 1, "flush_timeout": 300.0}
    with lrtrack.track(optimizer, scheduler, **{**given, **options}) as run:
        for step in range(steps):
            optimizer.zero_grad()
            (weight**2).sum().backward()
            optimizer.step()
            scheduler.step()
            if step % 7 == 3:
                run.log(val_loss=math.nan)
            if step % 11 == 5:
                run.log(val_loss=math.inf)
            if at and step in at:
                at[step](run)
    return run


def journalled() -> dict[int, dict[str, float]]:
    """What the only journal holds."""
    (history,) = LocalTracker().histories(Query(directory=Path(".lrtrack")))
    return {
        int(step): {
            name: float(history.metrics[name][row])
            for name in history.metrics
            if history.present[name][row]
        }
        for row, step in enumerate(history.steps)
    }


def arrived(server: Any) -> list[tuple[int, dict[str, float]]]:
    """lrtrack's rows of the only run, in the order of the server."""
    (run,) = server.runs(PLACE)
    rows = [row for row in run.history if "lrtrack/step" in row]
    return [
        (row["lrtrack/step"], {k: v for k, v in row.items() if k[0] != "_" and k != "lrtrack/step"})
        for row in rows
    ]


def all_there(server: Any) -> None:
    """Every step of the journal is on the server, once, in order, and equal."""
    expected = journalled()
    found = arrived(server)
    assert [step for step, _ in found] == sorted(expected)
    for step, metrics in found:
        assert repr(_plain(metrics)) == repr(_plain(expected[step]))


def _plain(metrics: dict[str, Any]) -> list[tuple[str, float]]:
    return sorted((name, float(value)) for name, value in metrics.items())
