"""The quick start, in the README and as a file, run as a user would run them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from fixtures.programs import report_of

ROOT = Path(__file__).parents[2]


def test_the_example(store, command_line) -> None:
    """It trains, and the command that it names compares what it trained."""
    example = ROOT / "examples" / "quickstart.py"
    done = subprocess.run(
        [sys.executable, "-P", str(example)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    report = report_of(example, command_line)

    assert [row["runs"] for row in report["schedules"]] == [2, 2, 2]


def test_the_readme(store, command_line) -> None:
    """The README's program runs as it stands there, and its commands find the run."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code = text.partition("## Quick start")[2].partition("```python\n")[2].partition("```")[0]
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=300
    )
    listed = json.loads(command_line("runs", "--experiment", "first", "--format", "json").stdout)

    assert done.returncode == 0, done.stderr
    assert [(row["schedule"], row["steps"]) for row in listed["runs"]] == [
        ("CosineAnnealingLR(T_max=1000, eta_min=0)", 1000)
    ]
