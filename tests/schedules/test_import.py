"""What `import lrtrack` makes available, and what it loads."""

from __future__ import annotations

import subprocess
import sys


def test_schedules_are_an_attribute() -> None:
    """`lrtrack.schedules` works after a plain import, which loads neither it nor torch."""
    code = (
        "import sys, lrtrack\n"
        "loaded = {'torch', 'numpy', 'lrtrack.schedules'} & set(sys.modules)\n"
        "text = lrtrack.schedules.spec_of(lrtrack.schedules.Schedule('StepLR', {'step_size': 3}))\n"
        "print(loaded, text, 'torch' in sys.modules, 'schedules' in dir(lrtrack))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert run.stdout == "set() step(steps=3) False True\n"
