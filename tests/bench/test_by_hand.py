"""Logging by hand in the benchmark: what is logged is there, and nothing leaves the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent
PROGRAM = """
import socket, by_hand
tried = []
by_hand.refuse_the_network(tried)
with socket.create_server(("127.0.0.1", 0)) as here:
    socket.create_connection(here.getsockname()).close()
for attempt in (
    lambda: socket.create_connection(("192.0.2.1", 80), timeout=1),
    lambda: socket.getaddrinfo("example.invalid", 80),
):
    try:
        attempt()
    except OSError as error:
        print(error)
print(tried)
"""


def test_what_leaves_the_machine_is_refused() -> None:
    """A connection to another machine fails before it is made, and one to this machine works."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=HERE, env={**os.environ, "PYTHONSAFEPATH": ""},
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout.splitlines() == [
        "the benchmark does without a network, and 192.0.2.1 was asked for",
        "the benchmark does without a network, and example.invalid was asked for",
        "['192.0.2.1', 'example.invalid']",
    ]


def test_every_step_is_in_the_event_file(benchmark_module: Callable[[str], Any]) -> None:
    """TensorBoard's event file has each metric of each step that the benchmark logs."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    by_hand = benchmark_module("by_hand")
    with ExitStack() as stack:
        log = by_hand.start("tensorboard", stack, torch.nn.Linear(1, 1))
        for step in range(3):
            log(step, {"lr": 0.5, "loss": 1.0 + step})
    events = EventAccumulator("runs")
    events.Reload()

    assert {
        name: [(point.step, point.value) for point in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    } == {"lr": [(0, 0.5), (1, 0.5), (2, 0.5)], "loss": [(0, 1.0), (1, 2.0), (2, 3.0)]}


def test_each_way_by_hand_has_a_name(benchmark_module: Callable[[str], Any]) -> None:
    """Each way to log by hand has a package and a name in the table, and can be looked up."""
    ways = benchmark_module("ways")

    assert [way for way in ways.BY_HAND if way not in ways.WAYS] == []
    assert ways.installed("mlflow")
    assert ways.loop_row("aim") == ("peers", "loop time / bare: Aim's `Run.track` each step")
    assert ways.loop_row("norm")[0] == "loops"
