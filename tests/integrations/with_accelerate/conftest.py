"""An Accelerator for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import accelerate
import pytest
from accelerate.state import AcceleratorState, GradientState


@pytest.fixture
def accelerator() -> Iterator[Callable[..., Any]]:
    """Makes Accelerators for the CPU and restores their state, which is global to the process."""
    yield lambda **options: accelerate.Accelerator(cpu=True, **options)
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
