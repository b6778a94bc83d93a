"""The W&B tracker keeps the contract of `lrtrack.testing`; all tests run in the soak only."""

from __future__ import annotations

import os
from typing import Any

import pytest

from lrtrack.testing import TrackerContract
from lrtrack.testing.delivering import Delivering
from lrtrack.testing.protocol import Protocols
from lrtrack.trackers.wandb import WandbTracker


class Chosen(Protocols, Delivering):
    """The most demanding tests; all take two minutes, as each run is a separate process."""

    test_a_whole_run_arrives = test_half_a_batch_is_stored = test_a_new_sink_continues = None
    test_the_state_of_a_delivery_is_lost = test_diagnoses_and_suggestions_are_kept = None
    test_a_killed_training_has_failed = None


class TestWandb(TrackerContract if os.environ.get("LRTRACK_SOAK") == "1" else Chosen):  # type: ignore[misc]
    """The W&B tracker keeps the contract with a loopback server that shows rows with a delay."""

    raw_filter = "config.lrtrack.value.seed = 0"
    follows = False

    @pytest.fixture
    def tracker(self, wandb_server: Any) -> WandbTracker:
        return WandbTracker()
