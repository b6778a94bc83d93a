"""Journals damaged by a bad disk, a power cut or another user: intact records arrive, once."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import lrtrack
from lrtrack.errors import LRTrackWarning
from lrtrack.journal import history_table
from lrtrack.journal.framing import PREAMBLE, Kind, encode
from lrtrack.journal.layout import Layout
from lrtrack.journal.reader import JournalReader
from lrtrack.journal.signature import signed
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State, Target
from lrtrack.shipping.credentials import Snapshot
from lrtrack.shipping.spawn import launch
from lrtrack.trackers.base import Query
from lrtrack.trackers.local import LocalTracker

STEPS = 120
HEAD = 13


@dataclass(frozen=True)
class Recorded:
    """The journal of a real run, split into its frames."""

    frames: list[bytes]
    steps: list[list[int]]

    def as_run(self, run_id: str, uri: str) -> list[bytes]:
        """Returns the frames of the same run under another id, with `uri` as its tracker."""
        event = json.loads(self.frames[0][HEAD:])
        event["run"]["id"] = event["run"]["name"] = run_id
        event["run"]["targets"][0]["uri"] = uri
        event |= signed(event["run"])
        return [encode(Kind.EVENT, json.dumps(event).encode()), *self.frames[1:]]


@pytest.fixture(scope="module")
def recorded(long_place: Callable[[], Any], mlflow_database: Path) -> Iterator[Recorded]:
    """A training of some seconds, so that its rows are spread over many frames."""
    with long_place() as place:
        shutil.copy(mlflow_database, place / "mlflow.db")
        weight = torch.nn.Parameter(torch.ones(()))
        optimizer = torch.optim.SGD([weight], lr=0.5)
        with lrtrack.track(optimizer, experiment="faults", name="hurt"):
            for step in range(STEPS):
                optimizer.zero_grad()
                (weight * 0.0 + float(step + 1)).backward()
                optimizer.step()
                time.sleep(0.02)
        (path,) = (place / ".lrtrack" / "runs").glob("*.journal")
        data, entries = path.read_bytes(), list(JournalReader(path).entries())
        yield Recorded(
            [data[entry.start : entry.end] for entry in entries],
            [[record.step for record in entry.records()] for entry in entries],
        )


def flipped(frames: list[bytes], at: int, byte: int, bit: int) -> list[bytes]:
    """Returns the frames with one bit of one of them flipped."""
    hurt = bytearray(frames[at])
    hurt[byte] ^= 1 << bit
    return [*frames[:at], bytes(hurt), *frames[at + 1 :]]


def write(path: Path, frames: list[bytes]) -> None:
    """Writes a journal of these frames."""
    path.write_bytes(PREAMBLE + b"".join(frames))


#: The damaged frames, the numbers of the lost frames, and how many damaged places are
#: reported.
Damage = tuple[str, list[bytes], set[int], int]


def damages(frames: list[bytes], seed: int) -> Iterator[Damage]:
    """Yields every kind of damage behind a journal's first frame."""
    chance = random.Random(seed)
    end = len(frames) - 1
    for field, byte in {"magic": 0, "kind": 4, "length": 5, "high length": 8, "crc": 10}.items():
        at = chance.randrange(1, end)
        yield f"{field} of {at}", flipped(frames, at, byte, chance.randrange(6)), {at}, 1
    for _ in range(3):
        at = chance.randrange(1, end)
        byte, bit = chance.randrange(HEAD, len(frames[at])), chance.randrange(8)
        yield f"byte {byte} of {at}", flipped(frames, at, byte, bit), {at}, 1
    one, other = 1, 3
    twice = flipped(flipped(frames, one, 40, 1), other, 50, 2)
    yield "two frames", twice, {one, other}, 2
    yield "rubbish between", [*frames[:2], b"\x00rubbish\xab" * 99, *frames[2:]], set(), 1
    yield "zeros for a frame", [*frames[:2], bytes(len(frames[2])), *frames[3:]], {2}, 1
    yield "swapped frames", [frames[0], frames[2], frames[1], *frames[3:]], set(), 0
    torn = [*frames[: end - 1], frames[end - 1][:-20]]
    yield "torn tail", torn, {end - 1, end}, 0
    yield "torn tail of zeros", [*torn, bytes(4096)], {end - 1, end}, 1
    yield "tail of zeros", [*frames, bytes(4096)], set(), 1
    nonsense = encode(Kind.ROWS, b"no rows at all")
    yield "a frame of nonsense", [*frames[:3], nonsense, *frames[3:]], set(), 1


def test_what_is_sound_arrives_and_the_damage_is_told(
    recorded: Recorded, store: str, stored, command_line, clean_place: Path, repeats
):
    """`lrtrack sync` delivers every intact frame once, and names each damaged journal.

    An incomplete last frame is no damage, because a killed run leaves one.
    """
    layout = Layout(clean_place / ".lrtrack")
    layout.create()
    expected: dict[str, tuple[str, set[int], int, str]] = {}
    for seed in range(repeats(1, 10)):
        for number, damage in enumerate(damages(recorded.frames, seed)):
            what, hurt, lost, places = damage
            run_id = f"{seed:016x}{number:016x}"
            first = recorded.as_run(run_id, store)[0]
            write(layout.journal(run_id), [first, *hurt[1:]])
            layout.marker(run_id).touch()
            intact = {
                step for at, steps in enumerate(recorded.steps) for step in steps if at not in lost
            }
            ended = "FAILED" if len(recorded.frames) - 1 in lost else "FINISHED"
            expected[run_id] = f"seed {seed}: {what}", intact, places, ended
    sync = command_line("sync")
    doctor = command_line("doctor")

    assert len(recorded.frames) > 6
    assert (sync.returncode, sync.stdout) == (
        0,
        f"Delivered {len(expected)} of {len(expected)} runs.\n",
    ), sync.stderr
    runs = {run.info.run_name: run for run in stored(store).runs()}
    for run_id, (what, intact, places, ended) in expected.items():
        run = runs[run_id]
        warning = f"{layout.journal(run_id)} is damaged in {places} place"
        whole = [(step, float(step + 1)) for step in sorted(intact)]
        assert sorted(stored(store).losses(run.info.run_id)) == whole, what
        assert run.info.status == ended, what
        assert (warning in sync.stderr) == (places > 0), (what, sync.stderr)
        assert (warning in doctor.stdout) == (places > 0), (what, doctor.stdout)
        file = stored(store).client.download_artifacts(run.info.run_id, "lrtrack/history.parquet")
        table = history_table.read_parquet(Path(file))
        steps, losses = (table[name].to_pylist() for name in ("step", "loss"))
        assert list(zip(steps, losses, strict=True)) == whole, what
    assert doctor.returncode == 0


def test_the_shipper_tells_in_its_log(
    recorded: Recorded, store: str, stored, clean_place: Path, within_seconds, living_shippers
):
    """When nobody waits for a sync, the log beside the journals says what was left out."""
    layout = Layout(clean_place / ".lrtrack")
    layout.create()
    run_id = "a" * 32
    hurt = flipped(recorded.as_run(run_id, store), 2, 33, 3)
    write(layout.journal(run_id), hurt)
    layout.marker(run_id).touch()
    assert launch(
        layout, Snapshot(os.environ, JournalReader(layout.journal(run_id)).run.credentials)
    )
    within_seconds(60, lambda: layout.queued() == [] and living_shippers() == [])

    (log,) = layout.shipper_logs()
    lost = set(recorded.steps[2])
    expected = [(step, float(step + 1)) for step in range(STEPS) if step not in lost]
    assert stored(store).losses() == expected
    size = len(recorded.frames[2])
    assert f"{run_id}: its journal is damaged in 1 place ({size:,} bytes)" in log.read_text()


def test_the_local_tracker_tells(recorded: Recorded, command_line, clean_place: Path):
    """A comparison of journals names those that are damaged, and compares the rest."""
    layout = Layout(clean_place / ".lrtrack")
    layout.create()
    hurt = flipped(recorded.as_run("b" * 32, "sqlite:///none.db"), 1, 60, 0)
    path = layout.journal("b" * 32)
    write(path, hurt)
    compare = command_line("compare", "--tracker", "local", "--experiment", "faults")
    with pytest.warns(LRTrackWarning, match="damaged in 1 place"):
        (history,) = LocalTracker().histories(Query(directory=layout.root))

    assert compare.returncode == 0
    assert f"Warning: {path} is damaged in 1 place" in compare.stderr
    assert history.steps.tolist() == [s for s in range(STEPS) if s not in recorded.steps[1]]


def test_a_run_that_lost_its_beginning_is_named(
    recorded: Recorded, store: str, command_line, clean_place: Path
):
    """A journal without its first frame is reported with exit status 1, and the file is kept."""
    layout = Layout(clean_place / ".lrtrack")
    layout.create()
    path = layout.journal("c" * 32)
    write(path, flipped(recorded.frames, 0, 30, 0))
    content = path.read_bytes()
    layout.marker("c" * 32).touch()
    sync = command_line("sync")

    assert sync.returncode == 1
    assert f"{path} says nothing about its run: damaged in 1 place" in sync.stderr
    assert "Traceback" not in sync.stderr
    assert path.read_bytes() == content


CURSORS: dict[str, str | bytes] = {
    "no JSON": "{offset",
    "binary": b"\xff\x00\xfe",
    "empty": "",
    "a list": "[1, 2]",
    "brackets": "[" * 100_000,
    "offset of text": '{"offset": "9", "closed": true}',
    "negative offset": '{"offset": -5}',
    "beyond the end": '{"offset": 99999999999}',
    "an offset inside a frame": '{"offset": 1000}',
    "a number too large": '{"offset": 1e999}',
    "skip beyond the frame": '{"offset": 18, "skip": 12345}',
    "flags of text": '{"offset": 0, "doubt": "no", "closed": "yes"}',
    "a run id of numbers": '{"offset": 0, "remote_id": 17}',
}


def test_cursors_that_make_no_sense(store: str, stored, command_line, clean_place: Path):
    """With a nonsensical cursor, the tracker is asked what it has, and nothing arrives twice."""
    layout = Layout(clean_place / ".lrtrack")
    layout.create()
    steps = 1200  # more than one batch
    for number, name in enumerate(CURSORS):
        target = Target("mlflow", store, experiment="faults")
        run = Run(f"{number:032x}", name, experiment="faults", targets=(target,), version="1")
        writer = JournalWriter(layout.journal(run.id), run)
        for step in range(steps):
            writer.append(step, 100.0 + step, {"loss": float(step + 1)})
        writer.close(State.FINISHED)
        layout.marker(run.id).touch()
    first = command_line("sync")
    for number, text in enumerate(CURSORS.values()):
        content = text.encode() if isinstance(text, str) else text
        layout.cursor(f"{number:032x}", "mlflow").write_bytes(content)
        layout.marker(f"{number:032x}").touch()
    doctor = command_line("doctor")
    second = command_line("sync")

    assert first.returncode == 0, first.stderr
    assert "Traceback" not in doctor.stderr
    assert (second.returncode, second.stderr) == (0, "")
    assert second.stdout == f"Delivered {len(CURSORS)} of {len(CURSORS)} runs.\n"
    runs = stored(store).runs()
    assert sorted(run.info.run_name for run in runs) == sorted(CURSORS)
    whole = [(step, float(step + 1)) for step in range(steps)]
    for run in runs:
        losses = stored(store).losses(run.info.run_id)
        assert (sorted(losses), run.info.status) == (whole, "FINISHED"), run.info.run_name
