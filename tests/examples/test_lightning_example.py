"""The example of Lightning, run as a user would run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from fixtures.programs import report_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "with_lightning.py"


def test_lightning(store, command_line) -> None:
    """It trains, and the command that it names compares what it trained, over its seeds."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "LRTrackWarning" not in done.stderr
    report = report_of(EXAMPLE, command_line)
    found = {row["schedule"]: (row["runs"], row["steps"]) for row in report["schedules"]}

    assert found == {"CosineAnnealingLR": (2, 116), "OneCycleLR": (2, 116)}
    assert len(EXAMPLE.read_text().splitlines()) <= 60
