"""Writing journals: rows, amendments and the life of a journal."""

from __future__ import annotations

import math
import os
import stat
import time

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
    metrics = {"val": 1.0}
    open_one.amend(0, 1.0, metrics)
    metrics["val"] = 2.0
    open_one.amend(0, 1.0, {"more": 3.0})
    open_one.flush()

    assert rows(path) == {0: (1.0, {"val": 1.0, "more": 3.0})}
    assert metrics == {"val": 2.0}


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
