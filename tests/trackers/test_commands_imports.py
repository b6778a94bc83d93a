"""Which large packages each command imports: those that its answer needs, and no others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lrtrack.journal.layout import Layout
from lrtrack.journal.writer import JournalWriter
from lrtrack.records import Run, State

#: What takes longer to import than most answers take.
HEAVY = (
    *("mlflow", "sqlalchemy", "wandb", "torch", "pandas", "matplotlib", "sklearn", "requests"),
    *("tensorboard", "scipy.special", "scipy.stats", "scipy.optimize"),
)
#: Of one process, which is forked for each command: exit status and imported packages, as JSON.
PROGRAM = """
import json, os, sys
from lrtrack.cli import main
heavy, commands = json.loads(sys.argv[1])
for command in commands:
    sys.stdout.flush()
    process = os.fork()
    if process:
        os.waitpid(process, 0)
        continue
    results = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    try:
        status = main(command, standalone_mode=False) or 0
    except BaseException as error:
        status = repr(error)
    print(json.dumps([status, [name for name in heavy if name in sys.modules]]), file=results)
    results.flush()
    os._exit(0)
"""
#: Arguments with what they import from journals and a SQLite store of MLflow.
COMMANDS = {
    "--help": [],
    "doctor": [],
    "runs x": [],
    "compare x": ["scipy.special"],
    "compare x -o a.html": ["scipy.special"],
    "compare x -o a.svg": ["matplotlib", "scipy.special"],
    "watch x --once": [],
    "sync": [],
    "sweep --schedule cosine --program train.py -o sweep.yaml": [],
    "preview cosine --steps 9": [],
    "preview cosine --steps 9 -o b.svg": ["matplotlib"],
    "preview cosine --steps 9 -o b.csv": ["torch"],
}
#: The same from a server.
OF_A_SERVER = {
    "doctor": ["requests"],
    "runs x": ["requests"],
    "compare x": ["requests", "scipy.special"],
    "watch x --once": ["requests"],
}


def imported(commands: list[str], **environment: str) -> dict[str, list[object]]:
    """The exit status of each command, and what it imports."""
    asked = json.dumps([HEAVY, [command.split() for command in commands]])
    process = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, asked],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
    )
    return dict(zip(commands, map(json.loads, process.stdout.splitlines()), strict=True))


@pytest.fixture
def going(clean_place: Path):
    """A training of the experiment `x` that goes on here."""
    layout = Layout(clean_place / ".lrtrack")
    layout.create()
    run = Run("1" * 32, "going", experiment="x")
    writer = JournalWriter(layout.journal(run.id), run)
    for step in range(3):
        writer.append(step, 100.0 + step, {"loss": 1.0, "lr": 0.1})
    yield
    writer.close(State.FINISHED)


def test_what_commands_import(store, written, going):
    """On a SQLite store, no command imports more than its answer needs."""
    for seed in (1, 2):
        written(store, [1.0, 1 / seed], seed=seed)

    found = imported([*COMMANDS])

    assert found == {command: [0, COMMANDS[command]] for command in COMMANDS}


def test_what_commands_import_for_a_server(served, written, going):
    """On a server, requests comes to what a command imports, and MLflow does not."""
    for seed in (1, 2):
        written(served.uri, [1.0, 1 / seed], seed=seed, experiment="imports")
    found = imported(
        [command.replace(" x", " imports") for command in OF_A_SERVER],
        MLFLOW_TRACKING_URI=served.uri,
    )

    assert [*found.values()] == [[0, packages] for packages in OF_A_SERVER.values()]
