"""When, where and from what the benchmark measures: machine, load, versions and commit."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PACKAGES = ("torch", "mlflow", "wandb", "lightning", "transformers", "accelerate", "tensorboard",
            "trackio", "swanlab", "aim", "pyarrow", "numpy", "scipy", "SQLAlchemy",
            "psycopg2-binary")  # fmt: skip


class Load:
    """How busy the machine was while a part was measured."""

    def __init__(self) -> None:
        self._begun, self._before = time.monotonic(), os.getloadavg()[0]

    def until_now(self) -> dict[str, Any]:
        """Returns the load average at the start and now, and the minutes in between."""
        minutes = (time.monotonic() - self._begun) / 60
        loads = [round(self._before, 1), round(os.getloadavg()[0], 1)]
        return {"load": loads, "minutes": round(minutes, 1)}


def commit() -> str:
    """Returns the short name of the commit that is checked out; “unknown” outside a repository."""
    with suppress(OSError, subprocess.CalledProcessError):
        name = _git("rev-parse", "--short=10", "HEAD")
        # What the benchmark itself writes is no change of what it measures.
        changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":/lrtrack",
                       ":/integrations", ":/tests/bench/*.py")  # fmt: skip
        return f"{name}, changed" if changed else name
    return "unknown"


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def machine() -> str:
    """Returns processor, cores, memory, graphics processor and operating system."""
    name = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if os.name == "posix" else ():
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{name}, {os.cpu_count()} cores, {memory:.0f} GiB, {gpu()}, {platform.system()}"


def gpu() -> str:
    """Returns the name of the GPU that torch would use, or “no GPU”."""
    import torch

    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else "no GPU"


def versions() -> str:
    """Returns the versions of Python and of the packages in use."""
    found = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)
