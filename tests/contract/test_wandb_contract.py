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
    """The rest takes two minutes, as each run is a process of its own."""

    test_a_whole_run_arrives = test_half_a_batch_is_stored = test_a_new_sink_goes_on = None
    test_the_state_of_a_delivery_is_lost = test_what_the_end_tells_is_kept = None
    test_a_killed_training_has_failed = None


class TestWandb(TrackerContract if "LRTRACK_SOAK" in os.environ else Chosen):  # type: ignore[misc]
    """A server on the loopback, whose rows come some time after its client has taken them."""

    raw_filter = "config.lrtrack.value.seed = 0"
    follows = False

    @pytest.fixture
    def tracker(self, wandb_server: Any) -> WandbTracker:
        return WandbTracker()
