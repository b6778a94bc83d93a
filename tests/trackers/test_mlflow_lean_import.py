"""MLflow without pandas where only lrtrack uses it, and with all it needs everywhere else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

#: Says whether a stand-in for MLflow found pandas, and whether pandas can be imported afterwards.
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from lrtrack.settings import claim_process
from lrtrack.trackers.mlflow.lean_import import load_mlflow
if sys.argv[2] == "own":
    claim_process()
found = load_mlflow().pandas is not None
import pandas
print(found, pandas.__name__, load_mlflow() is sys.modules["mlflow"])
"""
NEEDS = "import pandas\n"
TRIES = "try:\n    import pandas\nexcept ImportError:\n    pandas = None\n"


def said(folder: Path, whose: str, mlflow: str, plugin: str = "") -> str:
    """Returns what the program says, with an MLflow of that text and a plugin of that group."""
    for package, text in {"mlflow": mlflow, "pandas": ""}.items():
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text(text)
    if plugin:
        described = folder / "plugin-1.dist-info"
        described.mkdir()
        (described / "METADATA").write_text("Name: plugin\nVersion: 1\n")
        (described / "entry_points.txt").write_text(f"[{plugin}]\nmine = somewhere.else\n")
    command = [sys.executable, "-P", "-c", PROGRAM, str(folder), whose]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("whose", "mlflow", "plugin", "found"),
    [
        ("own", TRIES, "", False),
        ("own", NEEDS, "", True),
        ("user's", TRIES, "", True),
        ("own", TRIES, "mlflow.tracking_store", True),
        ("own", TRIES, "lrtrack.trackers", True),
        ("own", TRIES, "other.plugins", False),
    ],
)
def test_who_gets_pandas(clean_place, whose, mlflow, plugin, found):
    """Only a process of lrtrack's own without plugins imports MLflow without pandas, unless MLflow
    cannot do without; pandas can be imported afterwards.
    """
    assert said(clean_place, whose, mlflow, plugin) == f"{found} pandas True"
