"""Names, targets and status of a tracker: everything that needs no writing."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from typing import Any

from lrtrack.records import Run
from lrtrack.redaction import bare_uri
from lrtrack.testing.contract import Contract, same
from lrtrack.trackers import registry
from lrtrack.trackers.base import Tracker

_IMPORTS = """
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
        """The tracker implements the protocol `Tracker`, and options can hold its name."""
        same(True, isinstance(tracker, Tracker) and not isinstance(tracker, type), "a Tracker")
        same(True, re.fullmatch(r"[\w.-]+", tracker.name) is not None, f"name {tracker.name!r}")
        same(True, isinstance(tracker.portable, bool), "portable is True or False")

    def test_a_portable_tracker_is_found_by_its_name(self, tracker: Tracker) -> None:
        """Other processes can create a portable tracker from the entry point of its name."""
        self.needs(tracker.portable, "only this object can write")
        same(type(tracker), type(registry.get(tracker.name)), f"the tracker {tracker.name!r}")

    def test_no_run_is_active(self, tracker: Tracker) -> None:
        """`active()` is False while the user has no run open."""
        same(False, tracker.active(), "active()")

    def test_active_imports_nothing(self, tracker: Tracker) -> None:
        """`active()` imports no module, as every `track()` calls it for all trackers."""
        before = set(sys.modules)
        tracker.active()
        same([], sorted(set(sys.modules) - before), "modules that active() has loaded")

    def test_loading_it_imports_no_heavy_package(self, tracker: Tracker) -> None:
        """Loading the tracker imports no heavy package, as every program loads all trackers."""
        self.needs(tracker.portable, "only this object can write")
        command = [sys.executable, "-P", "-c", _IMPORTS, tracker.name, *self.heavy]
        done = subprocess.run(command, capture_output=True, text=True, timeout=self.patience)  # noqa: S603
        same((0, ["[]", "[]"]), (done.returncode, done.stdout.split("\n")[:2]), done.stderr)

    def test_status_is_one_line(self, tracker: Tracker) -> None:
        """`status()` is one line, as `lrtrack doctor` prints it in a table."""
        status = self.patiently(tracker.status)
        same(1, len(status.splitlines()), f"lines of {status!r}")

    def test_target_names_the_experiment(self, tracker: Tracker) -> None:
        """A run goes to the experiment that the user names, else to the default one."""
        named = tracker.target("an experiment", "the default")
        default = tracker.target(None, "the default")
        same((tracker.name, "an experiment"), (named.tracker, named.experiment), "as named")
        same((tracker.name, "the default"), (default.tracker, default.experiment), "the default")

    def test_target_needs_no_network(self, tracker: Tracker, monkeypatch: Any) -> None:
        """`target()` uses no network, as it delays the first step of the training."""
        requests: list[Any] = []

        def resolve(*host: Any, **_: Any) -> list[Any]:
            requests.append(host)
            return []

        for name in ("connect", "connect_ex", "sendto"):
            monkeypatch.setattr(_Socket, name, lambda self, *to: requests.append(to))
        monkeypatch.setattr(socket, "socket", _Socket)
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        tracker.target(self.experiment, "lrtrack")
        same([], requests, "requests to the network")

    def test_target_survives_the_journal(self, tracker: Tracker) -> None:
        """The journal stores the target for the shipper, complete and without credentials."""
        run = self.run(tracker)
        again = Run.from_dict(run.to_dict())
        uri = run.targets[0].uri
        same(run.targets, again.targets, "the target in the journal")
        same(uri, bare_uri(uri) if uri else uri, "the address without credentials")


class _Socket(socket.socket):
    """A socket class whose methods can be replaced, unlike those of the built-in one."""
