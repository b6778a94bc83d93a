"""Hostile files and names: bounded memory, clear messages, nothing executed, nothing escapes."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lrtrack.journal import history_table
from lrtrack.journal.layout import Layout

#: Far more than a command needs, and far less than a decompression bomb expands to.
BOUND_MIB = 1500


def bomb(path: Path) -> None:
    """A Parquet file of one or two megabytes that expands to 2.4 GB of nulls."""
    rows = 2**24
    zeros = pa.table(
        {
            "step": pa.array(np.zeros(rows, dtype=np.int64)),
            "time": pa.array(np.zeros(rows)),
            "loss": pa.array(np.zeros(rows)),
        }
    )
    with pq.ParquetWriter(path, zeros.schema, compression="zstd") as writer:
        for _ in range(6):
            writer.write_table(zeros)
    assert path.stat().st_size < 2 * 2**20


def table(path: Path, **changed: pa.Array) -> None:
    """A step history of three steps, with some columns replaced."""
    sound = {
        "step": pa.array([0, 1, 2], pa.int64()),
        "time": pa.array([100.0, 101.0, 102.0]),
        "loss": pa.array([7.0, 7.0, 7.0]),
        "lr": pa.array([7.0, 7.0, 7.0]),
    }
    pq.write_table(pa.table({**sound, **changed}), path)


def truncated(path: Path) -> None:
    """A file whose end is missing."""
    table(path)
    path.write_bytes(path.read_bytes()[:-30])


#: What lies in the tracker in place of a run's columnar file.
HOSTILE: dict[str, Callable[[Path], None]] = {
    "a bomb": bomb,
    "no Parquet": lambda path: path.write_bytes(b"PAR1" + b"\x00" * 99 + b"PAR1"),
    "nothing": lambda path: path.write_bytes(b""),
    "truncated": truncated,
    "steps of text": lambda path: table(path, step=pa.array(["0", "1", "2"])),
    "a loss of lists": lambda path: table(path, loss=pa.array([[1.0], [2.0], [3.0]])),
    "a loss of structs": lambda path: table(path, loss=pa.array([{"a": 1.0}] * 3)),
    "a loss of long text": lambda path: table(path, loss=pa.array(["x" * 10**7] * 3)),
    "a dictionary": lambda path: table(path, loss=pa.array(["a", "b", "a"]).dictionary_encode()),
    "steps before 0": lambda path: table(path, step=pa.array([-9, 1, 2], pa.int64())),
    "no times": lambda path: table(path, time=pa.array([np.nan, np.inf, 1.0])),
    "steps without a number": lambda path: table(path, step=pa.array([0, None, 2], pa.int64())),
}


def test_whatever_lies_in_the_place_of_the_columnar_file(
    journalled, store: str, command_line, measured, clean_place: Path
):
    """A bad columnar file is named, the metrics are read from the API, and memory stays bounded."""
    for number, name in enumerate(HOSTILE):
        journalled(number, name, store)
    assert command_line("sync").returncode == 0
    client = mlflow.MlflowClient(store)
    experiment = client.get_experiment_by_name("hostile")
    path = clean_place / history_table.NAME
    for run in client.search_runs([experiment.experiment_id]):
        HOSTILE[run.info.run_name](path)
        client.log_artifact(run.info.run_id, str(path), history_table.FOLDER)
        if run.info.run_name == "a bomb":
            client.set_tag(run.info.run_id, "lrtrack.history.rows", str(6 * 2**24))
    arguments = ("--tracker", "mlflow", "--experiment", "hostile", "--format", "json")
    runs, peak = measured("runs", *arguments)

    assert runs.returncode == 0, runs.stderr
    finals = {run["name"]: run["final"] for run in json.loads(runs.stdout)["runs"]}
    assert finals == {name: 1.0 + number for number, name in enumerate(HOSTILE)}
    assert re.search(
        rf"Warning: run \w+: lrtrack/history\.parquet: .* \(and {len(HOSTILE) - 1} more\); "
        "reading its metrics one by one",
        runs.stderr,
    )
    assert "Traceback" not in runs.stderr
    assert peak < BOUND_MIB


def test_names_of_columns_are_anything(
    journalled, store: str, command_line, measured, clean_place: Path
):
    """Metric names with NUL, escape codes or kilobytes of text do not affect reports on other
    metrics.
    """
    journalled(0, "named", store)
    assert command_line("sync").returncode == 0
    client = mlflow.MlflowClient(store)
    experiment = client.get_experiment_by_name("hostile")
    (run,) = client.search_runs([experiment.experiment_id])
    names = ["\x00", "a\x00b", "\x1b]0;owned\x07", "x" * 10_000, "../../up", ""]
    path = clean_place / history_table.NAME
    table(path, **{name: pa.array([1.0, None, 2.0]) for name in names})
    client.log_artifact(run.info.run_id, str(path), history_table.FOLDER)
    for form in ("table", "html"):
        compare, _ = measured("compare", "--experiment", "hostile", "--format", form)

        assert compare.returncode == 0, form
        assert compare.stderr == (
            "lrtrack: No metric is named, so this is about loss. The runs also have ../../up, ab, "
            f"{'x' * 60} and 3 more: choose one with --metric NAME (in Python, "
            "metric=).\n"
        )
        assert "\x1b" not in compare.stdout
        assert "\x00" not in compare.stdout
    journals = {"mlflow.db", "mlruns", ".lrtrack", history_table.NAME}
    assert {entry.name for entry in clean_place.iterdir()} <= journals | {"mlartifacts"}


NAMES = [
    "../../../etc/passwd",
    "nul\x00nul",
    "two\nlines\rand more",
    "\x1b[2J\x1b]0;owned\x07red\x1b[31m",
    "\x9b31mC1",
    "n" * 10_000,
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)",
    "+1+1",
    "-1+1",
    "<script>alert(1)</script>",
    "[click](javascript:alert(1)) | **bold** |",
    "right\u202eleft\u200bzero",
    "",
]


#: How text begins that a spreadsheet executes; a negative number is harmless.
FORMULA = re.compile(r"[=+@\t\r]|-(?!\d+(\.\d+)?(e-?\d+)?$)")


def steering(text: str) -> list[str]:
    """Returns the characters of `text` that control a terminal or change the reading direction."""
    return [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl")]


@pytest.fixture
def named(journalled, layout: Layout) -> set[str]:
    """Runs with all these names that cannot be delivered; returns all files below the journals."""
    for number, name in enumerate(NAMES):
        journalled(number, name, "http://127.0.0.1:9", group=name, config={"who": name})
    return {str(path.relative_to(layout.root)) for path in layout.root.rglob("*")}


def test_names_of_runs_on_a_terminal_and_in_files(named: set[str], command_line, layout: Layout):
    """No run name becomes a path, controls a terminal, or executes in a spreadsheet or browser."""
    assert {re.sub(r"[0-9a-f]{32}", "ID", name) for name in named} == {
        "runs", "queue", "joined", ".gitignore", "runs/ID.journal", "queue/ID",
    }  # fmt: skip
    arguments = ("--tracker", "local", "--experiment", "hostile")
    tables = [command_line("runs", *arguments)]
    tables += [command_line("compare", *arguments, "--group-by", "who")]
    tables += [command_line("compare", *arguments, "--group-by", "who", "--format", "markdown")]
    texts = [command_line("runs", *arguments, "--format", "csv")]
    texts += [command_line("compare", *arguments, "--group-by", "who", "--format", "csv")]
    data = command_line("runs", *arguments, "--format", "json")
    page = command_line("compare", *arguments, "--group-by", "who", "--format", "html")

    for result in (*tables, *texts, data, page):
        assert (result.returncode, result.stderr) == (0, "")
        assert steering(result.stdout) == []
    markdown = tables[-1].stdout
    assert "<script>" not in markdown
    assert r"\[click\]" in markdown
    for text in texts:
        for row in csv.reader(io.StringIO(text.stdout)):
            assert list(filter(FORMULA.match, row)) == []
    assert {run["name"] for run in json.loads(data.stdout)["runs"]} == set(NAMES)
    assert "<script>alert" not in page.stdout


def test_names_of_runs_in_messages(named: set[str], command_line, layout: Layout, monkeypatch):
    """`lrtrack doctor` and `lrtrack sync` print waiting runs without control characters."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    doctor = command_line("doctor")
    sync = command_line("sync", "--timeout", "20")

    assert (doctor.returncode, doctor.stderr) == (1, "")
    assert sync.returncode == 1
    assert "Traceback" not in sync.stderr
    assert steering(doctor.stdout + sync.stdout + sync.stderr) == []
    assert doctor.stdout.count("to mlflow: ") == len(NAMES)
    assert sync.stderr.count("(000000") == len(NAMES)


@pytest.mark.parametrize(
    "spec",
    [
        "(" * 5000,
        "step(gamma=" + "[" * 5000,
        "step(gamma=" + "[" * 5000 + "]" * 5000 + ")",
        "step(gamma={" + "[" * 5000,
        '{"name":' * 5000,
        '{"a":' + "[" * 100_000,
        "->" * 5000,
        "\x1b[2Jcosine",
        "cosine(T_max=" + "9" * 5000 + ")",
    ],
    ids=lambda spec: spec[:12].encode("unicode_escape").decode(),
)
def test_specs_without_end(spec: str, command_line):
    """An absurd schedule is a usage error: one short message and exit status 2."""
    preview = command_line("preview", spec, "--steps", "10")

    assert preview.returncode == 2, preview.stderr
    assert "Traceback" not in preview.stderr
    assert len(preview.stderr) < 1500
    assert steering(preview.stderr) == []
