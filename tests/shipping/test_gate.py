"""A closed gate holds deliveries back while the process that closed it is alive."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lrtrack.journal.layout import Layout
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State, Target
from lrtrack.shipping.delivery import Delivery
from lrtrack.trackers.memory import MemoryTracker

RUN = "1" * 32


@pytest.fixture
def delivery(clean_place: Path) -> Delivery:
    """The delivery of an empty finished run to the memory tracker."""
    layout = Layout(clean_place / ".lrtrack")
    layout.create()
    target = Target("memory", joined=True)
    JournalWriter(layout.journal(RUN), Run(RUN, "r", targets=(target,))).close(State.FINISHED)
    return Delivery(layout, RUN, target, MemoryTracker())


def test_no_gate(delivery: Delivery):
    """Deliveries proceed if there is no gate."""
    assert not delivery.kept_back()


def test_a_gate_of_a_living_process(delivery: Delivery, clean_place: Path):
    """A gate is closed while the process whose id is in the file is alive."""
    Layout(clean_place / ".lrtrack").gate(RUN, "memory").write_text(str(os.getpid()))

    assert delivery.kept_back()


@pytest.mark.parametrize("content", ["", "no number"])
def test_a_gate_of_nobody(delivery: Delivery, clean_place: Path, content: str):
    """A gate file without a process id holds nothing back."""
    Layout(clean_place / ".lrtrack").gate(RUN, "memory").write_text(content)

    assert not delivery.kept_back()


def test_a_gate_of_a_dead_process(delivery: Delivery, clean_place: Path):
    """A gate whose process has died is open."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    Layout(clean_place / ".lrtrack").gate(RUN, "memory").write_text(str(process.pid))

    assert not delivery.kept_back()
