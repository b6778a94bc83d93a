"""Delivers from the user's own process, such as `lrtrack sync`, with its credentials.

Finished runs are taken over from the shippers, because this process may have credentials that they
do not. A run is delivered with this process's credentials only if they are meant for its server;
see `authorization.py`.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from lrtrack.journal.layout import Layout, touch
from lrtrack.settings import claim_process, passed_variables
from lrtrack.shipping import temporary
from lrtrack.shipping.authorization import Authorization, Verdict, without_credentials
from lrtrack.shipping.credentials import delivery_variables
from lrtrack.shipping.lock import Lock, held
from lrtrack.shipping.process import Shipper
from lrtrack.shipping.undelivered import Undelivered, undelivered
from lrtrack.trackers import registry


def finish(layout: Layout, timeout: float, log: Callable[[str], None]) -> None:
    """Delivers the queued runs that are over; those that this process may not deliver, through
    shippers.

    Args:
        layout: the journal directory.
        timeout: the most seconds to take.
        log: takes one line of text per message.

    Raises:
        OSError: the journal directory cannot be written.
    """
    deadline = time.monotonic() + timeout
    while not drain(layout, deadline - time.monotonic(), log):
        if time.monotonic() > deadline:
            return
        time.sleep(0.2)
    remaining = [run for run in undelivered(layout) if not run.alive]
    others = [run for run in remaining if any(v is not Verdict.OWN for _, v in run.late)]
    served = [run for run in others if held(layout.shipper_lock(run.key))]
    if served:
        _watch(layout, deadline - time.monotonic(), served)


def drain(layout: Layout, timeout: float, log: Callable[[str], None]) -> bool:
    """Delivers the queued runs that are over, once, from this process and with its environment.

    Args:
        layout: the journal directory.
        timeout: seconds after which to leave the rest.
        log: takes one line of text per message.

    Returns:
        Whether this process did the work: False if another process is doing it.

    Raises:
        OSError: the journal directory cannot be written.
    """
    deadline = time.monotonic() + timeout
    layout.remove_links()
    lock = Lock(layout.sync_lock)
    if not lock.acquire():
        return False
    try:
        with temporary.throughout(layout):
            _ship(layout, timeout, lock.kept, log)
            _ship_anonymously(layout, deadline - time.monotonic())
    finally:
        lock.remove()
    return True


def _ship(
    layout: Layout, timeout: float, stays: Callable[[], bool], log: Callable[[str], None]
) -> None:
    admit = Authorization(layout).admit
    shipper = Shipper(layout, registry.get, stays=stays, once=True, admit=admit, log=log)
    timer = threading.Timer(timeout, shipper.stop)
    timer.name = "lrtrack-timeout"
    timer.start()
    try:
        shipper.run()
    finally:
        timer.cancel()
        timer.join()


def _ship_anonymously(layout: Layout, timeout: float) -> None:
    """Delivers runs that were opened without credentials, from a process without any."""
    remaining = [run for run in undelivered(layout) if not run.alive]
    targets = [t for run in remaining for t, verdict in run.late if verdict is Verdict.ANONYMOUS]
    if timeout <= 0 or not targets:
        return
    trackers = {t.tracker: registry.get(t.tracker) for t in targets}
    command = [sys.executable, "-P", "-m", "lrtrack.shipping.sync", str(layout.root), str(timeout)]
    with without_credentials(layout, targets) as environment:
        needed = delivery_variables(environment, trackers.values(), passed_variables())
        try:
            subprocess.run(  # noqa: S603
                command,
                env=needed,
                timeout=timeout + 60,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # errors are in the cursors
                stderr=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            return


def _watch(layout: Layout, timeout: float, runs: list[Undelivered]) -> None:
    """Makes the shippers that serve `runs` try everything again, and waits until they have."""
    before = {run.id: run.failures for run in runs}
    locks = {layout.shipper_lock(run.key) for run in runs}
    touch(layout.wake)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and any(map(held, locks)):
        start = time.monotonic()
        remaining = [run for run in undelivered(layout) if run.id in before]
        if all(run.failures > before[run.id] for run in remaining):
            return
        time.sleep(max(0.1, 2 * (time.monotonic() - start)))  # a long queue takes seconds


def main(directory: str, timeout: float) -> None:
    """Delivers what this process, which has no credentials, may deliver."""
    claim_process()
    layout = Layout(Path(directory))
    with temporary.throughout(layout):
        _ship(layout, timeout, lambda: True, lambda line: None)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
