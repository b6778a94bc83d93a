"""What stands in for the user's optimizer once its block is over.

Python frees an object with its last reference, unless a cycle waits for the collector. A run may be
kept for long, and what belongs to a block refers to itself in many ways, so a block that is over
drops every reference to optimizer, scheduler and parameters.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

#: Has what a step in another thread may still read of an optimizer.
RELEASED: Any = SimpleNamespace(param_groups=[{"params": [], "lr": 0.0}], state={}, defaults={})
