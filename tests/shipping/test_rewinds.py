"""Trackers that keep abandoned points return the surviving course alone."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import mlflow
import pyarrow.parquet as pq
import pytest
import torch

import lrtrack
from lrtrack.records import History
from lrtrack.trackers import registry
from lrtrack.trackers.base import Query
from lrtrack.trackers.wandb import history_rows

EXPERIMENT = "rewound"


class Loop:
    """A training with Adam whose loss is whatever the test says."""

    def __init__(self) -> None:
        self.weight = torch.nn.Parameter(torch.ones(2))
        self.optimizer = torch.optim.Adam([self.weight], lr=0.1)
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, 0.9)
        self.parts: tuple[Any, ...] = (self.optimizer, self.scheduler)

    def train(self, steps: int, loss: float) -> None:
        """Trains with a constant loss."""
        for _ in range(steps):
            self.optimizer.zero_grad()
            (self.weight.sum() * 0.0 + loss).backward()
            self.optimizer.step()
            self.scheduler.step()

    def saved(self) -> list[Any]:
        """A checkpoint."""
        return [copy.deepcopy(part.state_dict()) for part in self.parts]

    def load(self, saved: list[Any]) -> None:
        """Returns to a checkpoint."""
        for part, state in zip(self.parts, copy.deepcopy(saved), strict=True):
            part.load_state_dict(state)


@pytest.fixture(params=["mlflow", "wandb"])
def options(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The options of a block that is delivered to one of the trackers."""
    if request.param == "mlflow":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", request.getfixturevalue("store"))
    else:
        request.getfixturevalue("wandb_server")
    return {"tracker": request.param, "experiment": EXPERIMENT, "flush_timeout": 300.0}


def histories(options: dict[str, Any]) -> list[History]:
    """The runs as the tracker returns them, newest first."""
    return list(registry.get(options["tracker"]).histories(Query(EXPERIMENT, cache=False)))


def test_delivered_before_and_after(options: dict[str, Any]) -> None:
    """Rows and file both show the surviving course, also of a run that is still going."""
    loop = Loop()
    with lrtrack.track(*loop.parts, **options) as run:
        loop.train(4, 1.0)
        saved = loop.saved()
        loop.train(6, 2.0)
        run.flush()
        loop.load(saved)
        loop.train(3, 3.0)
        run.flush()
        running = histories(options)[0]
    (over,) = histories(options)
    if options["tracker"] == "wandb":  # its server may get the rows late, but without the file
        import wandb

        rows = history_rows.fetch_steps(wandb.Api().run(f"tester/{EXPERIMENT}/{run.id}"))
        losses = rows["loss"].to_pylist()
    else:
        losses = running.metrics["loss"].tolist()

    assert losses == [1.0] * 4 + [3.0] * 3
    assert over.steps.tolist() == list(range(7))
    assert over.metrics["loss"].tolist() == losses
    assert over.fields()["rewound"] == "4-9"
    assert (over.times[1:] > over.times[:-1]).all()


def test_resumed_and_branched(options: dict[str, Any]) -> None:
    """A resumed run and a branch of it each have their own course, linked in a comparison."""
    loop = Loop()
    with lrtrack.track(*loop.parts, **options, name="stem") as run:
        loop.train(4, 1.0)
        saved = loop.saved()
        loop.train(6, 2.0)
    with lrtrack.track(*loop.parts, **options, resume=run.id, name="stem"):
        loop.load(saved)
        loop.train(3, 3.0)
    with lrtrack.track(*loop.parts, **options, resume=run.id, name="branch"):
        loop.load(saved)
        loop.train(2, 4.0)
    branch, stem = histories(options)
    comparison = lrtrack.compare(EXPERIMENT, tracker=options["tracker"])

    assert stem.metrics["loss"].tolist() == [1.0] * 4 + [3.0] * 3
    assert branch.steps.tolist() == [4, 5]
    assert branch.fields()["branched_at"] == 4
    assert branch.fields()["parent"] in (stem.id, stem.run.id)
    (linked,) = [h for h in comparison.histories if h.run.name == "branch"]
    assert linked.parent is not None
    assert linked.parent.run.id == stem.run.id
    finals = dict(zip([h.run.name for h in comparison.histories], comparison.runs, strict=True))
    assert (finals["branch"].final, finals["stem"].final) == (4.0, 3.0)


def test_what_mlflow_has(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow keeps both points of a step, and the columnar file and the tags have one course."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    loop = Loop()
    with lrtrack.track(
        *loop.parts, tracker="mlflow", experiment=EXPERIMENT, flush_timeout=300.0
    ) as run:
        loop.train(4, 1.0)
        saved = loop.saved()
        loop.train(2, 2.0)
        run.flush()
        loop.load(saved)
        loop.train(1, 3.0)
    client = mlflow.MlflowClient(store)
    points = client.get_metric_history(run.id, "loss")
    file = client.download_artifacts(run.id, "lrtrack/history.parquet", str(Path.cwd()))
    table = pq.read_table(file)

    assert [(p.step, p.value) for p in sorted(points, key=lambda p: p.timestamp)] == [
        (0, 1.0), (1, 1.0), (2, 1.0), (3, 1.0), (4, 2.0), (5, 2.0), (4, 3.0)
    ]  # fmt: skip
    assert table["loss"].to_pylist() == [1.0, 1.0, 1.0, 1.0, 3.0]
    tags = client.get_run(run.id).data.tags
    assert (tags["lrtrack.rewound"], client.get_run(run.id).data.metrics["loss_final"]) == (
        "4-5", 3.0
    )  # fmt: skip
