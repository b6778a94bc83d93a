"""A run resumed elsewhere, in another process, machine or journal, stays one run."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

import lrtrack
from lrtrack.trackers import registry
from lrtrack.trackers.base import Query

from .cases import TRACKERS
from .delivered import mlflow_runs, of_mlflow, of_wandb
from .truth import EXPERIMENT

NAME = "the run"


def train(run: Any, optimizer: Any, scheduler: Any, until: int, seed: int = 0) -> dict[int, float]:
    """Trains up to step `until` and returns the losses; another seed gives another order of
    data.
    """
    losses = {}
    while run.step < until:
        torch.manual_seed(seed + run.step)
        optimizer.zero_grad()
        loss = sum((p * torch.randn(p.shape)).square().sum() for p in parameters(optimizer))
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses[run.step] = loss.item()
    return losses


def parameters(optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    """The parameters that an optimizer trains."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def made() -> tuple[Any, Any]:
    """An optimizer and a scheduler."""
    torch.manual_seed(0)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.randn(3))], lr=0.1, momentum=0.9)
    return optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.5)


@pytest.fixture(params=TRACKERS)
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """One tracker: the options to track with, and a function that reads the only run back."""
    if request.param == "mlflow":
        store = request.getfixturevalue("store")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
        read = lambda: of_mlflow(store, mlflow_runs(store))  # noqa: E731
    else:
        server = request.getfixturevalue("wandb_server")
        read = lambda: of_wandb(server)  # noqa: E731
    options = {"tracker": request.param, "experiment": EXPERIMENT, "name": NAME}
    return {**options, "flush_timeout": 300.0}, read


@pytest.mark.parametrize("kept", [True, False], ids=["same journal", "other machine"])
@pytest.mark.parametrize("seed", [0, 50], ids=["same data", "other data"])
def test_from_a_checkpoint(place: Any, kept: bool, seed: int) -> None:
    """After a delivered, finished run, the steps after the checkpoint are those of the new run."""
    options, read = place
    optimizer, scheduler = made()
    with lrtrack.track(optimizer, scheduler, **options) as run:
        first = train(run, optimizer, scheduler, 3)
        saved = copy.deepcopy([run.state_dict(), optimizer.state_dict(), scheduler.state_dict()])
        weights = [p.detach().clone() for p in parameters(optimizer)]
        first |= train(run, optimizer, scheduler, 5)
    if not kept:
        Path(".lrtrack").rename("elsewhere")  # in one step, because a shipper may still write there
    optimizer, scheduler = made()
    for parameter, weight in zip(parameters(optimizer), weights, strict=True):
        parameter.data.copy_(weight)
    optimizer.load_state_dict(saved[1])
    scheduler.load_state_dict(saved[2])
    with lrtrack.track(optimizer, scheduler, **options, resume=saved[0]["id"]) as again:
        again.load_state_dict(saved[0])
        second = train(again, optimizer, scheduler, 9, seed)
    (found,) = read().values()
    query = Query(experiment=EXPERIMENT)
    (history,) = registry.get(options["tracker"]).histories(query)

    assert again.id == run.id
    assert found["loss"] == {**first, **second}
    assert found["lr"] == {step: 0.1 * 0.5 ** (step // 2) for step in range(10)}
    assert found["grad_norm"].keys() == set(range(10))
    assert history.steps.tolist() == list(range(10))
    assert history.metrics["loss"].tolist() == [{**first, **second}[step] for step in range(10)]
