"""Files and names from strangers: bounded memory, clear words, nothing that runs or escapes."""

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

#: Far more than a command needs, far less than a bomb unfolds to.
BOUND_MIB = 1500


def bomb(path: Path) -> None:
    """Hundreds of millions of values of nothing, 2.4 GB, in a megabyte or two."""
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
    """A step history of three steps, with some of its columns changed."""
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


#: What lies in the tracker in the place of a run's columnar file.
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
    """It is named, the metrics themselves are read instead, and memory stays what it was."""
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
    asked = ("--tracker", "mlflow", "--experiment", "hostile", "--format", "json")
    done, peak = measured("runs", *asked)

    assert done.returncode == 0, done.stderr
    found = {run["name"]: run["final"] for run in json.loads(done.stdout)["runs"]}
    assert found == {name: 1.0 + number for number, name in enumerate(HOSTILE)}
    assert re.search(
        rf"Warning: run \w+: lrtrack/history\.parquet: .* \(and {len(HOSTILE) - 1} more\); "
        "reading its metrics one by one",
        done.stderr,
    )
    assert "Traceback" not in done.stderr
    assert peak < BOUND_MIB


def test_names_of_columns_are_anything(
    journalled, store: str, command_line, measured, clean_place: Path
):
    """NUL, escapes and kilobytes in a metric's name hurt nobody who asks for another one."""
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
        done, _ = measured("compare", "--experiment", "hostile", "--format", form)

        assert (done.returncode, done.stderr) == (0, ""), form
        assert "\x1b" not in done.stdout
        assert "\x00" not in done.stdout
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


#: What a spreadsheet runs; a negative number is none.
FORMULA = re.compile(r"[=+@\t\r]|-(?!\d+(\.\d+)?(e-?\d+)?$)")


def steering(text: str) -> list[str]:
    """What in `text` steers a terminal or turns the order of what is read."""
    return [c for c in text if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl")]


@pytest.fixture
def named(journalled, layout: Layout) -> set[str]:
    """Runs with all these names, that cannot be delivered; all files below the journals' folder."""
    for number, name in enumerate(NAMES):
        journalled(number, name, "http://127.0.0.1:9", group=name, config={"who": name})
    return {str(path.relative_to(layout.root)) for path in layout.root.rglob("*")}


def test_names_of_runs_on_a_terminal_and_in_files(named: set[str], command_line, layout: Layout):
    """No name becomes a path, steers a terminal, runs in a spreadsheet or a browser."""
    assert {re.sub(r"[0-9a-f]{32}", "ID", name) for name in named} == {
        "runs", "queue", "joined", ".gitignore", "runs/ID.journal", "queue/ID",
    }  # fmt: skip
    asked = ("--tracker", "local", "--experiment", "hostile")
    shown = [command_line("runs", *asked)]
    shown += [command_line("compare", *asked, "--group-by", "who")]
    shown += [command_line("compare", *asked, "--group-by", "who", "--format", "markdown")]
    texts = [command_line("runs", *asked, "--format", "csv")]
    texts += [command_line("compare", *asked, "--group-by", "who", "--format", "csv")]
    data = command_line("runs", *asked, "--format", "json")
    page = command_line("compare", *asked, "--group-by", "who", "--format", "html")

    for done in (*shown, *texts, data, page):
        assert (done.returncode, done.stderr) == (0, "")
        assert steering(done.stdout) == []
    markdown = shown[-1].stdout
    assert "<script>" not in markdown
    assert r"\[click\]" in markdown
    for text in texts:
        for row in csv.reader(io.StringIO(text.stdout)):
            assert list(filter(FORMULA.match, row)) == []
    assert {run["name"] for run in json.loads(data.stdout)["runs"]} == set(NAMES)
    assert "<script>alert" not in page.stdout


def test_names_of_runs_in_messages(named: set[str], command_line, layout: Layout, monkeypatch):
    """`lrtrack doctor` and `lrtrack sync` name runs that wait without being steered by them."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    told = command_line("doctor")
    done = command_line("sync", "--timeout", "20")

    assert (told.returncode, told.stderr) == (1, "")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert steering(told.stdout + done.stdout + done.stderr) == []
    assert told.stdout.count("to mlflow: ") == len(NAMES)
    assert done.stderr.count("(000000") == len(NAMES)


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
    """A schedule nobody meant is wrong usage: one short message, and status 2."""
    done = command_line("preview", spec, "--steps", "10")

    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr) < 1500
    assert steering(done.stderr) == []
