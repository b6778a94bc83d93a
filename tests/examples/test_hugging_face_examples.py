"""The examples of transformers and accelerate, run as a user would run them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("framework", "metric", "expected", "steps"),
    [("transformers", "eval_loss", (0.1, 2.5), 32), ("accelerate", "val_accuracy", (0.8, 1), 110)],
)
def test_the_example(
    command_line,
    monkeypatch,
    framework: str,
    metric: str,
    expected: tuple[float, float],
    steps: int,
) -> None:
    """It trains, and the command that it names lists what it trained."""
    pytest.importorskip(framework, reason=f"needs {framework}")
    monkeypatch.setenv("LRTRACK_TRACKER", "local")
    example = EXAMPLES / f"with_{framework}.py"
    done = subprocess.run(
        [sys.executable, "-P", str(example)], capture_output=True, text=True, timeout=300
    )
    named = re.search(r"lrtrack (runs .*?)\"\"\"", example.read_text(encoding="utf-8"))
    assert done.returncode == 0, done.stderr
    assert named is not None
    asked = [*named[1].split(), "--tracker", "local", "--metric", metric, "--format", "json"]
    (run,) = json.loads(command_line(*asked).stdout)["runs"]
    low, high = expected

    assert (run["seed"], run["state"], run["steps"]) == (0, "FINISHED", steps)
    assert low < run["final"] < high
    assert "LR0" not in done.stderr
