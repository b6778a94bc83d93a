"""A wall clock that is set while a training is interrupted."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

import lrtrack
from lrtrack.trackers.base import Query
from lrtrack.trackers.local import LocalTracker


@pytest.mark.usefixtures("clean_place")
def test_a_clock_set_back_before_a_run_is_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resumed run goes on after its last record, whatever the wall clock shows by then."""
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.1)

    def train(resume: str | None = None) -> str:
        with lrtrack.track(optimizer, tracker="local", experiment="x", resume=resume) as run:
            for _ in range(3):
                optimizer.zero_grad()
                weight.square().sum().backward()
                optimizer.step()
            run.log(val_loss=1.0)
        return run.id

    first, real = train(), time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3600.0)
    train(first)
    (history,) = LocalTracker().histories(Query(experiment="x"))

    assert history.steps.tolist() == list(range(6))
    assert np.all(np.diff(history.times) > 0)
    assert history.times[5] - history.times[0] < 3600.0
    assert history.ended is not None
    assert history.ended > history.times[5]
