"""Who starts the shipper, and how often."""

from __future__ import annotations

import torch

import lrtrack


def test_short_runs_in_a_row_start_one_shipper(store, living_shippers, command_line) -> None:
    """A shipper that is still coming up for one run is not started again for the next."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(()))], lr=0.1)
    for _ in range(5):
        with lrtrack.track(optimizer, tracker="mlflow", flush_timeout=0):
            optimizer.step()
    started = living_shippers()
    synced = command_line("sync", MLFLOW_TRACKING_URI=store)

    assert len(started) == 1
    assert synced.returncode == 0
