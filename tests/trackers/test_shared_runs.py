"""What belongs to each of several blocks in one run."""

from __future__ import annotations

import numpy as np
import pytest

from lrtrack.trackers.shared_runs import arrays_of_block


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("lr", False), ("grad_norm/body", False), ("loss_count", False), ("update_norm", False),
        ("weight_norm/body", False), ("update_ratio/body", False), ("accuracy", True),
        ("updates", True),
    ],
)  # fmt: skip
def test_what_the_block_without_a_prefix_recorded_is_its_own(name: str, own: bool) -> None:
    """Another block has the user's metrics without a prefix, and not those that lrtrack records."""
    present = np.ones(2, dtype=bool)
    arrays = {
        "steps": np.arange(2),
        "times": np.zeros(2),
        "metrics": {name: np.zeros(2), "b/lr": np.zeros(2)},
        "present": {name: present, "b/lr": present},
    }

    assert (name in arrays_of_block(arrays, "b/", ["", "b/"])["metrics"]) is own
    assert name in arrays_of_block(arrays, "", ["", "b/"])["metrics"]
