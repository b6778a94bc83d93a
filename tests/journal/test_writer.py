"""Writing journals: rows, amendments and the life of a journal."""

from __future__ import annotations

import math
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrtrack.errors import JournalError, LRTrackWarning
from lrtrack.journal import writer as writer_module
from lrtrack.journal.framing import PREAMBLE
from lrtrack.journal.reader import JournalReader
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import State

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


def test_rows_reach_the_file_by_themselves(writer, path, rows, within_seconds) -> None:
    """Rows reach the file soon without any call."""
    open_one = writer()
    open_one.append(0, 1.0, {"lr": 0.5})
    within_seconds(10, lambda: len(rows(path)) == 1)

    assert rows(path) == {0: (1.0, {"lr": 0.5})}
    assert writer_module.PERIOD <= 0.5


def test_the_file_is_private(writer, path) -> None:
    """The file has mode 0600, whatever the umask."""
    before = os.umask(0)
    try:
        writer()
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_run_is_written_first(writer, path, run) -> None:
    """The run is written to the file as soon as the journal is opened."""
    writer()

    assert JournalReader(path).run == run


def test_alive_while_open(writer, path) -> None:
    """A journal is alive from opening to close and has the ending it was closed with."""
    open_one = writer()
    reader = JournalReader(path)
    before = (reader.alive(), reader.table()[1])
    open_one.close(State.FAILED)
    ending = reader.table()[1]

    assert before == (True, None)
    assert reader.alive() is False
    assert ending is not None
    assert ending.state is State.FAILED
    assert abs(ending.time - time.time()) < 60


def test_close_is_idempotent(writer, path) -> None:
    """A second close changes nothing."""
    open_one = writer()
    open_one.close(State.FINISHED)
    size = path.stat().st_size
    open_one.close(State.FAILED)

    assert path.stat().st_size == size


@pytest.mark.parametrize("flushed", [False, True], ids=["in memory", "on disk"])
def test_amend_adds_and_replaces(writer, path, rows, flushed: bool) -> None:
    """Amending a step replaces its given values and keeps the others, before and after a write."""
    open_one = writer()
    open_one.append(0, 1.0, {"lr": 0.5, "loss": 2.0})
    open_one.append(1, 2.0, {"lr": 0.25, "loss": 3.0})
    if flushed:
        open_one.flush()
    open_one.amend(1, 2.0, {"loss": 9.0, "val": 0.1})
    open_one.append(2, 3.0, {"lr": 0.125})
    open_one.close(State.FINISHED)

    assert rows(path) == {
        0: (1.0, {"lr": 0.5, "loss": 2.0}),
        1: (2.0, {"lr": 0.25, "loss": 9.0, "val": 0.1}),
        2: (3.0, {"lr": 0.125}),
    }


def test_amend_takes_a_copy(writer, path, rows) -> None:
    """Changing the mapping after `amend` does not change the record."""
    open_one = writer()
    mine = {"val": 1.0}
    open_one.amend(0, 1.0, mine)
    mine["val"] = 2.0
    open_one.amend(0, 1.0, {"more": 3.0})
    open_one.flush()

    assert rows(path) == {0: (1.0, {"val": 1.0, "more": 3.0})}
    assert mine == {"val": 2.0}


def test_nan_is_a_value(writer, path, rows) -> None:
    """A recorded NaN differs from a missing value, and infinities and -0.0 are read back
    exactly.
    """
    open_one = writer()
    open_one.append(0, 1.0, {"loss": math.nan, "a": math.inf})
    open_one.append(1, 2.0, {"a": -0.0})
    open_one.flush()
    found = rows(path)

    assert found[0][1].keys() == {"loss", "a"}
    assert math.isnan(found[0][1]["loss"])
    assert found[0][1]["a"] == math.inf
    assert found[1][1].keys() == {"a"}
    assert math.copysign(1.0, found[1][1]["a"]) == -1.0


def test_metrics_come_and_go(writer, path, rows) -> None:
    """Rows may have different metrics, within a frame and across frames."""
    names = ["lr", "val/loss", "ä", "", "grad_norm/0.weight", "lr "]
    open_one = writer()
    expected = {}
    for step in range(60):
        metrics = {name: float(step) for i, name in enumerate(names) if step % (i + 1) == 0}
        expected[step] = (step / 8, dict(metrics))
        open_one.append(step, step / 8, metrics)
        if step % 25 == 24:
            open_one.flush()
    open_one.flush()

    assert rows(path) == expected
    assert JournalReader(path).table()[0].column_names == ["step", "time", *names]


def test_many_rows(writer, path) -> None:
    """A journal of 20,000 rows is read back exactly."""
    values = np.random.default_rng(0).normal(size=(20_000, 3))
    open_one = writer()
    for step, (lr, norm, loss) in enumerate(values.tolist()):
        open_one.append(step, step / 1000, {"lr": lr, "grad_norm": norm, "loss": loss})
    open_one.close(State.FINISHED)
    table, _ = JournalReader(path).table()

    assert table["step"].to_pylist() == list(range(20_000))
    assert np.array_equal(table["time"].to_numpy(), np.arange(20_000) / 1000)
    for name, column in zip(("lr", "grad_norm", "loss"), values.T, strict=True):
        assert np.array_equal(table[name].to_numpy(), column)


def test_wide_rows_make_small_frames(writer, path, monkeypatch) -> None:
    """Frames stay small even if each row has thousands of metrics."""
    monkeypatch.setattr(writer_module, "FRAME_VALUES", 1000)
    open_one = writer()
    metrics = {f"grad_norm/{i}": float(i) for i in range(98)}
    for step in range(25):
        open_one.append(step, 0.0, dict(metrics))
    open_one.flush()
    sizes = [e.rows.num_rows for e in JournalReader(path).entries() if e.rows is not None]

    assert sum(sizes) == 25
    assert max(sizes) <= 10


def test_a_journal_is_continued(writer, path, rows, run) -> None:
    """A second writer of a finished run records `resume`, and the run is open again."""
    first = writer()
    first.append(0, 1.0, {"lr": 0.5})
    first.close(State.FINISHED)
    second = writer()
    second.append(1, 2.0, {"lr": 0.25})
    second.flush()
    reader = JournalReader(path)
    events = [entry.event["event"] for entry in reader.entries() if entry.event]

    assert events == ["run", "end", "resume"]
    assert reader.table()[1] is None
    assert reader.run == run
    assert rows(path) == {0: (1.0, {"lr": 0.5}), 1: (2.0, {"lr": 0.25})}


def test_a_torn_journal_is_continued(writer, path, rows) -> None:
    """Rows appended after a killed writer's torn frame are readable."""
    first = writer()
    first.append(0, 1.0, {"lr": 0.5})
    first.flush()
    first.append(1, 2.0, {"lr": 0.25})
    first.close(State.FINISHED)
    entries = list(JournalReader(path).entries())
    os.truncate(path, entries[2].end - 5)  # This cuts the file in the middle of step 1.
    second = writer()
    second.append(2, 3.0, {"lr": 0.125})
    second.flush()

    assert rows(path) == {0: (1.0, {"lr": 0.5}), 2: (3.0, {"lr": 0.125})}


@pytest.mark.parametrize("kept", [0, 5, len(PREAMBLE) - 1])
def test_a_torn_preamble_is_begun_anew(writer, path, run, kept: int) -> None:
    """A file with a torn preamble is started again."""
    path.write_bytes(PREAMBLE[:kept])
    writer()

    assert JournalReader(path).run == run


@pytest.mark.parametrize("content", [b"lrtrack journal 2\nx", b"my thesis"])
def test_another_file_is_never_written_to(path, run, content: bytes) -> None:
    """A file of a later format or another kind is left unchanged."""
    path.write_bytes(content)
    with pytest.raises(JournalError, match=f"cannot continue {path}"):
        JournalWriter(path, run)

    assert path.read_bytes() == content


def test_a_second_writer_is_refused(writer, path, run) -> None:
    """A second concurrent writer is refused, and the first continues."""
    open_one = writer()
    with pytest.raises(JournalError, match=f"another process is writing {path}"):
        JournalWriter(path, run)
    open_one.append(0, 1.0, {"lr": 0.5})
    open_one.flush()

    assert JournalReader(path).table()[0].num_rows == 1


def test_a_folder_that_is_not_there_is_told(tmp_path, run) -> None:
    """A journal in a missing folder raises an error that names the file."""
    with pytest.raises(JournalError, match=r"cannot write .*nowhere"):
        JournalWriter(tmp_path / "nowhere" / "x.journal", run)


def test_settle_sees_every_row_once(writer, path, rows) -> None:
    """The values that `settle` returns are written, and it sees every row once."""
    seen = []

    def settle(found):
        for step, _, metrics in found:
            seen.append(step)
            metrics["lr"] = float(metrics["lr"])

    open_one = writer(settle=settle)
    for step in range(5000):
        open_one.append(step, 0.0, {"lr": "0.5"})
    open_one.close(State.FINISHED)

    assert seen == list(range(5000))
    assert rows(path) == {step: (0.0, {"lr": 0.5}) for step in range(5000)}


def test_one_bad_value_takes_no_other_with_it(writer, path, rows) -> None:
    """A value or name that no column can hold is dropped alone, with one warning."""
    open_one = writer()
    with pytest.warns(LRTrackWarning, match="leaves values out") as caught:
        open_one.append(0, 1.0, {"lr": 0.5, "bad": object()})
        open_one.append(1, 2.0, {"lr": 0.25, "\ud800": 1.0})
        open_one.flush()
        open_one.append(2, 3.0, {"lr": 0.125, "bad": "text"})
        open_one.flush()

    assert len(caught) == 1
    assert rows(path) == {
        0: (1.0, {"lr": 0.5}),
        1: (2.0, {"lr": 0.25}),
        2: (3.0, {"lr": 0.125}),
    }


def test_trouble_in_upkeep_does_not_stop_the_writing(writer, path, rows, within_seconds) -> None:
    """A failing `on_tick` gives one warning, and rows still reach the file."""
    calls = []

    def on_tick():
        calls.append(1)
        raise ZeroDivisionError("upkeep")

    with pytest.warns(LRTrackWarning, match="upkeep") as caught:
        open_one = writer(on_tick=on_tick)
        within_seconds(10, lambda: len(calls) >= 2)
        open_one.append(0, 1.0, {"lr": 0.5})
        within_seconds(10, lambda: len(rows(path)) == 1)

    assert len(caught) == 1


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
    """A long outage drops only the oldest rows, with a warning, and keeps events and newer rows."""
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
    ]
    assert events == ["run", "flush", "end"]
    assert sorted(rows(path)) == list(range(8, 18))


NAMES = st.sampled_from(["lr", "loss", "val/loss", "ä"])
METRICS = st.dictionaries(NAMES, st.floats(width=64), max_size=4)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["append", "amend", "again"]), METRICS),
        st.tuples(st.sampled_from(["flush", "event", "reopen"]), st.none()),
    ),
    max_size=25,
)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(ACTIONS)
def test_any_sequence_is_what_a_dict_would_hold(path, run, rows, actions) -> None:
    """Any sequence of appends, amendments and flushes gives what a plain dict would."""
    path.unlink(missing_ok=True)
    model: dict[int, tuple[float, dict[str, float]]] = {}
    step, writer = -1, JournalWriter(path, run)
    for when, (action, metrics) in enumerate(actions):
        if action == "flush":
            writer.flush()
        elif action == "event":
            writer.event("flush")
        elif action == "reopen":
            writer.close(State.FINISHED)
            writer = JournalWriter(path, run)
        else:
            step = step + 2 if action == "append" or step < 0 else step
            model.setdefault(step, (float(when), {}))[1].update(metrics)
            write = writer.amend if action == "amend" else writer.append
            write(step, float(when), dict(metrics))
    writer.close(State.FAILED)

    # Compared as text because NaN is not equal to itself, and sorted by name.
    assert {s: (t, repr(sorted(m.items()))) for s, (t, m) in rows(path).items()} == {
        s: (t, repr(sorted(m.items()))) for s, (t, m) in model.items()
    }
