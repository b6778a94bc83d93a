"""The devices that torch can use, told without importing it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lrtrack.capture import devices, optimizers
from lrtrack.errors import MissingPackage

CPU = "__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\nhip: Optional[str] = None\n"
OF_CUDA = "cuda: Optional[str] = '12.8'\nhip: Optional[str] = None\nxpu: Optional[str] = None\n"
OF_HIP = "cuda = None\nhip = '6.4'\nxpu = None\n"


@pytest.fixture
def build(tmp_path: Path, monkeypatch):
    """`build(version, nodes)` sets what torch was built with, and the device nodes there are."""
    monkeypatch.delenv("LD_PRELOAD", raising=False)
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.setattr(devices, "_DEV", tmp_path / "dev")

    def make(version: str, nodes: str) -> None:
        (tmp_path / "packages" / "torch").mkdir(parents=True)
        (tmp_path / "packages" / "torch" / "__init__.py").touch()
        (tmp_path / "packages" / "torch" / "version.py").write_text(version)
        (tmp_path / "dev").mkdir()
        for node in nodes.split():
            (tmp_path / "dev" / node).touch()

    return make


@pytest.mark.parametrize(
    ("version", "nodes", "alone"),
    [
        (CPU + "xpu: Optional[str] = None\n", "null nvidia0 kfd dri", True),
        (CPU, "null nvidia0 kfd", True),
        (CPU, "null dri", False),
        (OF_CUDA, "null nvram nvme0 dri kfd", True),
        (OF_CUDA, "null nvidiactl", False),
        (OF_CUDA, "dxg", False),
        (OF_CUDA, "nvhost-gpu", False),
        (OF_HIP, "null nvidia0", True),
        (OF_HIP, "kfd", False),
        ("", "null", True),
        ("", "nvidia0", False),
        ("", "accel", False),
    ],
)
def test_builds_and_devices(build, version, nodes, alone):
    """Only a build without support for any device that is there can use the CPU alone."""
    build(version, nodes)

    assert devices._has_cpu_alone() is alone


def test_what_leaves_the_answer_to_torch(build, monkeypatch):
    """A preloaded library may bring devices, and a torch that is imported answers itself."""
    build(CPU, "null")
    assert devices._has_cpu_alone()
    monkeypatch.setenv("LD_PRELOAD", "/opt/remote_gpu.so")
    assert not devices._has_cpu_alone()
    monkeypatch.delenv("LD_PRELOAD")
    monkeypatch.setattr(devices, "_DEV", Path("/no such"))

    assert not devices._has_cpu_alone()


def test_a_missing_torch(monkeypatch):
    """Without torch there is no answer."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match="Fix: pip install torch"):
        devices.devices()


def test_both_ways_agree():
    """torch itself gives the same devices as the answer without it."""
    code = "from lrtrack.capture.devices import devices; print(devices())"
    process = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)

    assert process.stdout == f"{optimizers.devices()}\n"
