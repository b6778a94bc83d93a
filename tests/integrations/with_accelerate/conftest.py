"""An Accelerator for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import accelerate
import pytest
from accelerate.state import AcceleratorState, GradientState


@pytest.fixture
def accelerator() -> Iterator[Callable[..., Any]]:
    """Make one for the processor; its state, which is one a process, is put back."""
    yield lambda **given: accelerate.Accelerator(cpu=True, **given)
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
