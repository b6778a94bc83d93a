"""The distance of an inferred schedule from the curve that it describes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import lrtrack


@pytest.fixture(scope="session")
def error_of() -> Callable[..., float]:
    """Return the largest distance of the simulated spec from a curve, as a share of its peak."""

    def error(inferred: lrtrack.InferredSchedule, lr: Any, step: Any) -> float:
        simulated = lrtrack.simulate(inferred.spec, int(step[-1]) + 1, lr=inferred.base_lr)[:, 0]
        return float(np.abs(simulated[step] - lr).max() / np.max(lr))

    return error
