"""The devices that torch can use, told without importing torch where only the CPU can be meant."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from pathlib import Path

from lrtrack.capture.cpu import cpu_name
from lrtrack.errors import MissingPackage

#: Backends that torch may be built with, and beginnings of the names of their devices in `/dev`:
#: those of a driver, and `dxg` for any GPU under WSL.
_BACKENDS = {
    "cuda": ("nvidia", "nvhost", "nvmap", "nvgpu", "dxg"),
    "hip": ("kfd", "dxg"),
    "xpu": ("dri", "accel", "dxg"),
}
_DEV = Path("/dev")


def devices() -> list[tuple[str, str]]:
    """Return type and name of every device that torch can use here, the CPU first.

    Raises:
        MissingPackage: torch is not installed.
        Exception: torch cannot be imported.
    """
    if _has_cpu_alone():
        return [("cpu", cpu_name())]
    from lrtrack.capture.optimizers import devices

    return devices()


def _has_cpu_alone() -> bool:
    """Whether torch can use no other device than the CPU, as far as that is known for sure."""
    spec = importlib.util.find_spec("torch")
    if spec is None:
        raise MissingPackage("torch is not installed. Fix: pip install torch")
    # A preloaded library may stand for a driver whose devices are elsewhere.
    if sys.platform != "linux" or "torch" in sys.modules or os.environ.get("LD_PRELOAD"):
        return False
    try:
        built_with = _backends(Path(spec.origin or "").with_name("version.py").read_text("utf-8"))
        present = [node.name for node in _DEV.iterdir()]
    except (OSError, ValueError):
        return False
    nodes = tuple(node for backend in built_with for node in _BACKENDS[backend])
    return not (nodes and any(name.startswith(nodes) for name in present))


def _backends(version: str) -> list[str]:
    """Return the backends that a build has, or may have, by the text of its `torch/version.py`."""
    values = dict(re.findall(r"^(\w+)(?: *:[^=\n]*)? *= *(.*?) *$", version, re.MULTILINE))
    if "cuda" not in values:
        return [*_BACKENDS]
    return [backend for backend in _BACKENDS if values.get(backend) != "None"]
