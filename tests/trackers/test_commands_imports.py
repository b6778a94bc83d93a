"""Which large packages each command imports: those that its answer needs, and no others."""

from __future__ import annotations

from ..fixtures.imports import imported

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


def test_what_commands_import(store, written, going):
    """On a SQLite store, no command imports more than its answer needs."""
    for seed in (1, 2):
        written(store, [1.0, 1 / seed], seed=seed)

    found = imported([*COMMANDS])

    assert found == {command: [0, COMMANDS[command]] for command in COMMANDS}
