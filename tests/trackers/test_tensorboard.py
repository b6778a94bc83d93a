"""Event files as runs: what tensorboard and torch write, damaged files, and hostile ones."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tensorboard.plugins.hparams import metadata, plugin_data_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

from lrtrack.cli import main
from lrtrack.comparing import compare, histories
from lrtrack.errors import LRTrackWarning, NothingFound, UsageError
from lrtrack.records import History, State
from lrtrack.trackers import registry
from lrtrack.trackers.base import ALL, Query
from lrtrack.trackers.hooks import OnlyReads
from lrtrack.trackers.tensorboard import contents, event_file, folders

#: When the first event of a test was written, in seconds since the epoch.
START = 1000.0


def scalar(tag: str, value: float) -> Any:
    """A value as torch's writer stores it."""
    return summary_pb2.Summary.Value(tag=tag, simple_value=value)


def event(step: int, *values: Any, when: float | None = None, **fields: Any) -> bytes:
    """An event, by default a second a step after `START`."""
    wall_time = START + step if when is None else when
    summary = summary_pb2.Summary(value=values)
    record = event_pb2.Event(step=step, wall_time=wall_time, summary=summary, **fields)
    return bytes(record.SerializeToString())


def curve(steps: int, *, slope: float = 1.0, first: int = 0) -> list[bytes]:
    """A training whose rate falls from 0.5 to 0 over the steps, or less with another slope."""
    return [
        event(step, scalar("train/lr", 0.5 * (1 - slope * step / steps)),
              scalar("train/loss", 1 / (step + 1)))
        for step in range(first, steps)
    ]  # fmt: skip


def session(**settings: Any) -> bytes:
    """An event with settings, as the plugin for hyper-parameters stores them."""
    info = plugin_data_pb2.SessionStartInfo()
    for name, value in settings.items():
        kind = {bool: "bool_value", str: "string_value"}.get(type(value), "number_value")
        setattr(info.hparams[name], kind, value)
    data = plugin_data_pb2.HParamsPluginData(session_start_info=info)
    described = metadata.create_summary_metadata(data)
    return event(0, summary_pb2.Summary.Value(tag=contents._STARTED, metadata=described))


@pytest.fixture
def write(clean_place: Path) -> Callable[..., Path]:
    """A function that writes an event file of a run below `logs`, and returns its path."""

    def write_events(run: str, records: Iterable[bytes], number: int = 0) -> Path:
        folder = clean_place / "logs" / run
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"events.out.tfevents.{1_700_000_000 + number}.host"
        with path.open("wb") as file:
            writer = RecordWriter(file)
            for record in [event(0, when=START + 1000 * number), *records]:
                writer.write(record)
        os.utime(path, (START, START))  # long ago
        return path

    return write_events


def read(experiment: str = "logs", **options: Any) -> list[History]:
    """The runs below a log directory."""
    return histories(experiment, tracker="tensorboard", runs=ALL, **options)


def test_runs_of_a_log_directory(write):
    """Each folder is a run, newest first, with its curve's schedule, its seed and its settings."""
    write("a/one", [session(seed=3, lr=0.5, batch=32, name="x", flag=True), *curve(20)])
    write("two", curve(20, slope=0.0), number=1)
    two, one = read()

    assert [history.run.name for history in (two, one)] == ["two", "a/one"]
    assert [history.run.started for history in (two, one)] == [START + 1000, START]
    assert (two.run.schedule.label, one.run.schedule.label) == (
        "≈ constant",
        "≈ linear(end=0, start=1, steps=20)",
    )
    assert (one.run.seed, two.run.seed) == (3, None)
    assert dict(one.run.config) == {"lr": 0.5, "batch": 32, "name": "x", "flag": True}
    assert (one.state, one.ended, one.tracker) == (State.FINISHED, START + 19, "tensorboard")
    assert one.steps.tolist() == list(range(20))
    assert one.times.tolist() == [START + step for step in range(20)]
    assert sorted(one.metrics) == ["lr", "train/loss", "train/lr"]
    np.testing.assert_array_equal(
        one.metrics["train/loss"], [np.float32(1 / (step + 1)) for step in range(20)]
    )
    assert len({one.id, two.id}) == 2


def test_a_comparison(write):
    """The command compares schedules over seeds; the experiment is the log directory."""
    for seed in range(2):
        write(f"falling{seed}", [session(seed=seed), *curve(10)], seed)
        write(f"flat{seed}", [session(seed=seed), *curve(10, slope=0.0)], seed)
    source = ("--tracker", "tensorboard", "logs")
    result = CliRunner().invoke(main, ["compare", *source, "--format", "json"])
    listed = CliRunner().invoke(main, ["runs", *source, "--filter", "name ~ ^flat"])
    schedules = json.loads(result.stdout)["schedules"]

    assert [result.exit_code, listed.exit_code] == [0, 0]
    assert sorted((item["schedule"], item["seeds"]) for item in schedules) == [
        ("constant", [0, 1]),
        ("linear", [0, 1]),
    ]
    assert json.loads(result.stdout)["metric"] == "train/loss"
    assert "train/lr, seed" in listed.stdout
    assert "falling" not in listed.stdout


def test_what_torch_writes(clean_place):
    """A real writer's run: `add_hparams` writes a folder below it, whose settings are the run's."""
    program = """
import torch.utils.tensorboard as tb
with tb.SummaryWriter("runs/first") as writer:
    for step in range(5):
        writer.add_scalar("lr", 0.1, step)
        writer.add_scalar("loss", 1.0 / (step + 1), step, new_style=True)
    writer.add_hparams({"seed": 7, "model": "small"}, {"best": 0.2})
    writer.add_text("note", "text")
    writer.add_histogram("weights", torch.ones(3), 1)
"""
    code = f"import torch\n{program}"
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=300)
    (run,) = histories(tracker="tensorboard", runs=ALL)  # `runs` is torch's own default

    assert (run.run.name, run.run.seed, dict(run.run.config)) == ("first", 7, {"model": "small"})
    assert sorted(run.metrics) == ["best", "loss", "lr"]
    assert run.series("loss")[1].tolist() == [float(np.float32(1 / (n + 1))) for n in range(5)]


def test_settings_of_transformers(write):
    """The arguments that transformers' callback writes as JSON text are settings."""
    text = tensor_pb2.TensorProto(dtype=7, string_val=[b'{"seed": 42, "adam": {"beta1": 0.9}}'])
    write("run", [event(0, summary_pb2.Summary.Value(tag="args/text_summary", tensor=text))])
    (run,) = read()

    assert (run.run.seed, dict(run.run.config)) == (42, {"adam.beta1": 0.9})


def test_a_writer_that_goes_on_from_an_earlier_step(write):
    """A second file that begins at an earlier step abandons what the first has from there on."""
    write("run", curve(10))
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    again = [event(step, scalar("train/loss", 9.0), when=3000.0 + step) for step in (6, 7)]
    write("run", [event(6, when=3000.0, session_log=start), *again], number=1)
    (run,) = read()

    assert run.series("train/lr")[0].tolist() == list(range(6))
    assert run.series("train/loss")[0].tolist() == list(range(8))
    assert run.series("train/loss")[1][-2:].tolist() == [9.0, 9.0]


def test_a_file_that_ends_in_a_record(write):
    """A file that is cut off is read up to there, with a warning that names it."""
    path = write("run", curve(10))
    path.write_bytes(path.read_bytes()[:-5])
    os.utime(path, (START, START))
    with pytest.warns(LRTrackWarning, match=rf"^{path} is cut off; it is read up to there"):
        (run,) = read()
    now = time.time()
    os.utime(path, (now, now))
    with pytest.warns(LRTrackWarning):
        (still_written,) = read()

    assert (run.steps.size, run.state) == (9, State.FAILED)
    assert (still_written.state, still_written.ended) == (State.RUNNING, None)


def test_a_damaged_record(write):
    """A wrong checksum ends the reading of a file, and other runs are not touched."""
    path = write("bad", curve(100))
    write("good", curve(10))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.warns(LRTrackWarning, match=r"bad.* is damaged"):
        runs = {run.run.name: run for run in read()}

    assert 45 <= runs["bad"].steps.size <= 50
    assert runs["bad"].state is State.FAILED
    assert (runs["good"].steps.size, runs["good"].state) == (10, State.FINISHED)


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=40), st.integers(0, 5))
def test_checksums(records: list[bytes], length: int) -> None:
    """Checksums of single records and of many together are those of tensorboard."""
    rows = np.frombuffer(b"".join(record[:length].ljust(length) for record in records), np.uint8)
    many = event_file._crcs(rows.reshape(len(records), length)).tolist()

    for record, crc in zip(records, many, strict=True):
        assert event_file._masked(event_file._crc(record)) == masked_crc32c(record)
        assert event_file._masked(crc) == masked_crc32c(record[:length].ljust(length))


@given(st.binary(max_size=300))
def test_any_bytes_are_read(content: bytes) -> None:
    """No file raises anything but that its run is malformed, or takes longer than its size."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        found = contents.read([Path(file.name)])

    assert (found.damage is None) == (content == b"")


def test_records_that_are_no_events(write):
    """A run of other records is left out with a warning, and the others are read."""
    write("odd", [b"\xff\xff\xff"])
    write("good", curve(3))
    with pytest.warns(LRTrackWarning, match="Left out a run that cannot be read: odd"):
        runs = read()

    assert [run.run.name for run in runs] == ["good"]


def test_large_records_are_skipped(write):
    """Pictures and graphs are not read, and what follows them is."""
    picture = event(1, scalar("x" * 2**17, 1.0))
    write("run", [*curve(3), picture, event(3, scalar("train/loss", 0.25))])
    (run,) = read()

    assert run.series("train/loss")[0].tolist() == [0, 1, 2, 3]


def test_a_length_beyond_the_file(write):
    """A record that says it is larger than any file does not make the reader take memory."""
    path = write("run", curve(2))
    header = struct.pack("<Q", 2**62)
    with path.open("ab") as file:
        file.write(header + struct.pack("<I", masked_crc32c(header)))
    with pytest.warns(LRTrackWarning, match="cut off"):
        (run,) = read()

    assert run.steps.size == 2


def test_a_tensor_that_unpacks_to_much(write):
    """A tensor of one number that claims a huge shape is no scalar."""
    shape = tensor_shape_pb2.TensorShapeProto(
        dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=2**40)]
    )
    bomb = tensor_pb2.TensorProto(dtype=1, float_val=[1.0], tensor_shape=shape)
    number = tensor_pb2.TensorProto(dtype=2, double_val=[0.25])
    values = [summary_pb2.Summary.Value(tag=tag, tensor=tensor)
              for tag, tensor in (("bomb", bomb), ("number", number))]  # fmt: skip
    write("run", [event(0, *values)])
    (run,) = read()

    assert {name: column.tolist() for name, column in run.metrics.items()} == {"number": [0.25]}


def test_steps_and_times_that_make_no_sense(write):
    """Values at negative steps or impossible times are left out, with a warning."""
    odd = [event(-1, scalar("loss", 1.0), when=1.0), event(5, scalar("loss", 1.0), when=1e300)]
    write("run", [*odd, event(6, scalar("loss", 0.5))])
    with pytest.warns(LRTrackWarning, match="2 rows of run"):
        (run,) = read()

    assert run.series("loss")[0].tolist() == [6]


def test_too_much_for_a_run(write, monkeypatch):
    """A run beyond the bounds is left out with the reason."""
    monkeypatch.setattr(contents, "MOST_METRICS", 3)
    write("run", [event(0, *(scalar(f"m{number}", 1.0) for number in range(4)))])
    with pytest.warns(LRTrackWarning, match="run: it has more than 3 metrics"):
        assert read() == []


def test_links_and_other_files(write, clean_place, tmp_path):
    """Links are not followed, out of the log directory or in a circle, and pipes are no files."""
    write("run", curve(3))
    logs = clean_place / "logs"
    secret = tmp_path / "elsewhere"
    secret.mkdir()
    (secret / "events.out.tfevents.1.secret").write_bytes(b"secret")
    (logs / "out").symlink_to(secret)
    (logs / "circle").symlink_to(logs)
    (logs / "run" / "events.out.tfevents.9.link").symlink_to(
        secret / "events.out.tfevents.1.secret"
    )
    os.mkfifo(logs / "run" / "events.out.tfevents.8.pipe")
    with pytest.warns(LRTrackWarning, match="has 3 symbolic links, which lrtrack does not follow"):
        runs = read()

    assert [run.run.name for run in runs] == ["run"]


def test_deep_and_wide_trees(clean_place, write, monkeypatch):
    """Folders beyond the bounds are left out."""
    monkeypatch.setattr(folders, "DEEPEST", 2)
    write("a/b", curve(2))
    write("a/b/c", curve(2))
    assert [run.run.name for run in read()] == ["a/b"]
    monkeypatch.setattr(folders, "MOST_FOLDERS", 2)
    with pytest.warns(LRTrackWarning, match="has more than 2 folders"), pytest.raises(NothingFound):
        read()


def test_nothing_there(clean_place):
    """A missing folder, and one without event files, is said with what to name instead."""
    (clean_place / "empty").mkdir()
    with pytest.raises(NothingFound, match=r"There is no folder logs\. Fix: name the folder"):
        read()
    with pytest.raises(NothingFound, match=r"There are no event files below .*empty"):
        read("empty")
    with pytest.raises(NothingFound, match="There is no folder runs or lightning_logs"):
        histories(tracker="tensorboard")
    with pytest.raises(UsageError, match="no filter language of its own"):
        read("empty", filter_raw="x")


def test_a_base_folder(write, clean_place, monkeypatch, tmp_path):
    """`tracking_uri` is the folder that the experiment's path begins at."""
    write("run", curve(3))
    monkeypatch.chdir(tmp_path)

    assert [run.run.name for run in read(tracking_uri=str(clean_place))] == ["run"]


def test_without_the_package(write, monkeypatch):
    """Where tensorboard is missing, the error names the extra that installs it."""
    write("run", curve(3))
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)

    with pytest.raises(UsageError, match=r"pip install 'lrtrack\[tensorboard\]'"):
        read()


def test_it_only_reads():
    """lrtrack does not write event files, and says so where a block begins, on every rank."""
    import torch

    import lrtrack

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    tracker = registry.get("tensorboard")

    assert isinstance(tracker, OnlyReads)
    assert tracker.status() == ("reads event files: lrtrack compare --tracker tensorboard LOGDIR")
    for spec in ("tensorboard", "local,tensorboard", [tracker]):
        with (
            pytest.raises(
                UsageError, match=r"'tensorboard' only reads runs, .*\. Fix: record with"
            ),
            lrtrack.track(optimizer, tracker=spec),
        ):
            raise AssertionError("the block was entered")


def test_own_runs_are_elsewhere(write, capsys):
    """Without `runs`, a note says that others' runs are read; `runs="lrtrack"` finds none."""
    write("run", curve(3))
    found = histories("logs", tracker="tensorboard")
    said = capsys.readouterr().err

    assert len(found) == 1
    assert "lrtrack recorded none of the runs there" in said
    assert histories("logs", tracker="tensorboard", runs="lrtrack") == []
    assert list(registry.get("tensorboard").histories(Query("logs"))) == []


def test_a_group_over_log_directories(write):
    """Two log directories are two tasks of one report."""
    write("a/one", curve(10))
    write("b/one", curve(10))
    report = compare(["logs/a", "logs/b"], tracker="tensorboard", metric="train/loss")

    assert report.task == "experiment"
    assert [item.task for item in report.schedules[0].tasks] == ["logs/a", "logs/b"]
