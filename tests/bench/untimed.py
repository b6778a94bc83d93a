"""Properties that tests show without timing: counted kernels and reads from a device."""

from __future__ import annotations

import tempfile
from pathlib import Path

import processes
from results import Row

TESTS = Path(__file__).parents[1]
_CLIPPED = "capture/test_clipping.py::test_no_second_pass_over_the_gradients"
_READS = "capture/test_devices.py::test_no_scalar_is_read_inside_a_step"
_GPU = "capture/test_devices.py::test_no_step_waits_for_a_gpu"


def measure(_: int, __: int) -> list[Row]:
    """Runs the tests."""
    import torch

    rows = [
        _row("after `clip_grad_norm_`: norms computed in the step", "none", "none", _CLIPPED),
        _row("scalars read from the device inside a step", "none", "none", _READS),
    ]
    what = 'GPU: a loop under `set_sync_debug_mode("error")`'
    if torch.cuda.is_available():
        return [*rows, _row(what, "passes", "passes", _GPU)]
    return [
        *rows,
        Row(what, "not measured", "passes", note=f"no GPU here; `tests/{_GPU}` is ready"),
    ]


def _row(what: str, measured: str, reach: str, test: str) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        # A failed test raises, because there is no figure to report then.
        processes.python("-m", "pytest", "-q", "-c", TESTS.parent / "pyproject.toml",
                         "-p", "no:cacheprovider", TESTS / test, folder=Path(folder))  # fmt: skip
    return Row(what, measured, reach, True, f"`tests/{test}`")
