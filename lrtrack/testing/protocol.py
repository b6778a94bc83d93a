"""What can be asked of a tracker without writing anything."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from typing import Any

from lrtrack.records import Run
from lrtrack.settings import redact
from lrtrack.testing.contract import Contract, same
from lrtrack.trackers import registry
from lrtrack.trackers.base import Tracker

_ASKED = """
import sys
from lrtrack.trackers import registry
tracker = registry.get(sys.argv[1])
loaded = set(sys.modules)
tracker.active()
print(sorted(set(sys.modules) - loaded))
print(sorted(set(sys.argv[2:]) & set(sys.modules)))
"""


class Protocols(Contract):
    """Attributes, names, `active()`, `status()` and `target()`."""

    def test_it_is_a_tracker(self, tracker: Tracker) -> None:
        """It has all that the protocol `Tracker` asks for, and a name that options can hold."""
        same(True, isinstance(tracker, Tracker) and not isinstance(tracker, type), "a Tracker")
        same(True, re.fullmatch(r"[\w.-]+", tracker.name) is not None, f"name {tracker.name!r}")
        same(True, isinstance(tracker.portable, bool), "portable is True or False")

    def test_a_portable_one_is_found_by_its_name(self, tracker: Tracker) -> None:
        """Other processes make it anew through the entry-point group `lrtrack.trackers`."""
        self.needs(tracker.portable, "only this very object writes")
        same(type(tracker), type(registry.get(tracker.name)), f"the tracker {tracker.name!r}")

    def test_active_says_yes_or_no(self, tracker: Tracker) -> None:
        """Nobody has opened a run here."""
        same(False, tracker.active(), "active()")

    def test_active_imports_nothing(self, tracker: Tracker) -> None:
        """Every program that calls `track()` asks all trackers."""
        before = set(sys.modules)
        tracker.active()
        same([], sorted(set(sys.modules) - before), "modules that active() has loaded")

    def test_being_asked_costs_no_heavy_import(self, tracker: Tracker) -> None:
        """Programs that use another tracker load this one, too, but not what it needs to write."""
        self.needs(tracker.portable, "only this very object writes")
        command = [sys.executable, "-P", "-c", _ASKED, tracker.name, *self.heavy]
        done = subprocess.run(command, capture_output=True, text=True, timeout=self.patience)  # noqa: S603
        same((0, ["[]", "[]"]), (done.returncode, done.stdout.split("\n")[:2]), done.stderr)

    def test_status_is_one_line(self, tracker: Tracker) -> None:
        """It is one row of what `lrtrack doctor` prints."""
        said = self.patiently(tracker.status)
        same(1, len(said.splitlines()), f"lines of {said!r}")

    def test_target_says_where(self, tracker: Tracker) -> None:
        """What the user asked for, else the default."""
        asked = tracker.target("an experiment", "the default")
        silent = tracker.target(None, "the default")
        same((tracker.name, "an experiment"), (asked.tracker, asked.experiment), "what was asked")
        same((tracker.name, "the default"), (silent.tracker, silent.experiment), "the default")

    def test_target_needs_no_network(self, tracker: Tracker, monkeypatch: Any) -> None:
        """It is called in the training process, before the first step."""
        asked: list[Any] = []

        def looked_up(*about: Any, **_: Any) -> list[Any]:
            asked.append(about)
            return []

        for name in ("connect", "connect_ex", "sendto"):
            monkeypatch.setattr(_Socket, name, lambda self, *about: asked.append(about))
        monkeypatch.setattr(socket, "socket", _Socket)
        monkeypatch.setattr(socket, "getaddrinfo", looked_up)
        tracker.target(self.experiment, "lrtrack")
        same([], asked, "what was asked of the network")

    def test_target_can_be_written_down(self, tracker: Tracker) -> None:
        """The journal has it, for the shipper: nothing is lost on the way, and nothing secret."""
        run = self.run(tracker)
        again = Run.from_dict(run.to_dict())
        uri = run.targets[0].uri
        same(run.targets, again.targets, "what the journal says of the target")
        same(uri, redact(uri) if uri else uri, "the address without credentials")


class _Socket(socket.socket):
    """A socket class whose methods may be replaced: those of the original one may not."""
