"""A closed gate holds deliveries back while the process that closed it is alive."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from lrtrack.journal import gate as gate_module
from lrtrack.journal.gate import Gate, is_closed
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


def test_a_gate_whose_process_id_is_another_s_now(delivery: Delivery, clean_place: Path):
    """A gate is open if the process with its id began after the gate was made."""
    gate = Layout(clean_place / ".lrtrack").gate(RUN, "memory")
    gate.write_text(str(os.getpid()))
    os.utime(gate, (1e9, 1e9))  # long before this process began

    assert not delivery.kept_back()


def test_a_gate_is_held_by_its_lock(delivery: Delivery, clean_place: Path):
    """A closed gate holds back whatever its file says, and leaves nothing once it is open."""
    path = Layout(clean_place / ".lrtrack").gate(RUN, "memory")
    gate = Gate(path)
    gate.close()
    gate.close()
    os.utime(path, (1e9, 1e9))
    closed = delivery.kept_back()
    gate.open()
    gate.open()

    assert (closed, delivery.kept_back(), path.exists()) == (True, False, False)


def test_a_gate_of_a_killed_process_with_a_living_child(clean_place: Path):
    """A forked child does not keep the gate of a process that was killed."""
    path = clean_place / "gate"
    code = f"""
import os, pathlib, signal, sys
from lrtrack.journal.gate import Gate
gate = Gate(pathlib.Path({str(path)!r}))
gate.close()
if os.fork() == 0:
    print("child", flush=True)
    sys.stdin.read()
    os._exit(0)
os.kill(os.getpid(), signal.SIGKILL)
"""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"child\n"
    process.wait()
    closed = is_closed(path)
    process.communicate()  # ends the child

    assert (path.exists(), closed) == (True, False)


def test_a_link_in_the_place_of_a_gate(clean_place: Path):
    """A link is neither followed nor taken for a closed gate."""
    (clean_place / "victim").write_text("precious")
    path = clean_place / "gate"
    path.symlink_to(clean_place / "victim")

    with pytest.raises(OSError, match="symbolic link"):
        Gate(path).close()
    assert not is_closed(path)
    assert (clean_place / "victim").read_text() == "precious"


def test_a_gate_that_another_process_keeps(
    clean_place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process waits a second for another one's look at a gate, and then gives up."""
    path, times, pauses = clean_place / "gate", iter([10.0, 11.0, 11.001]), []
    other = Gate(path)
    other.close()
    clock = SimpleNamespace(monotonic=lambda: next(times), sleep=pauses.append)
    monkeypatch.setattr(gate_module, "time", clock)

    with pytest.raises(OSError, match="another process keeps it"):
        Gate(path).close()
    assert pauses == [0.01]
    other.open()


@pytest.mark.parametrize(
    ("after", "closed"), [(2.0, True), (2.001, False), (-1e9, True), (None, False)]
)
def test_a_process_that_began_about_when_its_gate_was_made(
    clean_place: Path, monkeypatch: pytest.MonkeyPatch, after: float | None, closed: bool
) -> None:
    """A process keeps a gate if it was there, or up to 2 s later: clocks are not that exact."""
    path = clean_place / "gate"
    path.write_text("1234")
    os.utime(path, (1e6, 1e6))
    began = None if after is None else 1e6 + after
    monkeypatch.setattr(gate_module, "_start_of", {1234: began}.__getitem__)

    assert is_closed(path) is closed


def test_when_a_process_began(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process' start is known to a second; it is 0 where the system does not tell it."""
    began = gate_module._start_of(os.getpid())
    assert began == pytest.approx(psutil.Process().create_time(), abs=1.5)

    for text in ("7 (a b) S 1", "7 (a b) S" + " x" * 30):
        monkeypatch.setattr(Path, "read_text", lambda path, text=text: text)
        assert gate_module._start_of(os.getpid()) == 0.0
    monkeypatch.undo()
    monkeypatch.delattr("time.CLOCK_BOOTTIME")  # as on macOS
    assert gate_module._start_of(os.getpid()) == 0.0


def test_a_process_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of another user is alive; one with an impossible id is not."""
    assert gate_module._start_of(2**80) is None

    def forbid(process: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", forbid)
    assert gate_module._start_of(os.getpid()) == pytest.approx(
        psutil.Process().create_time(), abs=1.5
    )
