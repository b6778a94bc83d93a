"""A step never waits for a device: values that are still being computed are fetched later."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn.utils import clip_grad_norm_

import lrtrack
from lrtrack.capture.device_scalars import ClippedScalar, DeviceScalar, settle
from lrtrack.capture.step_capture import StepCapture
from lrtrack.trackers.base import Query
from lrtrack.trackers.local import LocalTracker


def test_no_scalar_is_read_inside_a_step(recwarn: pytest.WarningsRecorder) -> None:
    """On a device that cannot be read from, every value is held and none is missing."""
    records: list[dict[str, Any]] = []
    model = torch.nn.Linear(4, 1, device="meta")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    capture = StepCapture(optimizer, on_step=lambda step, time, metrics: records.append(metrics))
    capture.attach()
    for limit in (None, 0.5):
        optimizer.zero_grad()
        model(torch.ones(2, 4, device="meta")).sum().backward()
        if limit is not None:
            clip_grad_norm_(model.parameters(), limit)
        optimizer.step()
    capture.detach()

    kinds = [{name: type(value) for name, value in each.items()} for each in records]
    plain = {"lr": float, "grad_norm": DeviceScalar, "loss": DeviceScalar}
    clipped = {**plain, "grad_norm": ClippedScalar, "grad_norm_preclip": DeviceScalar}
    assert kinds == [plain, clipped]
    assert [str(each.message) for each in recwarn] == []


def test_a_clipped_norm_is_worked_out_when_it_arrives() -> None:
    """A clipped norm is the limit if it was above, else itself, including torch's 1e-6."""
    totals = [DeviceScalar(torch.tensor(value, dtype=torch.float64)) for value in (4.0, 0.25)]
    rows = [(0, 0.0, {"grad_norm": ClippedScalar(total, 0.5), "loss": total}) for total in totals]
    settle(rows)

    assert [row[2] for row in rows] == [
        {"grad_norm": 4.0 * (0.5 / (4.0 + 1e-6)), "loss": 4.0},
        {"grad_norm": 0.25, "loss": 0.25},
    ]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_no_step_waits_for_a_gpu(clean_place) -> None:
    """A tracked loop runs correctly where any wait for the device is an error."""
    model = torch.nn.Linear(4, 1, device="cuda")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    inputs = torch.ones(2, 4, device="cuda")
    with lrtrack.track(optimizer, tracker="local", updates=2) as run:
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(20):
                optimizer.zero_grad()
                model(inputs).sum().backward()
                clip_grad_norm_(model.parameters(), 0.5)
                optimizer.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert run.step == 19
    (history,) = LocalTracker().histories(Query())

    assert history.metrics["loss"].tolist() == [pytest.approx(model(inputs).sum().item())] * 20
    assert history.metrics["grad_norm"].tolist() == [pytest.approx(0.5, rel=1e-5)] * 20
    assert history.series("update_norm")[1].tolist() == [0.0] * 10
    assert history.series("update_ratio")[0].tolist() == list(range(0, 20, 2))
