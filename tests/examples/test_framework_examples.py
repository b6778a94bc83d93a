"""The examples of fastai, skorch and Stable-Baselines3, run as a user would run them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fixtures.programs import report_of

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.soak  # importing each framework takes seconds, and their own tests run the callbacks
@pytest.mark.parametrize(
    ("framework", "package", "expected"),
    [
        ("fastai", "fastai", {"onecycle": 2, "flat_cosine": 2}),
        ("skorch", "skorch", {"OneCycleLR": 2}),
        ("sb3", "stable_baselines3", {"constant": 2, "linear": 2}),
    ],
)
def test_the_example(command_line, monkeypatch, framework, package, expected) -> None:
    """It trains, and the command that it names compares what it trained."""
    pytest.importorskip(package, reason=f"needs {package}")
    monkeypatch.setenv("LRTRACK_TRACKER", "local")
    example = EXAMPLES / f"with_{framework}.py"
    done = subprocess.run(
        [sys.executable, "-P", str(example)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    report = report_of(example, command_line, "--tracker", "local")

    assert {row["schedule"]: row["runs"] for row in report["schedules"]} == expected
