"""Writing journals in processes that are killed or forked, and on disks that are full."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from lrtrack.journal.reader import JournalReader

PRELUDE = """
import os, resource, signal, sys, time, warnings
from pathlib import Path
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State
path = Path(sys.argv[1])
run = Run(id="0123456789abcdef0123456789abcdef", name="StepLR-seed1")
"""


def script(body: str, path: Path) -> subprocess.Popen[str]:
    """Starts a separate process that works on the journal at `path`."""
    return subprocess.Popen(
        [sys.executable, "-P", "-c", PRELUDE + body, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_writer_leaves_what_it_wrote(path, rows) -> None:
    """After SIGKILL the journal is intact up to the last write and no longer alive."""
    process = script(
        """
writer = JournalWriter(path, run)
for step in range(100):
    writer.append(step, float(step), {"lr": 0.5})
writer.flush()
print("ready", flush=True)
time.sleep(600)
""",
        path,
    )
    with process:
        ready = process.stdout.readline()
        alive = JournalReader(path).alive()
        process.kill()

    assert (ready, alive) == ("ready\n", True)
    assert JournalReader(path).alive() is False
    assert rows(path) == {step: (float(step), {"lr": 0.5}) for step in range(100)}
    assert JournalReader(path).table()[1] is None


def test_a_forked_child_neither_writes_nor_keeps_the_lock(path, rows, within_seconds) -> None:
    """A DataLoader worker that outlives a killed trainer does not keep its journal alive."""
    process = script(
        """
warnings.simplefilter("ignore")  # that a process with threads forks
writer = JournalWriter(path, run)
writer.append(0, 1.0, {"lr": 0.5})
writer.flush()
ready, flushed = os.pipe()
child = os.fork()
if child == 0:
    os.close(1), os.close(2)
    writer.append(1, 2.0, {"lr": 9.0})
    time.sleep(0.6)  # as long as the writer of the parent takes for a row
    writer.flush()
    os.write(flushed, b".")
    time.sleep(600)
    os._exit(0)
os.read(ready, 1)
print(child, flush=True)
time.sleep(600)
""",
        path,
    )
    with process:
        child = int(process.stdout.readline())
        alive = JournalReader(path).alive()
        process.kill()
        try:
            within_seconds(5, lambda: not JournalReader(path).alive())
            os.kill(child, 0)  # The child lives, but the journal is not alive.
        finally:
            os.kill(child, signal.SIGKILL)

    assert alive is True
    assert rows(path) == {0: (1.0, {"lr": 0.5})}


def test_a_full_disk_costs_one_warning_and_no_row(path, rows) -> None:
    """While the disk is full, training continues with one warning, and every row is written
    later.
    """
    process = script(
        """
caught = []
warnings.showwarning = lambda message, *rest: caught.append(str(message))
writer = JournalWriter(path, run)
writer.append(0, 0.0, {"lr": 0.5})
writer.flush()
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, hard))
for step in range(1, 40):
    writer.append(step, float(step), {"lr": 0.5})
    if step % 10 == 0:
        writer.event("flush")
    if step % 7 == 0:
        writer.flush()
writer.amend(39, 39.0, {"val": 1.0})
before = path.stat().st_size
time.sleep(0.7)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
deadline = time.monotonic() + 300
while path.stat().st_size == before and time.monotonic() < deadline:
    time.sleep(0.02)
writer.append(40, 40.0, {"lr": 0.25})
writer.close(State.FINISHED)
print(len(caught), caught[0])
""",
        path,
    )
    out, err = process.communicate(timeout=300)
    events = [e.event["event"] for e in JournalReader(path).entries() if e.event]

    assert err == ""
    assert out.startswith(f"1 lrtrack cannot write {path}: ")
    assert out.endswith("It keeps trying.\n")
    assert events == ["run", "flush", "flush", "flush", "end"]
    assert rows(path) == {
        **{step: (float(step), {"lr": 0.5}) for step in range(39)},
        39: (39.0, {"lr": 0.5, "val": 1.0}),
        40: (40.0, {"lr": 0.25}),
    }


def test_a_disk_that_stays_full_is_said_at_the_end(path, rows) -> None:
    """Rows lost to a full disk are reported at close, earlier rows are intact, nothing raises."""
    process = script(
        """
caught = []
warnings.showwarning = lambda message, *rest: caught.append(str(message))
writer = JournalWriter(path, run)
writer.append(0, 0.0, {"lr": 0.5})
writer.flush()
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 50, hard))
writer.append(1, 1.0, {"lr": 0.5})
writer.close(State.FINISHED)
print(*caught, sep="|")
""",
        path,
    )
    out, err = process.communicate(timeout=300)

    assert err == ""
    assert out.count("|") == 1
    assert out.endswith(f"the last steps of {path} could not be written.\n")
    assert rows(path) == {0: (0.0, {"lr": 0.5})}
    assert JournalReader(path).alive() is False


def test_a_disk_full_from_the_start_leaves_no_file(path) -> None:
    """A journal that cannot be created raises an error and leaves no file behind."""
    process = script(
        """
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (5, hard))
try:
    JournalWriter(path, run)
except Exception as error:
    print(type(error).__name__, error)
""",
        path,
    )
    out, err = process.communicate(timeout=300)

    assert err == ""
    assert out.startswith("JournalError")
    assert "cannot write" in out
    assert not path.exists()


def test_a_long_outage_drops_the_oldest_rows_only(path, rows) -> None:
    """A long outage drops only the oldest rows, counts them, and keeps events and newer rows."""
    process = script(
        """
from lrtrack.journal import writer as module
module.BACKLOG_ROWS, module.FRAME_ROWS, module.PERIOD = 10, 4, 60.0
caught = []
warnings.showwarning = lambda message, *rest: caught.append(str(message))
writer = JournalWriter(path, run)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 50, hard))
for step in range(12):
    writer.append(step, float(step), {"lr": 0.5})
writer.event("flush")
for step in range(12, 18):
    writer.append(step, float(step), {"lr": 0.5})
writer.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
writer.close(State.FINISHED)
print(*caught, sep="|")
""",
        path,
    )
    out, err = process.communicate(timeout=300)
    events = [e.event["event"] for e in JournalReader(path).entries() if e.event]

    assert err == ""
    assert [("keeps trying" in text, "oldest" in text) for text in out.split("|")] == [
        (True, False),
        (False, True),
        (False, False),
    ]
    assert out.rstrip().endswith(f"lrtrack lost 8 steps of {path}: it could not be written.")
    assert events == ["run", "flush", "end"]
    assert sorted(rows(path)) == list(range(8, 18))
