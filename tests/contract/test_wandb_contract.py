"""The contract suite, run on W&B: what asks most of its client here, all of it in the soak."""

from __future__ import annotations

import os
from typing import Any

import pytest

from lrtrack.testing import TrackerContract
from lrtrack.testing.delivering import Delivering
from lrtrack.testing.protocol import Protocols
from lrtrack.trackers.wandb import WandbTracker


class Chosen(Protocols, Delivering):
    """The rest takes a minute and a half, as each run is a process of its own."""


class TestWandb(TrackerContract if "LRTRACK_SOAK" in os.environ else Chosen):  # type: ignore[misc]
    """A server on the loopback, whose rows come some time after its client has taken them."""

    filter = "config.lrtrack.value.seed = 0"
    follows = False

    @pytest.fixture
    def tracker(self, wandb_server: Any) -> WandbTracker:
        return WandbTracker()
