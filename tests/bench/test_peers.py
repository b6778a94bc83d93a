"""The table of what arrives takes the loop times from the stored results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_each_loop_time_is_found(benchmark_module: Callable[[str], Any], tmp_path: Path) -> None:
    """Each way with a cost has its row in the results, and a way without one is not measured."""
    peers = benchmark_module("peers")
    stored = benchmark_module("results").HERE

    assert [way for way in peers._COSTS if peers._cost(way, stored) == "not measured"] == []
    assert peers._cost("dvclive", stored) == "not measured"
    assert peers._cost("lrtrack", tmp_path) == "not measured"
