"""What importing lrtrack, or training with it, does not load."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["lrtrack", "lrtrack.cli"])
def test_importing_costs_nothing_heavy(module: str) -> None:
    """Importing lrtrack or its command line loads neither torch, mlflow nor wandb."""
    code = f"import {module}, sys; print({{'torch', 'mlflow', 'wandb'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)

    assert (done.stdout, done.stderr) == ("set()\n", "")


def test_scipy_is_no_part_of_a_training() -> None:
    """A training does not load scipy, which only comparisons need."""
    code = "import sys, lrtrack.tracking; print('scipy' in sys.modules, 'pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)

    assert done.stdout.split() == ["False", "False"]
